"""Killed shard: how long is the silence in its rooms, and is anything lost?

Eight rooms, one sender in each at 50 messages a second, one reader of all. After two seconds one of the processes
that own rooms is killed (SIGKILL) while everybody goes on. Measured is the longest time that passed in any room
between two messages at the reader. Afterwards every message that was acknowledged is looked for in the history, and
what the reader saw is checked: each once, in one order, without a gap.
"""

import asyncio
import time
from collections import Counter
from contextlib import AsyncExitStack

from benchmarks.support.figures import Figure
from benchmarks.support.people import Person, make_room, people
from benchmarks.support.question import Answer, Options, Question, ask
from benchmarks.support.system import UNLIMITED, System, running
from veza.client import Durable, Message, Room

ROOMS = 8
PER_SECOND = 50
BEFORE_S = 2.0
TARGET_S = 1.0
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


async def _kill_one(system: System) -> int:
    """Kill a shard in the middle of things; how many there were."""
    shards = system.actors("RoomShard")
    await asyncio.sleep(BEFORE_S)
    shards[0].kill()
    return len(shards)


async def _run(system: System, rooms: list[Sides], run: int, seconds: float) -> list[float]:
    """One kill, with traffic before and after; the longest silence of each room in seconds."""
    expected = int((BEFORE_S + seconds) * PER_SECOND)
    seen = [Seen() for _ in rooms]
    async with asyncio.timeout(BEFORE_S + seconds + PATIENCE_S), asyncio.TaskGroup() as group:
        killing = group.create_task(_kill_one(system))
        for room, into in zip(rooms, seen, strict=True):
            group.create_task(_send(room, run, BEFORE_S + seconds))
            group.create_task(_read(room.reader, into, expected))
    for room, got in zip(rooms, seen, strict=True):
        got.check({content for content in room.acknowledged if content.startswith(f"run {run} ")})
    shards = killing.result()
    async with asyncio.timeout(PATIENCE_S):
        while len(system.actors("RoomShard")) < shards:
            await asyncio.sleep(0.1)
    await asyncio.sleep(REBALANCED_S)
    return [round(got.longest_silence(), 4) for got in seen]


async def _misplaced(person: Person, room: Sides) -> int:
    """How many acknowledged messages the history does not hold exactly once, and what else it holds."""
    history = Counter([message.content or "" async for message in person.client.conversations.walk(room.writer.id)])
    wanted = Counter(room.acknowledged)
    return ((history - wanted) + (wanted - history)).total()


async def _measure(options: Options) -> Answer:
    with running(**UNLIMITED) as system:
        async with people(system.url, ROOMS + 1) as crowd, AsyncExitStack() as stack:
            reader, *writers = crowd
            reading = await stack.enter_async_context(reader.client.connect())
            rooms = []
            for writer in writers:
                room_id = await make_room([writer, reader])
                chat = await stack.enter_async_context(writer.client.connect())
                rooms.append(Sides(await chat.join(room_id), await reading.join(room_id)))
            draining = [asyncio.create_task(_drain(room.writer)) for room in rooms]
            silences = [await _run(system, rooms, run, options.seconds) for run in range(options.runs)]
            misplaced = sum([await _misplaced(reader, room) for room in rooms])
        await asyncio.gather(*draining)
    figures = [
        Figure(
            name="longest silence in a room when its shard is killed",
            unit="s",
            runs=[max(run) for run in silences],
            target=TARGET_S,
            bound="at most",
        ),
        Figure(
            name="acknowledged messages lost or doubled", unit="messages", runs=[misplaced], target=0, bound="at most"
        ),
    ]
    details = {"silences": silences, "acknowledged": sum(len(room.acknowledged) for room in rooms)}
    return Answer(figures=figures, settings=UNLIMITED, details=details)


def measure(options: Options) -> Answer:
    return asyncio.run(_measure(options))


QUESTION = Question("killed_shard", "How long is the silence when a shard is killed?", measure, seconds=4.0)

if __name__ == "__main__":
    ask(QUESTION)
