"""A gateway's links to its shards: heard whatever is on its way, made anew when a shard stays silent."""

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from system.waiting import until, within

from veza.actors import shard_links as module
from veza.actors.channel import Channel, Endpoint, Inlet
from veza.actors.refs import ActorUnreachable
from veza.actors.shard_links import MISSED_BEATS, ShardLinks
from veza.actors.tasks import TaskSet
from veza.realtime import commands as c
from veza.realtime.events import Person
from veza.realtime.partition import PARTITIONS

ROOM = UUID(int=1)
SHARD = "shard"
MAP = dict.fromkeys(range(PARTITIONS), (1, SHARD))
ADA = Person(UUID(int=2), "a" * 50)


class Shard:
    """A shard that takes commands at an inlet and answers all of them. While `gate` is closed, commands wait, but beats
    do not; connections made while it is `deaf` never get an answer; so many beats as `drops` says are dropped.
    """

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.gate.set()
        self.deaf = False
        self.drops = 0
        self.beats = 0
        self.held = 0
        self.refs: list[Ref] = []
        self.tasks = TaskSet("shard")
        self.inlet = Inlet(self.submit, self.tasks)
        self.links: ShardLinks

    async def submit(self, data: bytes) -> None:
        batch = c.decode_commands(data)
        if not batch.commands:
            self.beats += 1
            return
        self.held += 1
        await self.gate.wait()
        for command in batch.commands:
            if ref := getattr(command, "ref", 0):
                self.links.answered(c.Answer(ref, b"{}"))

    def ref(self, name: str) -> "Ref":
        self.refs.append(Ref(self, name))
        return self.refs[-1]


class Ref:
    """In place of a ShardRef: without Ray."""

    def __init__(self, shard: Shard, name: str) -> None:
        self.name = name
        self.closed = False
        self._shard = shard
        self._deaf = shard.deaf
        self._channel = Channel(self._find)

    async def _find(self) -> Endpoint:
        return self._shard.inlet.place()

    async def submit(self, batch: bytes) -> None:
        if self._deaf:
            await asyncio.Event().wait()
        if self is self._shard.refs[-1] and self._shard.drops:
            self._shard.drops -= 1
            raise ActorUnreachable(self.name)
        await self._channel.call(batch)

    async def close(self) -> None:
        self.closed = True
        await self._channel.close()


@pytest.fixture
async def shard(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Shard]:
    made = Shard()

    async def partition_map() -> dict[int, tuple[int, str]]:
        return MAP

    monkeypatch.setattr(module, "ShardRef", made.ref)
    monkeypatch.setattr(module, "SupervisorRef", lambda: SimpleNamespace(partition_map=partition_map))
    monkeypatch.setattr(module, "BEAT_S", 0.02)
    monkeypatch.setattr(module, "PATIENCE_S", 60.0)
    tasks = TaskSet("gateway")
    made.links = ShardLinks("gateway", tasks, lambda _: None)
    await made.inlet.start("127.0.0.1")
    yield made
    await tasks.close()
    await made.inlet.close()
    await made.tasks.close()
    assert all(ref.closed for ref in made.refs)


def asking(links: ShardLinks) -> "asyncio.Task[Any]":
    return asyncio.ensure_future(links.ask(lambda ref: c.GetPresence(ref, []), ROOM))


async def heard(shard: Shard, times: int) -> None:
    most = shard.beats + times

    async def beaten() -> bool:
        return shard.beats >= most

    await until(beaten, "beats to be heard")


async def test_a_shard_that_stays_silent_is_linked_to_anew(shard: Shard) -> None:
    shard.deaf = True
    shard.links.set_map(MAP)
    asked = asking(shard.links)
    await asyncio.sleep(0)
    shard.deaf = False
    async with within(20, "an answer over another link"):
        assert await asked == {}
    assert [ref.closed for ref in shard.refs] == [True, True, False, False]


async def test_a_shard_that_missed_a_few_beats_is_not(shard: Shard) -> None:
    shard.links.set_map(MAP)
    await heard(shard, 2)
    for _ in range(3):
        shard.drops = MISSED_BEATS - 1
        await heard(shard, 2)
    assert not any(ref.closed for ref in shard.refs)
    assert await asking(shard.links) == {}


async def test_it_is_heard_while_a_batch_waits(shard: Shard) -> None:
    shard.gate.clear()
    shard.links.set_map(MAP)
    asked = asking(shard.links)

    async def held() -> bool:
        return bool(shard.held)

    await until(held, "the batch to wait")
    await heard(shard, 2 * MISSED_BEATS)
    assert not any(ref.closed for ref in shard.refs)
    shard.gate.set()
    assert await asked == {}


@pytest.mark.parametrize(
    "command",
    [
        c.Post(1, ROOM, ROOM, ADA, "plain " * 600),
        c.Post(1, ROOM, ROOM, ADA, "🎵" * 4000),
        c.Post(1, ROOM, ROOM, ADA, "x", "i" * 128, ROOM, [ROOM] * 10),
        c.EditMessage(1, ROOM, ROOM, ADA, ROOM, "🎵" * 4000),
        c.GetPresence(1, [ROOM] * 1000),
        c.Typing(1, ROOM, ROOM, True),
    ],
    ids=["plain", "emoji", "attachments", "edit", "presence", "typing"],
)
async def test_a_command_is_taken_for_what_it_weighs(shard: Shard, command: c.ShardCommand) -> None:
    shard.deaf = True
    shard.links.set_map(MAP)
    shard.links.send(command, ROOM)
    size = len(c.encode(c.CommandBatch("gateway", [command])))
    weight, _ = shard.links.depth()
    assert size <= weight + 32
    assert weight <= 2 * size + 300
