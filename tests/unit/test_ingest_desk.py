"""Encoders before their streams' shards: who is being let in, and whose connection ended before anybody was."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from system.waiting import until

from veza.actors.ingest import desk as desks
from veza.actors.ingest.desk import ShardDesk
from veza.actors.ingest.pipelines import Pipelines
from veza.actors.tasks import TaskSet
from veza.errors import Conflict, Unauthenticated, Unavailable
from veza.realtime import stream_commands as s
from veza.storage.stream_keys import StreamSecrets

NAME = "Ingest-here-1"
PLAYBACK = "0123456789abcdefghjkmnpqrs"


class Links:
    """Shards that answer when they are told to."""

    def __init__(self) -> None:
        self.asked: list[s.PublishSource] = []
        self.answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self.told: list[tuple[s.SourceGone, Callable[[object], None]]] = []

    async def ask(self, make: Callable[[int], s.PublishSource], _: UUID) -> dict[str, Any]:
        self.asked.append(make(1))
        return await self.answer

    def request(self, make: Callable[[int], s.SourceGone], _: UUID, handle: Callable[[object], None]) -> None:
        self.told.append((make(2), handle))


class World:
    """`feeds` are what is stored of who feeds what by whom; one key is known, by its holder's stream."""

    def __init__(self, directory: Path, tasks: TaskSet, patch: pytest.MonkeyPatch) -> None:
        self.stream_id = uuid4()
        self.feeds: list[tuple[UUID, UUID]] = []
        self.links: Any = Links()
        nobody: Any = None
        pipelines = Pipelines(
            NAME, directory, nobody, tasks, on_view=lambda *_: None, on_file=lambda *_: None, on_gone=lambda _: None
        )
        self.desk = ShardDesk(
            NAME, nobody, self.links, secrets=StreamSecrets("x" * 32), pipelines=pipelines, cut=lambda *_: None
        )
        patch.setattr(desks.stream_keys, "user_of_key", self._user_of_key)
        patch.setattr(desks.streams, "newest_open_or_create", self._newest)
        patch.setattr(desks.streams, "fed_by", self._fed_by)

    async def _user_of_key(self, _pool: object, _secrets: object, key: str) -> UUID | None:
        return uuid4() if key == "key" else None

    async def _newest(self, *_: object) -> UUID:
        return self.stream_id

    async def _fed_by(self, _pool: object, ingest: str) -> list[tuple[UUID, UUID]]:
        assert ingest == NAME
        return self.feeds

    async def asked(self) -> bool:
        return bool(self.links.asked)


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    tasks = TaskSet("test")
    yield World(tmp_path, tasks, monkeypatch)
    await tasks.close()


async def test_who_asks_for_a_stream_that_is_just_let_in_can_wait(world: World) -> None:
    assert not world.desk.admitting
    await world.desk.admitted()
    admission = asyncio.create_task(world.desk.admit("key", uuid4()))
    await until(world.asked, "the shard to be asked")
    assert world.desk.admitting
    waiting = asyncio.create_task(world.desk.admitted())
    world.links.answer.set_result({"playback_id": PLAYBACK, "is_recorded": False})
    feed = await admission
    await waiting
    assert not world.desk.admitting
    feed.ended(True)
    [(gone, _)] = world.links.told
    assert (gone.stream_id, gone.clean) == (world.stream_id, True)


async def test_nobody_waits_for_one_that_is_refused(world: World) -> None:
    admission = asyncio.create_task(world.desk.admit("key", uuid4()))
    await until(world.asked, "the shard to be asked")
    waiting = asyncio.create_task(world.desk.admitted())
    world.links.answer.set_exception(Conflict("This stream has ended."))
    with pytest.raises(Conflict):
        await admission
    await waiting
    with pytest.raises(Unauthenticated):
        await world.desk.admit("another", uuid4())
    assert not world.desk.admitting


async def test_sources_of_the_ingest_before_have_gone(world: World) -> None:
    world.feeds = [(uuid4(), uuid4()), (uuid4(), uuid4())]
    await world.desk.sign_off()
    told = world.links.told
    assert [(gone.stream_id, gone.source_id, gone.clean) for gone, _ in told] == [(*fed, False) for fed in world.feeds]
    assert world.desk.untold == 2
    for _, handle in list(told):
        handle(Unavailable())
    world.desk.retry()
    assert len(told) == 4
    for _, handle in told[2:]:
        handle(None)
    assert world.desk.untold == 0
    assert world.desk.all_told.is_set()
