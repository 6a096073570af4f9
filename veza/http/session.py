"""What one socket may do: the `veza.v1` commands, from a parsed frame to its one reply."""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from uuid import UUID

from veza.actors.shard_links import ShardLinks
from veza.errors import InvalidArgument, InvalidFrame, RateLimited, Unauthenticated, Unavailable, VezaError
from veza.http import gateway_meter, stream_session, trace
from veza.http.errors import translate
from veza.http.limits import ReadTurns
from veza.http.websocket import WebSocket
from veza.ids import new_id
from veza.realtime import commands as c
from veza.realtime import protocol as p
from veza.realtime.events import Person
from veza.realtime.frames import CloseCode
from veza.realtime.principal import Principal, Role
from veza.realtime.rate_limit import TokenBucket

if TYPE_CHECKING:
    from veza.http.sockets import Sockets

log = logging.getLogger(__name__)

# What takes of its user's allowance.
Written = p.SendMessage | p.EditMessage | p.StreamMessage
MessageChange = p.EditMessage | p.DeleteMessage | p.AddReaction | p.RemoveReaction | p.PinMessage | p.UnpinMessage

EMPTY = b"{}"
# Far above what a client needs that joins hundreds of rooms after a reconnect, far below what would hurt.
COMMANDS_PER_MINUTE = 3000
COMMAND_BURST = 500
# Of what is refused at once; beyond, the socket is closed. A client that waits as it is told never comes near.
REFUSALS_PER_MINUTE = 300
REFUSAL_BURST = 100
# How long a socket that must go waits for the answers to what it sent.
LEAVE_S = 1.5
# What may stand behind a message that waits for its user's allowance, which takes some milliseconds.
HELD_BYTES = 1024 * 1024
HELD_COMMAND_BYTES = 512


