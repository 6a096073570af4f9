"""A client: one person's program, which keeps a socket open, joins rooms, and checks all it is told."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

import msgspec

from simulation.gateway import Command, SimGateway
from simulation.presence import UNNOTICED_S, Shown
from simulation.promises import Broken
from simulation.sockets import ServerSocket
from simulation.store import MessageRow
from veza.realtime import commands as c
from veza.realtime import protocol as p
from veza.realtime.events import Person
from veza.realtime.frames import CloseCode

if TYPE_CHECKING:
    from simulation.world import World

Frame = dict[str, Any]
RECONNECT_S = 0.2
JOIN_AGAIN_S = 0.3

# What may be answered because somebody else was faster, or the one who asks may not.
BY_RULE = frozenset(
    (
        "NOT_A_MEMBER",
        "ROOM_NOT_FOUND",
        "PERMISSION_DENIED",
        "CONFLICT",
        "MESSAGE_NOT_FOUND",
        "MUTED",
        "BANNED",
        "RATE_LIMITED",
    )
)
# While nothing fails, an event is shown so soon after it was stored; on a network without moods sooner.
IN_TIME_S = 3.0
CALM_IN_TIME_S = 0.5


@dataclass
class Request:
    """A command without an answer yet."""

    command: Command
    sent_at: float

    @property
    def room_id(self) -> UUID:
        assert not isinstance(self.command, p.SetPresence)
        return self.command.room_id


@dataclass
class View:
    """What the client has of a room: everything up to `last_seq`, and live events from there if it is `live`."""

    wanted: bool = False
    live: bool = False
    last_seq: int | None = None
    joining: str | None = None  # the command that asks
    answered: int = 0  # the number of the latest join that was answered


class Client:
    def __init__(self, world: "World", name: str, person: Person) -> None:
        self.name = name
        self.person = person
        self.views: dict[UUID, View] = {}
        self.mine: list[tuple[UUID, UUID]] = []  # (room, message) that were answered
        self.requests: dict[str, Request] = {}
        self.speed: float | None = None  # bytes a second that it takes; None takes everything
        self.status = "online"
        self.presence = Shown()
        self.away = False  # it does not want to be connected
        self._world = world
        self._socket: ServerSocket | None = None
        self._connection = 0
        self._count = 0
        self._arrives = 0.0  # when the last frame on its way arrives
        self._leaves = 0.0
        self._slowed = False  # on this connection
        self._slowed_until = 0.0
        self._chance = world.chance.of(f"{name} connects")
        self._retries: list[c.Post] = []
        self._said: dict[tuple[UUID, str], str] = {}  # (room, client_msg_id) → the message it was answered with

    # -- the connection --------------------------------------------------------------------------------------

    @property
    def connected(self) -> bool:
        return self._socket is not None

    def connect(self) -> None:
        if self._socket is not None or self.away:
            return
        gateways = [gateway for gateway in self._world.gateways.values() if gateway.alive]
        if not gateways:
            self._world.clock.later(RECONNECT_S, self.connect)
            return
        gateway = gateways[self._chance.randrange(len(gateways))]
        self._connection += 1
        self._arrives = self._leaves = self._world.clock.now
        self._slowed, self.status = self.speed is not None, "online"
        socket = self._socket = ServerSocket(self._world, gateway, self, self._connection)
        gateway.do(lambda: gateway.accept(socket))
        if tell := self._world.tell:
            tell(f"{self.name} connects to {gateway.name}")
        for room_id, view in self.views.items():
            view.live, view.joining = False, None
            if view.wanted:
                self.join(room_id, view.last_seq)
        retries, self._retries = self._retries, []
        for command in retries:
            self.send(msgspec.structs.replace(command, id=self._world.new_id()))

    def cut_off(self, *, noticed: bool) -> None:
        """The connection breaks; whether the gateway notices now or much later is another question."""
        socket = self._socket
        if socket is None:
            return
        self._socket = None
        self.presence.begin()
        lose = socket.connection.lose
        if noticed:
            socket.gateway.do(lose)
        else:
            self._world.clock.later(UNNOTICED_S, lambda: socket.gateway.do(lose))
        for request in self.requests.values():
            command = request.command
            if isinstance(command, c.Post) and command.client_msg_id is not None:
                self._retries.append(command)
        self.requests.clear()
        self._world.clock.later(RECONNECT_S * (1 + self._chance.random()), self.connect)

    def depart(self, seconds: float | None) -> None:
        """It goes, and comes back after so long, or never."""
        self.away = True
        self.cut_off(noticed=True)
        if seconds is not None:
            self._world.clock.later(seconds, self._return)

    def _return(self) -> None:
        self.away = False
        self.connect()

    def take(self, speed: float | None) -> None:
        """From now on it takes so much of what it is sent."""
        if self.speed is not None:
            self._slowed_until = self._world.clock.now
        self.speed = speed
        self._slowed = self._slowed or speed is not None
        if (socket := self._socket) is not None:
            socket.gateway.do(socket.connection.drain)

    @property
    def gateway(self) -> SimGateway | None:
        """Where it is."""
        return None if self._socket is None else self._socket.gateway

    def on(self, gateway: SimGateway) -> bool:
        return self._socket is not None and self._socket.gateway is gateway

    def holds(self, socket: ServerSocket) -> bool:
        return self._socket is socket

    # -- commands --------------------------------------------------------------------------------------------

    def send(self, command: Command) -> str | None:
        """Returns the command's id; None without a connection."""
        socket = self._socket
        if socket is None:
            return None
        self._count += 1
        command_id = f"{self.name}-{self._count}"
        if isinstance(command, p.JoinRoom):
            command.id = command_id
        self.requests[command_id] = Request(command, self._world.clock.now)
        if tell := self._world.tell:
            tell(f"{self.name} sends {self._world.describe(command)}")
        self._leaves = self._on_its_way(self._leaves, self.name, socket.gateway.name)
        gateway = socket.gateway
        arrive = lambda: gateway.do(lambda: gateway.receive(socket, command, command_id))  # noqa: E731
        self._world.clock.at(self._leaves, arrive)
        return command_id

    def _on_its_way(self, last: float, source: str, target: str) -> float:
        """When it arrives: a connection keeps its order."""
        return max(last, self._world.clock.now + self._world.network.delay(source, target))

    def join(self, room_id: UUID, last_seq: int | None) -> None:
        view = self.views.setdefault(room_id, View())
        view.wanted = True
        view.joining = self.send(p.JoinRoom(room_id=room_id, last_seq=last_seq))

    def leave(self, room_id: UUID) -> None:
        view = self.views.get(room_id)
        if view is not None and view.wanted and self.connected:
            view.wanted, view.joining = False, None
            self.send(p.LeaveRoom(room_id=room_id))

    def choose(self, status: str) -> None:
        self.status = status
        self.send(p.SetPresence(status=status))

    # -- what arrives ----------------------------------------------------------------------------------------

    def carry(self, connection: int, data: bytes) -> None:
        """The gateway wrote this."""
        if connection != self._connection or self._socket is None:
            return
        self._arrives = self._on_its_way(self._arrives, self._socket.gateway.name, self.name)
        self._world.clock.at(self._arrives, lambda: self._arrived(connection, data))

    def _arrived(self, connection: int, data: bytes) -> None:
        if connection == self._connection and self._socket is not None:
            for frame in self._world.frames(data):
                self._hear(frame)

    def _hear(self, frame: Frame) -> None:
        kind = frame["type"]
        if kind == "reply":
            self._answered(frame["id"], frame["data"])
        elif kind == "error":
            self._refused(frame["id"], frame["error"]["code"])
        elif kind == "closed":
            self._closed(frame["code"])
        elif kind == "presence":
            self.presence.heard(frame)
        elif "seq" in frame:
            self._live(frame)

    def _closed(self, code: int) -> None:
        if code == CloseCode.SLOW_CONSUMER:
            self._world.seen["told that it is too slow"] += 1
            if not self._slowed:
                raise Broken(6, f"{self.name} takes everything at once and is closed as too slow")
        self.cut_off(noticed=True)

    def _live(self, event: Frame) -> None:
        room_id, seq = self._world.room_ids[event["room_id"]], event["seq"]
        view = self.views.get(room_id)
        if view is None or not view.live or view.last_seq is None:
            raise Broken(9, f"{self.name} is shown seq {seq} of {self._world.name(room_id)} and is not in it")
        if not self._world.store.rooms[room_id].was_member(self.person.id, seq):
            raise Broken(9, f"{self.name} is shown seq {seq} of {self._world.name(room_id)} after the removal")
        self._show(view, room_id, event)
        self._check_in_time(room_id, seq)
        if event["type"] in {"member_joined", "member_left"}:
            self.presence.forget(room_id, UUID(event["user"]["id"]))
        ended = event["type"] == "room_deleted"
        if ended or (event["type"] == "member_left" and event["user"]["id"] == str(self.person.id)):
            view.live = view.wanted = False
            self.presence.forget(room_id)

    def _check_in_time(self, room_id: UUID, seq: int) -> None:
        """Nobody waits for those who are slow."""
        stored_at, now = self._world.store.rooms[room_id].stored_at[seq - 1], self._world.clock.now
        longest = CALM_IN_TIME_S if self._world.calm else IN_TIME_S
        undisturbed = not self._world.trouble and self.speed is None and stored_at > self._slowed_until
        if undisturbed and now - stored_at > longest:
            where = self._world.name(room_id)
            raise Broken(6, f"{self.name} is shown seq {seq} of {where} {now - stored_at:.2f} s after it was stored")

    def _show(self, view: View, room_id: UUID, event: Frame, sent_at: float | None = None) -> None:
        """`sent_at`: when the page was asked for that it is of."""
        seq, room = event["seq"], self._world.store.rooms[room_id]
        assert view.last_seq is not None
        where = f"{self.name} in {self._world.name(room_id)}"
        if seq != view.last_seq + 1 and not view.last_seq < seq <= room.first_seq:
            raise Broken(1 if seq <= view.last_seq else 4, f"{where} has seq {view.last_seq} and is shown {seq}")
        if seq > room.head:
            raise Broken(2, f"{where} is shown seq {seq}, and {room.head} are stored")
        if room.ids[seq - 1] != event["id"]:
            raise Broken(1, f"{where} is shown another event as seq {seq} than was stored")
        self._world.seen["event shown"] += 1
        view.last_seq = seq
        if event["type"] == "message":
            self._check_content(where, room.messages[room.log[seq - 1].id], event, sent_at)

    @staticmethod
    def _check_content(where: str, message: MessageRow, event: Frame, sent_at: float | None) -> None:
        """In a page it is what stood at some moment since the page was asked for; a live frame may be older."""
        versions = message.versions
        if len(versions) == 1 and versions[0][1] == event["content"]:
            return
        ends = [*[since for since, _ in versions[1:]], float("inf")]
        stood = {content for (_, content), end in zip(versions, ends, strict=True) if sent_at is None or end >= sent_at}
        if event["content"] not in stood:
            raise Broken(8, f"{where} is shown {event['content']!r} as seq {event['seq']}")

    def _answered(self, command_id: str, data: Frame) -> None:
        request = self._request(command_id)
        match request.command:
            case p.JoinRoom():
                self._joined(command_id, request, data)
            case p.LeaveRoom():
                view = self.views[request.room_id]
                if view.joining is None:
                    view.live = False
                    self.presence.forget(request.room_id)
            case c.Post():
                self._posted(request.command, data)
            case c.MarkRead() | c.Typing() | p.SetPresence():
                pass
            case _:
                if data["seq"] > self._world.store.rooms[request.room_id].head:
                    raise Broken(2, f"{self.name} is answered seq {data['seq']}, which is not stored")

    def _request(self, command_id: str) -> Request:
        request = self.requests.pop(command_id, None)
        if request is None:
            raise Broken("L", f"{command_id} is answered twice")
        return request

    def _posted(self, command: c.Post, data: Frame) -> None:
        room, message_id = self._world.store.rooms[command.room_id], data["message_id"]
        if data["seq"] > room.head or room.ids[data["seq"] - 1] != message_id:
            raise Broken(2, f"{self.name} is answered seq {data['seq']}, which is not stored so")
        event = room.log[data["seq"] - 1]
        if event.sender.id != self.person.id or event.client_msg_id != command.client_msg_id:
            raise Broken(3, f"{self.name} is answered with another's message")
        if data["duplicate"] != (event.id != command.id):
            raise Broken(3, f"{self.name} is told duplicate {data['duplicate']}")
        if command.client_msg_id is not None:
            first = self._said.setdefault((command.room_id, command.client_msg_id), message_id)
            if first != message_id:
                raise Broken(3, f"{self.name} is answered {first} first and then {message_id}")
        self.mine.append((command.room_id, event.id))

    def _joined(self, command_id: str, request: Request, page: Frame) -> None:
        assert isinstance(request.command, p.JoinRoom)
        room_id, asked = request.room_id, request.command.last_seq
        view, number = self.views[room_id], int(command_id.rpartition("-")[2])
        if number < view.answered:
            return  # a later join was faster
        view.answered = number
        view.last_seq = page["seq"] if asked is None else asked
        where = f"{self.name} in {self._world.name(room_id)}"
        for event in page["events"]:
            self._show(view, room_id, event, request.sent_at)
        if not page["has_more"] and view.last_seq < page["seq"] and page["seq"] >= page["first_seq"]:
            raise Broken(4, f"{where} is told that seq {view.last_seq} is all, and {page['seq']} are stored")
        if page["seq"] > self._world.store.rooms[room_id].head:
            raise Broken(2, f"{where} is told that {page['seq']} are stored")
        view.live = not page["has_more"]
        self.presence.forget(room_id)
        if view.joining != command_id:
            return
        view.joining = None
        if page["has_more"] and view.wanted:
            self._world.seen["page with more"] += 1
            self.join(room_id, view.last_seq)

    def _refused(self, command_id: str, code: str) -> None:
        request = self._request(command_id)
        command = request.command
        self._world.seen[f"answered {code}"] += 1
        if isinstance(command, p.JoinRoom):
            self._join_refused(command_id, command, code)
            return
        if code == "USER_BLOCKED":
            # What only its owner may do in a room, the owner does, whoever's client sends it.
            self._world.blocks.refused(getattr(command, "by", self.person).id, request.sent_at)
        elif code == "INVALID_ARGUMENT" and isinstance(command, c.Post):
            self._attachment_refused(command)
        elif code not in BY_RULE and not (code == "UNAVAILABLE" and self._world.disturbed(request.room_id)):
            raise Broken("L", f"{self.name} is answered {code} without a cause")

    def _attachment_refused(self, command: c.Post) -> None:
        if all(self._world.attached[attachment] == 1 for attachment in command.attachments):
            raise Broken("M", f"{self.name} may not attach what was never used")

    def _join_refused(self, command_id: str, command: p.JoinRoom, code: str) -> None:
        view = self.views[command.room_id]
        if code == "INVALID_ARGUMENT":
            raise Broken(2, f"{self.name} is told that seq {command.last_seq} is ahead of what is stored")
        if view.joining != command_id:
            return
        view.joining = None
        if code in BY_RULE:
            view.wanted = False
        elif view.wanted:
            connection = self._connection
            self._world.clock.later(JOIN_AGAIN_S, lambda: self._join_again(command.room_id, connection))

    def _join_again(self, room_id: UUID, connection: int) -> None:
        view = self.views[room_id]
        if connection == self._connection and self.connected and view.wanted and not view.joining:
            self.join(room_id, view.last_seq)
