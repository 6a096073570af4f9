"""What one socket may do: the `veza.v1` commands, from a parsed frame to its one reply."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any
from uuid import UUID

from veza.errors import InvalidArgument, InvalidFrame, RateLimited, Unauthenticated, Unavailable, VezaError
from veza.http.websocket import WebSocket
from veza.ids import new_id
from veza.realtime import commands as c
from veza.realtime import protocol as p
from veza.realtime.events import Person
from veza.realtime.frames import CloseCode
from veza.realtime.principal import Principal
from veza.realtime.rate_limit import TokenBucket
from veza.storage.database import UNREACHABLE

if TYPE_CHECKING:
    from veza.http.sockets import Sockets

EMPTY = b"{}"
# Far above what a client needs that joins hundreds of rooms after a reconnect, far below what would hurt.
COMMANDS_PER_MINUTE = 3000
COMMAND_BURST = 500


class Session:
    """One socket's identity and rooms. `principal` is None until it is authenticated."""

    __slots__ = (
        "active_at",
        "bad_frames",
        "commands",
        "idle",
        "person",
        "principal",
        "rooms",
        "socket",
        "sockets",
        "status",
        "unanswered",
    )

    def __init__(self, socket: WebSocket, sockets: "Sockets", now: float) -> None:
        self.socket = socket
        self.sockets = sockets
        self.principal: Principal | None = None
        self.person: Person | None = None  # set with principal
        self.rooms: tuple[UUID, ...] = ()
        self.bad_frames = 0  # in a row
        self.commands: TokenBucket | None = None  # set by the first command
        self.active_at = now
        self.idle = False  # nothing came for so long that it is shown as away
        self.status = "online"  # what the user chose
        self.unanswered = 0  # commands that are at their shards

    # -- frames ----------------------------------------------------------------------------------------------

    def receive(self, payload: bytes, now: float) -> None:
        self.active_at = now
        try:
            command = p.decode_command(payload)
        except p.CommandError as error:
            self.refuse(error.command_id, error.error)
            if isinstance(error.error, InvalidFrame):
                self.bad_frame()
            return
        self.bad_frames = 0
        try:
            if not isinstance(command, p.SendMessage):
                self._spend_command(now)
            self._handle(command, now)
        except VezaError as error:
            self.refuse(command.id, error)

    def _spend_command(self, now: float) -> None:
        """Raises RateLimited for a flood; messages have a limit of their own."""
        if self.commands is None:
            self.commands = TokenBucket(COMMANDS_PER_MINUTE, COMMAND_BURST, now)
        wait = self.commands.take(now)
        if wait:
            raise RateLimited("Too many commands.", wait)

    def bad_frame(self) -> None:
        self.bad_frames += 1
        if self.bad_frames >= p.BAD_FRAMES_IN_A_ROW:
            self.socket.close(CloseCode.ABUSE, "too many bad frames")

    def _handle(self, command: p.ClientCommand, now: float) -> None:
        match command:
            case p.SendMessage():
                self._send_message(command, now)
            case p.JoinRoom():
                self.sockets.joining.join(self, command)
            case p.LeaveRoom():
                self._user()
                self.rooms = tuple(room for room in self.rooms if room != command.room_id)
                self.sockets.hub.leave(self.socket, command.room_id)
                self.reply(command.id, EMPTY)
            case p.MarkRead(room_id=room_id, seq=seq):
                user_id = self._user().id
                self._forward(command.id, room_id, lambda ref: c.MarkRead(ref, room_id, user_id, seq))
            case p.Typing(room_id=room_id, is_typing=is_typing):
                user_id = self._user().id
                self._forward(command.id, room_id, lambda ref: c.Typing(ref, room_id, user_id, is_typing))
            case _:
                self._handle_rare(command)

    def _handle_rare(self, command: p.ClientCommand) -> None:
        match command:
            case p.Authenticate():
                self._later(command.id, self._authenticate(command.token))
            case p.GetHistory(room_id=room_id):
                user_id = self._user().id
                self._later(command.id, self._read(room_id, lambda: self.sockets.history(user_id, command)))
            case p.GetMembers(room_id=room_id):
                user_id = self._user().id
                self._later(command.id, self._read(room_id, lambda: self.sockets.members(user_id, room_id)))
            case p.SetPresence():
                self.sockets.hub.choose_status(self.socket, self._user().id, command.status)
                self.status = command.status
                self.reply(command.id, EMPTY)
            case p.Ping():
                self.reply(command.id, p.json({"server_time": p.timestamp(self.sockets.wall())}))

    def _user(self) -> Person:
        if self.person is None:
            raise Unauthenticated("Authenticate first.")
        return self.person

    # -- answers ---------------------------------------------------------------------------------------------

    def reply(self, command_id: str | None, data: bytes) -> None:
        if command_id is not None:
            self.socket.send(p.reply_frame(command_id, data))

    def refuse(self, command_id: str | None, error: VezaError) -> None:
        self.socket.send(p.error_frame(command_id, error))

    def _forward(self, command_id: str | None, room_id: UUID, make: Callable[[int], c.ShardCommand]) -> None:
        """Hand a command to the room's shard and its answer to the client."""

        def handle(answer: c.Answer | c.Subscribed | VezaError) -> None:
            self.unanswered -= 1
            if isinstance(answer, VezaError):
                self.refuse(command_id, answer)
            elif isinstance(answer, c.Answer):
                self.reply(command_id, answer.data)

        self.unanswered += 1
        self.sockets.hub.links.request(make, room_id, handle)

    def _later(self, command_id: str | None, work: Awaitable[Any]) -> None:
        """Answer when `work` is done; other commands do not wait for it."""

        async def answer() -> None:
            try:
                self.reply(command_id, p.json(await work))
            except VezaError as error:
                self.refuse(command_id, error)
            except UNREACHABLE:
                self.refuse(command_id, Unavailable())

        self.sockets.tasks.start(answer(), "command")

    async def _read(self, room_id: UUID, read: Callable[[], Awaitable[Any]]) -> Any:
        """A read of the database, behind what this socket has sent to the room."""
        if self.unanswered:
            await self.sockets.hub.links.settled(room_id)
        return await read()

    # -- commands --------------------------------------------------------------------------------------------

    async def _authenticate(self, token: str) -> dict[str, Any]:
        if self.principal is not None:
            raise InvalidArgument("This socket is authenticated already.")
        principal = await self.sockets.authenticator.chat(token)
        if not self.socket.closing:
            self.sockets.admit(self, principal)
        return {}

    def identified(self, principal: Principal) -> None:
        self.principal = principal
        self.person = Person(principal.user_id, principal.username)

    def _send_message(self, command: p.SendMessage, now: float) -> None:
        sender = self._user()
        room_id, parent_id = command.room_id, command.parent_id
        content = p.clean_content(command.content)
        client_msg_id = p.clean_client_msg_id(command.client_msg_id)
        wait = self.sockets.limits.take(sender.id, now)
        if wait:
            raise RateLimited("You are writing too fast.", wait)
        self._forward(
            command.id,
            room_id,
            lambda ref: c.Post(ref, room_id, new_id(), sender, content, client_msg_id, parent_id),
        )
