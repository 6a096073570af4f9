"""A hub, sockets on real transports, and the two neighbours of both: a log and links to shards, kept in memory."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

from veza.actors.tasks import TaskSet
from veza.http.hub import Hub
from veza.http.joining import Joining, Pages
from veza.http.session import Session
from veza.http.websocket import WebSocket
from veza.ids import new_id
from veza.realtime import commands as c
from veza.realtime import protocol as p
from veza.realtime.events import Person
from veza.realtime.frames import payload_of

ROOM = uuid4()
ADA = Person(uuid4(), "ada")


class Log:
    """`storage` reads it as it reads a pool. `failures` are raised first, one a read. Below `first_seq` all is gone."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.first_seq = 1
        self.failures: list[Exception] = []
        self.reads = 0

    def add(self, kind: str = "message", **body: Any) -> None:
        row = {"room_id": ROOM, "seq": len(self.rows) + 1, "id": new_id(), "kind": kind, "body": body}
        who = {"sender_id": ADA.id, "sender_name": ADA.username, "subject_id": None, "subject_name": None}
        times = {"created_at": datetime.now(UTC), "edited_at": None, "deleted_at": None}
        self.rows.append({**row, **who, **times, "client_msg_id": None, "present": None})

    async def fetch(self, _query: str, _room: UUID, seq: int, limit: int) -> list[dict[str, Any]]:
        self.reads += 1
        await asyncio.sleep(0)
        if self.failures:
            raise self.failures.pop(0)
        after = max(seq, self.first_seq - 1)
        return self.rows[after : after + limit]

    async def fetchval(self, _query: str, _room: UUID) -> int:
        return self.first_seq


class Links:
    """What was sent to shards; a test answers with the handlers."""

    def __init__(self) -> None:
        self.sent: list[c.ShardCommand] = []
        self.handlers: list[Callable[[Any], None]] = []
        self.router = SimpleNamespace(owner=lambda _: "shard")

    def send(self, command: c.ShardCommand, _subject: UUID) -> None:
        self.sent.append(command)

    def request(self, make: Callable[[int], c.ShardCommand], _subject: UUID, handle: Callable[[Any], None]) -> None:
        self.sent.append(make(len(self.handlers) + 1))
        self.handlers.append(handle)

    def answered(self, answer: Any) -> None:
        self.handlers[answer.ref - 1](answer)


class Receiver:
    """Keeps what arrives, with the turn of the loop in which it did."""

    def __init__(self) -> None:
        self.came: list[tuple[int, bytes]] = []
        self.turn = 0
        self.lags = 0

    def text(self, _socket: WebSocket, payload: bytes) -> None:
        self.came.append((self.turn, payload))

    def binary(self, _socket: WebSocket) -> None: ...

    def control(self, _socket: WebSocket) -> bool:
        self.came.append((self.turn, b""))
        return True

    def lagging(self, _socket: WebSocket) -> None:
        self.lags += 1

    def closed(self, _socket: WebSocket) -> None: ...


@asynccontextmanager
async def web_socket(receiver: Receiver) -> AsyncIterator[tuple[WebSocket, socket.socket]]:
    """A socket on a real connection, and the peer's end of it."""
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, sock=ours)
    made = WebSocket(transport, receiver)
    transport.set_protocol(made)
    try:
        yield made, theirs
    finally:
        transport.abort()
        theirs.close()


class Parts:
    """A hub with one session in it; `shown` is what its client was sent."""

    def __init__(self, socket: WebSocket) -> None:
        self.log = Log()
        self.links = Links()
        self.tasks = TaskSet("test")
        self.hub = Hub(self.log, "gateway", links=self.tasks, tasks=self.tasks)
        self.hub.links = self.links  # type: ignore[assignment]
        self.joining = Joining(self.hub, Pages(self.log, self.tasks), self.tasks)
        shared: Any = SimpleNamespace(hub=self.hub, tasks=self.tasks, joining=self.joining)
        self.session = Session(socket, shared, 0.0)
        self.session.person = ADA
        socket.session = self.session
        self.shown: list[dict[str, Any]] = []
        socket.write = lambda data: self.shown.extend(_frames(data))  # type: ignore[assignment]

    def join(self, command_id: str, last_seq: int | None = None) -> None:
        self.joining.join(self.session, p.JoinRoom(id=command_id, room_id=ROOM, last_seq=last_seq))

    async def enter(self, events: int = 0) -> None:
        """The session is in the room, which has so many events."""
        for number in range(events):
            self.log.add(content=str(number))
        self.join("join")
        await self.admit(events)
        await until(lambda: self.answer("join"))

    async def admit(self, seq: int) -> None:
        """The shard answers the newest request, in its stream."""
        await self.deliver(c.Subscribed(len(self.links.handlers), ROOM, seq))

    async def deliver(self, *items: c.Delivery) -> None:
        await self.hub.process([c.encode(c.DeliveryBatch("shard", list(items)))])

    def seqs(self) -> list[int]:
        """Of the events that came live."""
        return [frame["seq"] for frame in self.shown if "seq" in frame]

    def answer(self, command_id: str) -> dict[str, Any] | None:
        return next((frame for frame in self.shown if frame.get("id") == command_id), None)


def _frames(data: bytes) -> list[dict[str, Any]]:
    found = []
    while data:
        size, start = data[1], 2
        if size == 126:
            size, start = int.from_bytes(data[2:4], "big"), 4
        elif size == 127:
            size, start = int.from_bytes(data[2:10], "big"), 10
        found.append(json.loads(payload_of(data[: start + size])))
        data = data[start + size :]
    return found


@asynccontextmanager
async def parts() -> AsyncIterator[Parts]:
    async with web_socket(Receiver()) as (socket, _):
        made = Parts(socket)
        try:
            yield made
        finally:
            await made.tasks.close()


async def until(ask: Callable[[], Any]) -> Any:
    """Let the loop turn until `ask` says something."""
    async with asyncio.timeout(10):
        while not (found := ask()):
            await asyncio.sleep(0.001)
    return found


def message_frame(seq: int) -> bytes:
    return p.frame({"type": "message", "room_id": ROOM, "seq": seq})
