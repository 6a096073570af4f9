"""Killed shard: how long is the silence in its rooms, and is anything lost?

Sixteen rooms, one sender in each at 25 messages a second, one reader of all; beside them 200 rooms of two in which
1,000 messages a second are written. After two seconds one of the processes that own rooms is killed (SIGKILL) while
everybody goes on. Measured is the longest time that passed in each of the sixteen between two messages at the reader,
rooms of other shards included; the figure is the 99th percentile over rooms and runs. Afterwards every message that was
acknowledged is looked for in the history, and what the reader saw is checked: each once, in one order, without a gap.
The rooms beside them must have had an answer to every message, and every member the message.
"""

import asyncio
import time
from collections import Counter
from contextlib import AsyncExitStack

from benchmarks.support.figures import Figure
from benchmarks.support.load import Load, opened
from benchmarks.support.people import Person, make_room, people
from benchmarks.support.population import plan_rooms
from benchmarks.support.progress import progress
from benchmarks.support.question import Answer, Options, Question, ask
from benchmarks.support.system import UNLIMITED, System, running
from veza.client import Durable, Message, Room

ROOMS = 16
PER_SECOND = 25
OTHER_ROOMS = 200
OTHERS_PER_SECOND = 1000
BEFORE_S = 2.0
TARGET_MS = 500.0
PATIENCE_S = 20.0
# After a replacement has started it takes its share of the rooms back; that is over by then.
REBALANCED_S = 5.0


class Seen:
    """What the reader got in one room: when, and which."""

    def __init__(self) -> None:
        self.at: list[float] = []
        self.seqs: list[int] = []
        self.contents: Counter[str] = Counter()

    def take(self, event: Durable) -> None:
        self.seqs.append(event.seq)
        if isinstance(event, Message) and event.content is not None:
            self.at.append(time.monotonic())
            self.contents[event.content] += 1

    def longest_silence(self) -> float:
        return max(after - before for before, after in zip(self.at, self.at[1:], strict=False))

    def check(self, sent: set[str]) -> None:
        """Raises RuntimeError unless each message came once, and seqs without a gap."""
        if set(self.contents) != sent or max(self.contents.values()) > 1:
            raise RuntimeError("the reader did not get each message once")
        if self.seqs != list(range(self.seqs[0], self.seqs[0] + len(self.seqs))):
            raise RuntimeError("the reader's events are not in order")


class Sides:
    """A room as its sender and its reader have it, and what the sender was told is stored."""

    def __init__(self, writer: Room, reader: Room) -> None:
        self.writer = writer
        self.reader = reader
        self.acknowledged: list[str] = []

    async def send(self, content: str) -> None:
        await self.writer.send(content)
        self.acknowledged.append(content)


async def _send(room: Sides, run: int, seconds: float) -> None:
    """Write at a steady rate, however long a reply takes; return when all are acknowledged."""
    began = time.monotonic()
    async with asyncio.TaskGroup() as group:
        for number in range(int(seconds * PER_SECOND)):
            await asyncio.sleep(max(0.0, began + number / PER_SECOND - time.monotonic()))
            group.create_task(room.send(f"run {run} message {number}"))


async def _drain(room: Room) -> None:
    """A sender's own events, which nobody wants."""
    async for _ in room:
        pass


async def _read(room: Room, seen: Seen, until: int) -> None:
    async for event in room:
        seen.take(event)
        if len(seen.at) == until:
            return


async def _kill_one(system: System) -> None:
    """Kill a shard in the middle of things."""
    shard = system.actors("RoomShard")[0]
    await asyncio.sleep(BEFORE_S)
    shard.kill()


async def _run(system: System, rooms: list[Sides], others: Load, run: int, seconds: float) -> list[float]:
    """One kill, with traffic before and after; the longest silence of each room in milliseconds."""
    expected = int((BEFORE_S + seconds) * PER_SECOND)
    seen = [Seen() for _ in rooms]
    shards = len(system.actors("RoomShard"))
    async with asyncio.timeout(BEFORE_S + seconds + PATIENCE_S), asyncio.TaskGroup() as group:
        group.create_task(asyncio.to_thread(others.pace, OTHERS_PER_SECOND, BEFORE_S + seconds, others.rooms_open))
        group.create_task(_kill_one(system))
        for room, into in zip(rooms, seen, strict=True):
            group.create_task(_send(room, run, BEFORE_S + seconds))
            group.create_task(_read(room.reader, into, expected))
    for room, got in zip(rooms, seen, strict=True):
        got.check({content for content in room.acknowledged if content.startswith(f"run {run} ")})
    async with asyncio.timeout(PATIENCE_S):
        while len(system.actors("RoomShard")) < shards:
            await asyncio.sleep(0.1)
    await asyncio.sleep(REBALANCED_S)
    return [round(got.longest_silence() * 1000, 1) for got in seen]


async def _misplaced(person: Person, room: Sides) -> int:
    """How many acknowledged messages the history does not hold exactly once, and what else it holds."""
    history = Counter([message.content or "" async for message in person.client.conversations.walk(room.writer.id)])
    wanted = Counter(room.acknowledged)
    return ((history - wanted) + (wanted - history)).total()


async def _measure(options: Options) -> Answer:
    count, others = options.sized((ROOMS, OTHER_ROOMS), (4, 20))
    silences: list[list[float]] = []
    with running(**UNLIMITED) as system:
        async with people(system.url, count + 1) as crowd, AsyncExitStack() as stack:
            reader, *writers = crowd
            plans = await plan_rooms(system, others, 2)
            load = stack.enter_context(opened(system.port, plans))
            reading = await stack.enter_async_context(reader.client.connect())
            rooms = []
            for writer in writers:
                room_id = await make_room([writer, reader])
                chat = await stack.enter_async_context(writer.client.connect())
                rooms.append(Sides(await chat.join(room_id), await reading.join(room_id)))
            draining = [asyncio.create_task(_drain(room.writer)) for room in rooms]
            progress("all rooms are open")
            for run in range(options.runs):
                silences.append(await _run(system, rooms, load, run, options.seconds))
                progress(f"a shard was killed: {max(silences[-1]):.0f} ms")
            misplaced = sum([await _misplaced(reader, room) for room in rooms])
        await asyncio.gather(*draining)
    details = {"silences_ms": silences, "acknowledged": sum(len(room.acknowledged) for room in rooms)}
    return Answer(figures=_figures(silences, misplaced), settings=UNLIMITED, details=details)


def _figures(silences: list[list[float]], misplaced: int) -> list[Figure]:
    every = sorted(silence for run in silences for silence in run)
    return [
        Figure(
            name="longest silence in a room when a shard is killed, p99 of rooms and runs",
            unit="ms",
            runs=[every[min(int(len(every) * 0.99), len(every) - 1)]],
            target=TARGET_MS,
            bound="at most",
        ),
        Figure(name="the same, worst room of each run", unit="ms", runs=[max(run) for run in silences]),
        Figure(
            name="acknowledged messages lost or doubled", unit="messages", runs=[misplaced], target=0, bound="at most"
        ),
    ]


def measure(options: Options) -> Answer:
    return asyncio.run(_measure(options))


QUESTION = Question("killed_shard", "How long is the silence when a shard is killed?", measure, 5, 4.0)

if __name__ == "__main__":
    ask(QUESTION)
