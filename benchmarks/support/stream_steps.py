"""The steps of a live stream, each with the platform's own code, to be run as often as wanted in one process."""

import asyncio
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, cast
from uuid import UUID

from benchmarks.support.processes import talking
from veza.actors.channel import Channel, Endpoint
from veza.actors.gateway_links import GatewayLinks
from veza.actors.refs import GatewayRef
from veza.actors.tasks import TaskSet
from veza.http.stream_hub import StreamHub
from veza.http.websocket import WebSocket
from veza.ids import new_id
from veza.realtime import commands as c
from veza.realtime import protocol
from veza.realtime import stream_commands as s
from veza.realtime.events import Person
from veza.realtime.partition import STREAMS, partition_of
from veza.realtime.streams import stream as streams
from veza.realtime.streams.chat import StreamMessage
from veza.realtime.streams.core import StreamCore
from veza.realtime.streams.life import StreamStatus
from veza.realtime.streams.stream import StreamSnapshot
from veza.realtime.streams.view import Stream, StreamCategory
from veza.realtime.streams.watching import Watched

START_S = 20.0
SOON_S = 30.0
# Who comes and leaves in one report.
CHURN = 4
CONTENT = "x" * 200
OWNER, EPOCH = Person(UUID(int=1), "owner"), 1
STREAM = UUID(int=1 << 64)

# One step; it is told the number of its turn.
Step = Callable[[int], Awaitable[None]]


def person(number: int) -> UUID:
    return UUID(int=(1 << 100) + number)


@asynccontextmanager
async def draining(kind: str) -> AsyncIterator[dict[str, Any]]:
    """The other end, in a process of its own; what it said of itself."""
    with talking([sys.executable, "-m", "benchmarks.support.drain", kind]) as talker:
        yield talker.read(START_S)


# -- the shard ---------------------------------------------------------------------------------------------------


def core_with(gateways: list[str]) -> StreamCore:
    """A shard's core that owns one stream, which these gateways follow."""
    core, wall = StreamCore(), datetime.now(UTC)
    core.grant({partition_of(STREAM, STREAMS): EPOCH})
    core.scanning([STREAM])
    core.install([StreamSnapshot(_shown(wall))], 0.0)
    core.decide([(name, s.FollowStream(1, STREAM, [], 0, epoch=EPOCH)) for name in gateways], wall, 0.0)
    if core.streams[STREAM].gateways != set(gateways):
        raise RuntimeError("the gateways do not follow the stream")
    return core


def _shown(now: datetime) -> Stream:
    return Stream(
        id=STREAM,
        user=OWNER,
        title="bench",
        description="",
        category=StreamCategory.MUSIC,
        tags=[],
        status=StreamStatus.LIVE,
        is_live=True,
        is_private=False,
        is_recorded=False,
        slow_mode_seconds=0,
        playback_id="p" * 26,
        playback_url="/p",
        viewer_count=0,
        peak_viewers=0,
        message_count=0,
        reaction_count=0,
        scheduled_at=None,
        started_at=now,
        interrupted_at=None,
        ended_at=None,
        duration_s=None,
        created_at=now,
        updated_at=now,
    )


class _Taker:
    """A gateway, as far as a shard's links need one."""

    def __init__(self, place: Endpoint) -> None:
        async def find() -> Endpoint:
            return place

        self._channel = Channel(find)
        self.deliver = self._channel.call
        self.close = self._channel.close


@asynccontextmanager
async def saying(gateways: int) -> AsyncIterator[Step]:
    """A message: decided, encoded for each gateway and sent to each, until all have acknowledged it."""
    names = [f"Gateway-{number}" for number in range(gateways)]
    core, tasks = core_with(names), TaskSet("bench")
    async with draining("inlet") as told:
        place = Endpoint("127.0.0.1", told["port"], bytes.fromhex(told["key"]))
        links = GatewayLinks("StreamShard-1", tasks, lambda _: None, lambda _: cast("GatewayRef", _Taker(place)))

        async def step(turn: int) -> None:
            sender = Person(person(turn), f"person{turn}")
            said = s.SayInStream(1, STREAM, new_id(), sender, CONTENT, epoch=EPOCH)
            batch = core.decide([(names[turn % gateways], said)], datetime.now(UTC), float(turn))
            core.finish(batch, set(), float(turn))
            links.dispatch(batch.script)
            await links.flushed(SOON_S)

        yield step
        await tasks.close()


