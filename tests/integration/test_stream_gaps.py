"""What a gateway tells the viewers of a stream when it has missed more than its shard remembers."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import msgspec
import pytest
from stream_writer import FIELDS, GATEWAY, StreamWriter, say
from system.waiting import until
from writer import some_person

from veza.actors.tasks import TaskSet
from veza.http.stream_hub import StreamHub
from veza.realtime import commands as c
from veza.realtime import stream_commands as s
from veza.realtime.events import Person
from veza.storage import stream_log, streams

SHARD = "StreamShard-1"
MISSED, REMEMBERED = 700, 50


@dataclass(eq=False)
class Peer:
    """A socket."""

    closing: bool = False
    lagging_since: float | None = None
    frames: list[dict[str, Any]] = field(default_factory=list)

    def write(self, data: bytes) -> None:
        while data:
            length, start = (data[1], 2) if data[1] < 126 else (int.from_bytes(data[2:4], "big"), 4)
            self.frames.append(msgspec.json.decode(data[start : start + length]))
            data = data[start + length :]

    send = write

    def seqs(self) -> list[int]:
        return [frame["seq"] for frame in self.frames if frame["type"] == "stream_message"]

    def skipped(self) -> list[int]:
        return [frame["count"] for frame in self.frames if frame["type"] == "stream_messages_skipped"]


class Shard:
    """In place of the links to the shards: it answers when it is told to."""

    def __init__(self, writer: StreamWriter) -> None:
        self.writer = writer
        self._asked: list[tuple[Callable[[int], Any], Callable[[Any], None]]] = []

    def request(self, make: Callable[[int], Any], _subject: UUID, handle: Callable[[Any], None]) -> None:
        self._asked.append((make, handle))

    def send(self, command: Any, _subject: UUID) -> None:
        """Nobody counts viewers here."""

    async def answers(self) -> bool:
        asked, self._asked = self._asked, []
        for make, handle in asked:
            [followed] = await self.writer.give(make)
            handle(followed)
        return bool(asked)


class World:
    def __init__(self, writer: StreamWriter, stream_id: UUID) -> None:
        self.tasks = TaskSet("test")
        self.hub = StreamHub(GATEWAY, links=self.tasks)
        self.shard = Shard(writer)
        links: Any = self.shard
        self.hub.links = links
        self.stream_id = stream_id
        for work in (self.hub.work_forever(), self.hub.report_forever(), self.hub.fanout.run_forever()):
            self.tasks.start(work, "work")

    async def watch(self, user_id: UUID | None) -> Peer:
        peer: Any = Peer()
        answers: list[Any] = []
        self.hub.watch(peer, user_id, self.stream_id, answers.append)
        await self.shard.answers()
        assert isinstance(answers[0], bytes), answers
        return peer  # type: ignore[no-any-return]

    async def hears(self, *items: Any) -> None:
        await self.hub.deliver(c.encode_deliveries(SHARD, items, 0.0))


@pytest.fixture
async def ada(pool: Any) -> Person:
    return await some_person(pool, "ada")


@pytest.fixture
async def world(pool: Any, ada: Person) -> AsyncIterator[World]:
    writer = StreamWriter(pool)
    await writer.take_over()
    found = World(writer, (await streams.create(pool, ada.id, FIELDS)).id)
    yield found
    await found.tasks.close()


async def test_the_streamer_is_told_all_and_others_how_much_they_missed(world: World, pool: Any, ada: Person) -> None:
    writer = world.shard.writer
    stream = await streams.get(pool, world.stream_id, ada.id)
    owner, viewer = await world.watch(ada.id), await world.watch(None)
    told: list[Any] = []
    for number in range(MISSED):
        told += await writer.give(say(stream, ada, str(number), client_msg_id=str(number)))
    ids = [UUID(item["message_id"]) for item in told if isinstance(item, dict)]
    removed = {3, 600, MISSED - 1}
    for seq in removed:
        await writer.give(lambda ref, seq=seq: s.RemoveStreamMessage(ref, stream.id, ada, ids[seq - 1]))
    latest = [item for item in await writer.give(say(stream, ada, "last")) if isinstance(item, c.Events)]
    await world.hears(*latest)

    async def told_all() -> bool:
        await world.shard.answers()
        return bool(viewer.skipped()) and owner.seqs()[-1:] == viewer.seqs()[-1:] == [MISSED + 1]

    await until(told_all, "both to be told")
    assert owner.seqs() == [seq for seq in range(1, MISSED + 2) if seq not in removed]
    assert owner.skipped() == []
    assert viewer.seqs() == owner.seqs()[-REMEMBERED:]
    assert viewer.skipped() == [viewer.seqs()[0] - 1]
    assert owner.frames[0]["client_msg_id"] == "0"
    [after] = [item for item in await writer.give(say(stream, ada, "after")) if isinstance(item, c.Events)]
    await world.hears(after)
    await until(lambda: _ends(owner, viewer, MISSED + 2), "what came after it")
    assert len(set(owner.seqs())) == len(owner.seqs())


async def _ends(owner: Peer, viewer: Peer, seq: int) -> bool:
    await asyncio.sleep(0)
    return owner.seqs()[-1] == viewer.seqs()[-1] == seq


async def test_what_is_too_much_even_for_the_streamer_is_counted(
    world: World, pool: Any, ada: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_log, "SINCE_BYTES", 10 * (300 + len('"100"')))
    writer = world.shard.writer
    stream = await streams.get(pool, world.stream_id, ada.id)
    owner, viewer = await world.watch(ada.id), await world.watch(None)
    for number in range(100, 200):
        last = await writer.give(say(stream, ada, str(number)))
    await world.hears(*(item for item in last if isinstance(item, c.Events)))

    async def told_all() -> bool:
        await world.shard.answers()
        return bool(viewer.skipped() and owner.skipped())

    await until(told_all, "both to be told")
    assert owner.seqs() == [*range(1, 11), *range(51, 101)]
    assert (owner.skipped(), viewer.skipped()) == ([40], [50])
