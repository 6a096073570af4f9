"""Encoders before their streams' shards: who is being let in, and of whom a shard must hear that they have gone."""

import asyncio
from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import pytest
from system.waiting import until

from veza.actors.ingest import desk as desks
from veza.actors.ingest.desk import ShardDesk
from veza.errors import Conflict, Unauthenticated, Unavailable
from veza.realtime import stream_commands as s
from veza.storage.stream_keys import StreamSecrets

NAME = "Ingest-here-1"
PUBLISHED = {"playback_id": "0123456789abcdefghjkmnpqrs", "is_recorded": False}


class Links:
    """Shards, whose answers the test gives."""

    def __init__(self) -> None:
        self.asked: list[tuple[s.PublishSource, asyncio.Future[dict[str, Any]]]] = []
        self.told: list[tuple[s.SourceGone, Callable[[object], None]]] = []

    async def ask(self, make: Callable[[int], s.PublishSource], _: UUID) -> dict[str, Any]:
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self.asked.append((make(1), answer))
        return await answer

    def request(self, make: Callable[[int], s.SourceGone], _: UUID, handle: Callable[[object], None]) -> None:
        self.told.append((make(2), handle))


class Pipelines:
    """Feeds that say when they end."""

    def __init__(self) -> None:
        self.ends: list[Callable[[bool], None]] = []

    def feed(self, _: s.Published, on_ended: Callable[[bool], None]) -> object:
        self.ends.append(on_ended)
        return object()

    def look(self) -> None: ...


class World:
    """One key is known. `streams` are those of its holder, the open one first; `feeds` is what is stored of who feeds
    what from here.
    """

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.streams = [uuid4()]
        self.feeds: list[tuple[UUID, UUID]] = []
        self.links, self.pipelines = Links(), Pipelines()
        links: Any = self.links
        pipelines: Any = self.pipelines
        self.desk = ShardDesk(
            NAME, None, links, secrets=StreamSecrets("x" * 32), pipelines=pipelines, cut=lambda *_: None
        )
        patch.setattr(desks.stream_keys, "user_of_key", self._user_of_key)
        patch.setattr(desks.streams, "newest_open_or_create", self._newest)
        patch.setattr(desks.streams, "fed_by", self._fed_by)

    async def _user_of_key(self, _pool: object, _secrets: object, key: str) -> UUID | None:
        return uuid4() if key == "key" else None

    async def _newest(self, *_: object) -> UUID:
        return self.streams[0]

    async def _fed_by(self, _pool: object, ingest: str) -> list[tuple[UUID, UUID]]:
        assert ingest == NAME
        return self.feeds

    async def asked(self, times: int = 1) -> "asyncio.Future[dict[str, Any]]":
        """What the shard answers to the last question."""

        async def enough() -> bool:
            return len(self.links.asked) >= times

        await until(enough, "the shard to be asked")
        return self.links.asked[-1][1]

    @property
    def told(self) -> list[tuple[UUID, UUID, bool]]:
        return [(gone.stream_id, gone.source_id, gone.clean) for gone, _ in self.links.told]


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


async def test_who_asks_for_a_stream_that_is_just_let_in_can_wait(world: World) -> None:
    assert not world.desk.admitting
    await world.desk.admitted()
    source_id = uuid4()
    admission = asyncio.create_task(world.desk.admit("key", source_id))
    answer = await world.asked()
    assert world.desk.admitting
    waiting = asyncio.create_task(world.desk.admitted())
    answer.set_result(PUBLISHED)
    await admission
    await waiting
    assert not world.desk.admitting
    [end] = world.pipelines.ends
    end(True)
    assert world.told == [(world.streams[0], source_id, True)]


async def test_nobody_waits_for_one_that_is_refused(world: World) -> None:
    admission = asyncio.create_task(world.desk.admit("key", uuid4()))
    answer = await world.asked()
    waiting = asyncio.create_task(world.desk.admitted())
    answer.set_exception(Conflict("This stream has a source already."))
    with pytest.raises(Conflict):
        await admission
    await waiting
    with pytest.raises(Unauthenticated):
        await world.desk.admit("another", uuid4())
    assert not world.desk.admitting
    assert world.told == []


async def test_an_answer_that_does_not_come_may_have_let_in(world: World) -> None:
    """Also of the stream that is next, where the first one has ended."""
    source_id, next_id = uuid4(), uuid4()
    admission = asyncio.create_task(world.desk.admit("key", source_id))
    ended = await world.asked()
    world.streams.insert(0, next_id)
    ended.set_exception(Conflict("This stream has ended."))
    (await world.asked(2)).set_exception(Unavailable())
    with pytest.raises(Unavailable):
        await admission
    assert world.told == [(next_id, source_id, False)]


async def test_sources_of_the_ingest_before_have_gone(world: World) -> None:
    world.feeds = [(uuid4(), uuid4()), (uuid4(), uuid4())]
    await world.desk.sign_off()
    told = [(*fed, False) for fed in world.feeds]
    assert (world.told, world.desk.untold) == (told, 2)
    for _, handle in list(world.links.told):
        handle(Unavailable())
    world.desk.retry()
    assert sorted(world.told) == sorted(told * 2)
    for _, handle in world.links.told[2:]:
        handle(None)
    assert world.desk.untold == 0
    assert world.desk.all_told.is_set()