@asynccontextmanager
async def reporting(gateways: int, people: int) -> AsyncIterator[Step]:
    """A report of one gateway, of a few who came and left and some applause, where so many people watch."""
    core, each = core_with([f"Gateway-{number}" for number in range(gateways)]), people // gateways
    reports = []
    for number in range(gateways):
        here = [person(place) for place in range(number * each, (number + 1) * each)]
        submit(core, encoded_report(number, here, []))
        new = [person(people + number * CHURN + place) for place in range(CHURN)]
        # Taken in turns, they leave the audience as it was.
        reports += [encoded_report(number, new, here[:CHURN]), encoded_report(number, here[:CHURN], new)]

    async def step(turn: int) -> None:
        submit(core, reports[turn % len(reports)])

    yield step


def encoded_report(gateway: int, came: list[UUID], left: list[UUID]) -> bytes:
    applause = s.Applaud(STREAM, {"🔥": 3, "👏": 2}, epoch=EPOCH)
    report = s.ReportViewers(STREAM, came, left, 0, epoch=EPOCH)
    return c.encode_commands(f"Gateway-{gateway}", [report, applause])


def submit(core: StreamCore, data: bytes) -> None:
    """As the shard does with a batch that wants no answer."""
    batch = s.decode_commands(data)
    core.heard(batch.gateway, 0.0)
    core.decide([(batch.gateway, command) for command in batch.commands], datetime.now(UTC), 0.0)


# -- the gateway -------------------------------------------------------------------------------------------------


class _Receiver:
    """Of sockets that send nothing."""

    def text(self, socket: WebSocket, payload: bytes) -> None: ...
    def binary(self, socket: WebSocket) -> None: ...
    def lagging(self, socket: WebSocket) -> None: ...
    def closed(self, socket: WebSocket) -> None: ...

    def control(self, socket: WebSocket) -> bool:  # noqa: ARG002 - as receivers do
        return True


def watched(sockets: dict[Any, UUID | None]) -> Watched[Any]:
    """The stream as a gateway has it, with these who watch."""
    entry: Watched[Any] = Watched(STREAM)
    state = s.StreamState(protocol.json(_shown(datetime.now(UTC))), OWNER.id, False, [], [])
    entry.followed(s.StreamFollowed(1, STREAM, state, len(sockets), 0, [], EPOCH))
    for socket_, user_id in sockets.items():
        entry.join(socket_, user_id)
    entry.follow(1)
    return entry


@asynccontextmanager
async def delivering(sockets: int, messages: int) -> AsyncIterator[Step]:
    """A batch with so many messages: decoded, and written to every socket as one piece. The times for which frames of
    several batches would be joined pass in between, and take nothing of the processor.
    """
    tasks, loop = TaskSet("bench"), asyncio.get_running_loop()
    hub, receiver, written = StreamHub("Gateway-1", links=tasks), _Receiver(), asyncio.Event()
    async with draining("sockets") as told:
        transports = []
        for _ in range(sockets):
            connection = socket.create_connection(("127.0.0.1", told["port"]))
            connection.setblocking(False)
            transports.append((await loop.create_connection(asyncio.Protocol, sock=connection))[0])
        viewers = [WebSocket(transport, receiver) for transport in transports]

        def last(data: bytes | bytearray | memoryview) -> None:
            transports[-1].write(data)
            written.set()

        viewers[-1].write = last
        hub.streams[STREAM] = watched({viewer: person(number) for number, viewer in enumerate(viewers)})
        tasks.start(hub.work_forever(), "hub")
        tasks.start(hub.fanout.run_forever(), "fan-out")

        async def step(turn: int) -> None:
            first = turn * messages + 1
            frames = [_frame(first + number) for number in range(messages)]
            written.clear()
            await hub.deliver(c.encode_deliveries("StreamShard-1", [c.Events(STREAM, first, frames)], 0.0))
            await asyncio.wait_for(written.wait(), SOON_S)
            if any(viewer.lagging_since is not None for viewer in viewers):
                raise RuntimeError("the other end does not keep up")

        yield step
        await tasks.close()
        for transport in transports:
            transport.abort()
        # They are closed in the loop's next turn; until then the numbers of their files are not free.
        await asyncio.sleep(0.1)


def _frame(seq: int) -> bytes:
    sender = Person(person(seq), f"person{seq}")
    message = StreamMessage(STREAM, seq, new_id(), sender, CONTENT, datetime.now(UTC))
    return protocol.frame(streams.wire(message))


@asynccontextmanager
async def noticing(viewers: int) -> AsyncIterator[Step]:
    """Finding out who came and left among so many, of whom a few did."""
    entry = watched({object(): person(number) for number in range(viewers)})
    entry.report()
    here: list[list[Any]] = [[object() for _ in range(CHURN)] for _ in range(2)]

    async def step(turn: int) -> None:
        for place, key in enumerate(here[turn % 2]):
            entry.join(key, person(viewers + place + CHURN * (turn % 2)))
        for key in here[(turn + 1) % 2]:
            entry.leave(key)
        if entry.report() is None:
            raise RuntimeError("nobody came")

    yield step