class Session:
    """One socket's identity and rooms. `principal` is None until it is authenticated."""

    __slots__ = (
        "active_at",
        "anonymous",
        "bad_frames",
        "commands",
        "held",
        "held_bytes",
        "idle",
        "leaving",
        "person",
        "principal",
        "reads",
        "refusals",
        "rooms",
        "socket",
        "sockets",
        "status",
        "streams",
        "unanswered",
        "watching",
    )

    def __init__(self, socket: WebSocket, sockets: "Sockets", now: float, *, anonymous: str | None = None) -> None:
        """`anonymous`: the address of a socket that may watch streams without being authenticated."""
        self.socket = socket
        self.sockets = sockets
        self.principal: Principal | None = None
        self.person: Person | None = None  # set with principal
        self.rooms: tuple[UUID, ...] = ()
        self.anonymous = anonymous
        self.bad_frames = 0  # in a row
        self.commands: TokenBucket | None = None  # set by the first command
        self.refusals: TokenBucket | None = None  # set by the first refusal
        self.reads: ReadTurns | None = None  # set by the first read
        self.active_at = now
        self.idle = False  # nothing came for so long that it is shown as away
        self.status = "online"  # what the user chose
        self.unanswered = 0  # commands that are at their shards
        self.held: deque[p.ClientCommand] | None = None  # a message that waits for an allowance, and what came later
        self.held_bytes = 0
        self.streams: tuple[UUID, ...] = ()  # those it watches
        self.watching = 0  # those it has asked for and not been told of yet
        self.leaving = False  # told to come back elsewhere: nothing new is begun

    # -- frames ----------------------------------------------------------------------------------------------

    def receive(self, payload: bytes, now: float) -> None:
        self.active_at = now
        try:
            command = p.decode_command(payload)
        except p.CommandError as error:
            self.refuse(error.command_id, error.error)
            if isinstance(error.error, InvalidFrame):
                self._bad_frame()
            self._count_refusal(now)
            return
        self.bad_frames = 0
        gateway_meter.commands.add(type(command))
        if self.leaving:
            self.refuse(command.id, Unavailable("This server is going away."))
            return
        if self.held is None:
            self._obey(command, now)
            return
        self.held_bytes += len(payload) + HELD_COMMAND_BYTES
        if self.held_bytes > HELD_BYTES:
            self.refuse(command.id, RateLimited("Too many commands at once.", 1.0))
            self._count_refusal(now)
        else:
            self.held.append(command)

    def _obey(self, command: p.ClientCommand, now: float) -> None:
        try:
            if not isinstance(command, p.SendMessage | p.StreamMessage):
                self._spend_command(now)
            self._handle(command)
        except Exception as error:
            self.fail(command.id, error)
            self._count_refusal(now)

    def _hold(self, message: Written, user_id: UUID) -> None:
        """Its user's allowance is elsewhere: it waits, and all that comes later waits behind it."""
        self.held, self.held_bytes = deque([message]), 0
        self.unanswered += 1
        self.sockets.limits.wait(user_id, self._go_on)

    def _go_on(self) -> None:
        held, self.held = self.held or deque(), None
        self.unanswered -= 1
        now = asyncio.get_running_loop().time()
        while held:
            self._obey(held.popleft(), now)
            if self.held is not None:
                # The allowance was called away again.
                self.held.extend(held)
                return
        self.leave_if_answered()

    def receive_binary(self, now: float) -> None:
        self.refuse(None, InvalidFrame("Frames are text."))
        self._bad_frame()
        self._count_refusal(now)

    def receive_control(self, now: float) -> bool:
        """A WebSocket ping or pong; False when it was one too many."""
        try:
            self._spend_command(now)
        except RateLimited:
            self._count_refusal(now)
            return False
        return True

    def _spend_command(self, now: float) -> None:
        """Raises RateLimited for a flood; messages have a limit of their own."""
        if self.commands is None:
            self.commands = TokenBucket(COMMANDS_PER_MINUTE, COMMAND_BURST, now)
        wait = self.commands.take(now)
        if wait:
            raise RateLimited("Too many commands.", wait)

    def _bad_frame(self) -> None:
        self.bad_frames += 1
        if self.bad_frames >= p.BAD_FRAMES_IN_A_ROW:
            self.socket.close(CloseCode.ABUSE, "too many bad frames")

    def _count_refusal(self, now: float) -> None:
        """A refusal costs as much as a command: whoever does not heed them is closed."""
        if self.refusals is None:
            self.refusals = TokenBucket(REFUSALS_PER_MINUTE, REFUSAL_BURST, now)
        if self.refusals.take(now):
            self.socket.close(CloseCode.ABUSE, "too many refused commands")

    def _handle(self, command: p.ClientCommand) -> None:
        match command:
            case p.SendMessage():
                self._send_message(command)
            case p.JoinRoom():
                self.sockets.joining.join(self, command)
            case p.LeaveRoom():
                self.user()
                self.rooms = tuple(room for room in self.rooms if room != command.room_id)
                self.sockets.hub.leave(self.socket, command.room_id)
                self.reply(command.id, EMPTY)
            case (
                p.EditMessage()
                | p.DeleteMessage()
                | p.AddReaction()
                | p.RemoveReaction()
                | p.PinMessage()
                | p.UnpinMessage()
            ):
                self._change_message(command)
            case p.MarkRead(room_id=room_id, seq=seq):
                user_id = self.user().id
                self._forward(command.id, room_id, lambda ref: c.MarkRead(ref, room_id, user_id, seq))
            case p.Typing(room_id=room_id, is_typing=is_typing):
                user_id = self.user().id
                self._forward(command.id, room_id, lambda ref: c.Typing(ref, room_id, user_id, is_typing))
            case p.WatchStream() | p.UnwatchStream() | p.StreamMessage() | p.StreamReact():
                stream_session.obey(self, command)
            case _:
                self._handle_rare(command)

    def _handle_rare(self, command: p.ClientCommand) -> None:
        match command:
            case p.Authenticate():
                self._later(command.id, self._authenticate(command.token))
            case p.GetHistory(room_id=room_id):
                user_id = self.user().id
                self._later(command.id, self._read(room_id, lambda: self.sockets.history(user_id, command)))
            case p.GetThread(room_id=room_id):
                user_id = self.user().id
                self._later(command.id, self._read(room_id, lambda: self.sockets.thread(user_id, command)))
            case p.GetMembers(room_id=room_id):
                user_id = self.user().id
                self._later(command.id, self._read(room_id, lambda: self.sockets.members(user_id, room_id)))
            case p.SetPresence():
                self.sockets.hub.choose_status(self.socket, self.user().id, command.status)
                self.status = command.status
                self.reply(command.id, EMPTY)
            case p.Ping():
                self.reply(command.id, p.json({"server_time": p.timestamp(self.sockets.wall())}))

    def user(self) -> Person:
        if self.person is None:
            raise Unauthenticated("Authenticate first.")
        return self.person

    # -- answers ---------------------------------------------------------------------------------------------

    def reply(self, command_id: str | None, data: bytes) -> None:
        if command_id is not None:
            self.socket.send(p.reply_frame(command_id, data))

    def refuse(self, command_id: str | None, error: VezaError) -> None:
        gateway_meter.refusals.add(error.code)
        self.socket.send(p.error_frame(command_id, error))

    def fail(self, command_id: str | None, error: Exception) -> None:
        """Answer with what went wrong; what is no error of ours and no outage is logged with its traceback."""
        known = translate(error)
        if known is not error and known.code == VezaError.code:
            log.error("command failed", exc_info=error)
        self.refuse(command_id, known)

    def _forward(self, command_id: str | None, room_id: UUID, make: Callable[[int], c.Routed]) -> None:
        self.ask(self.sockets.hub.links, command_id, room_id, make)

    def ask(self, links: ShardLinks, command_id: str | None, subject: UUID, make: Callable[[int], c.Routed]) -> None:
        """Hand a command to the shard of a room or stream and its answer to the client."""
        trace_id = trace.of_frame(self.principal)

        def handle(answer: c.Answer | c.Subscribed | VezaError) -> None:
            trace.answered(trace_id, answer)
            self.unanswered -= 1
            if isinstance(answer, VezaError):
                self.refuse(command_id, answer)
            elif isinstance(answer, c.Answer):
                self.reply(command_id, answer.data)
            self.leave_if_answered()

        self.unanswered += 1
        links.request(trace.traced(make, trace_id), subject, handle)

    def _later(self, command_id: str | None, work: Awaitable[Any]) -> None:
        """Answer when `work` is done; other commands do not wait for it."""

        async def answer() -> None:
            try:
                self.reply(command_id, p.json(await work))
            except Exception as error:  # the edge: every error becomes an answer here
                self.fail(command_id, error)

        self.sockets.tasks.start(answer(), "command")

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[None]:
        """A read of the database, when it is this socket's turn and the peer takes what it is sent.

        Raises RateLimited when too many wait, Unavailable when the socket closed meanwhile.
        """
        if self.reads is None:
            self.reads = ReadTurns()
        async with self.reads.turn():
            await self.socket.caught_up()
            if self.socket.closing:
                raise Unavailable("The socket closed.")
            yield

    async def _read(self, room_id: UUID, read: Callable[[], Awaitable[Any]]) -> Any:
        """A read of the database, behind what this socket has sent to the room."""
        async with self.reading():
            if self.unanswered:
                await self.sockets.hub.links.settled(room_id)
            return await read()

    # -- commands --------------------------------------------------------------------------------------------

    async def _authenticate(self, token: str) -> dict[str, Any]:
        self._check_unknown()
        principal = await self.sockets.authenticator.chat(token)
        # Another of these may have been faster.
        self._check_unknown()
        if not self.socket.closing:
            self.sockets.admit(self, principal)
        return {}

    def _check_unknown(self) -> None:
        if self.principal is not None:
            raise InvalidArgument("This socket is authenticated already.")

    @property
    def role(self) -> Role | None:
        """None until it is authenticated."""
        return None if self.principal is None else self.principal.role

    def identified(self, principal: Principal) -> None:
        self.principal = principal
        self.person = Person(principal.user_id, principal.username)

    def _send_message(self, command: p.SendMessage) -> None:
        sender = self.user()
        room_id, parent_id, attachments = command.room_id, command.parent_id, command.attachments or []
        content = p.clean_content(command.content)
        client_msg_id = p.clean_client_msg_id(command.client_msg_id)
        if not self.may_write(command, sender.id):
            return
        self._forward(
            command.id,
            room_id,
            lambda ref: c.Post(ref, room_id, new_id(), sender, content, client_msg_id, parent_id, attachments),
        )

    def may_write(self, command: Written, user_id: UUID) -> bool:
        """Spend of the user's allowance; False when the command must wait for it. Raises RateLimited."""
        wait = self.sockets.limits.take(user_id)
        if wait is None:
            self._hold(command, user_id)
            return False
        if wait:
            raise RateLimited("You are writing too fast.", wait)
        return True

    def _change_message(self, command: MessageChange) -> None:
        by, room_id, message_id = self.user(), command.room_id, command.message_id
        if not isinstance(command, p.EditMessage):
            self.sockets.spend_change(by.id)
        match command:
            case p.EditMessage(content=content):
                content = p.clean_content(content)
                if not self.may_write(command, by.id):
                    return
                self._forward(
                    command.id, room_id, lambda ref: c.EditMessage(ref, room_id, new_id(), by, message_id, content)
                )
            case p.DeleteMessage():
                by_admin = self.principal is not None and self.principal.role.includes(Role.ADMIN)
                self._forward(
                    command.id, room_id, lambda ref: c.DeleteMessage(ref, room_id, new_id(), by, message_id, by_admin)
                )
            case p.AddReaction(emoji=emoji) | p.RemoveReaction(emoji=emoji):
                emoji, on = p.clean_emoji(emoji), isinstance(command, p.AddReaction)
                self._forward(
                    command.id, room_id, lambda ref: c.React(ref, room_id, new_id(), by, message_id, emoji, on)
                )
            case p.PinMessage() | p.UnpinMessage():
                on = isinstance(command, p.PinMessage)
                self._forward(command.id, room_id, lambda ref: c.Pin(ref, room_id, new_id(), by, message_id, on))

    # -- leaving ---------------------------------------------------------------------------------------------

    def leave(self, after_ms: int) -> None:
        """Tell the client to come back elsewhere, and close once what it sent is answered, or after LEAVE_S."""
        self.socket.send(p.frame({"type": "reconnect", "after_ms": after_ms}))
        self.leaving = True
        if self.unanswered:
            asyncio.get_running_loop().call_later(LEAVE_S, self._close_leaving)
        else:
            self._close_leaving()

    def leave_if_answered(self) -> None:
        if self.leaving and not self.unanswered:
            self._close_leaving()

    def _close_leaving(self) -> None:
        self.socket.close(CloseCode.GOING_AWAY, "server going away")
