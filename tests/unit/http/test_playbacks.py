"""Streams as they are played: who is told that somebody watches, who waits and for how long, what is forgotten."""

import asyncio
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from veza.errors import InvalidArgument, RateLimited, StreamNotFound, Unavailable
from veza.http.playbacks import STALE_ROW_S, PlaybackLimits, Playbacks
from veza.realtime.hls.view import PlaylistView

ID = "0123456789abcdefghjkmnpqrs"
OTHER = "1123456789abcdefghjkmnpqrs"


def view_of(next_msn: int, open_parts: int = 0, *, last_parts: int = 4, ended: bool = False) -> PlaylistView:
    plain = b"#EXTM3U\n#EXT-X-TARGETDURATION:4\n#%d" % next_msn
    return PlaylistView(next_msn, last_parts, open_parts, 3, ended, b"live", b"delta", plain, b"index")


def copies_in(directory: Path, name: str) -> list[Path]:
    return list(directory.rglob(name))


class World:
    """Playbacks with a clock that stands still, and a note of whom they asked."""

    def __init__(self, directory: Path, limits: PlaybackLimits | None = None) -> None:
        self.time = 1000.0
        self.directory = directory
        self.watched: list[tuple[str, str, bool]] = []
        self.playbacks = Playbacks(directory, lambda *told: self.watched.append(told), lambda: self.time, limits)

    async def waiting(self, *arguments: Any, count: int = 1) -> "asyncio.Task[PlaylistView]":
        """A request that waits."""
        task = asyncio.create_task(self.playbacks.view(ID, *arguments))
        while self.playbacks.waiting < count:
            await asyncio.sleep(0)
        return task

    async def known(self, view: PlaylistView) -> None:
        task = await self.waiting("ingest-1")
        self.playbacks.show(ID, view)
        assert await task == view


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


async def test_the_first_view_is_waited_for_until_a_segment_is_whole(world: World) -> None:
    tasks = [await world.waiting("ingest-1", count=n) for n in (1, 2)]
    assert world.watched == [("ingest-1", ID, True)]
    world.playbacks.show(ID, view_of(0, 2, last_parts=0))
    await asyncio.sleep(0)
    assert world.playbacks.waiting == 2
    world.playbacks.show(ID, view_of(1))
    assert [await task for task in tasks] == [view_of(1)] * 2
    assert world.playbacks.waiting == 0


async def test_a_first_view_that_does_not_come(tmp_path: Path) -> None:
    world = World(tmp_path, PlaybackLimits(first_view_s=0.01))
    with pytest.raises(Unavailable):
        await world.playbacks.view(ID, "ingest-1")
    with pytest.raises(StreamNotFound):
        await world.playbacks.view(ID, None)


async def test_a_blocking_reload(world: World) -> None:
    await world.known(view_of(5, 1))
    assert await world.playbacks.view(ID, "ingest-1", 5, 0) == view_of(5, 1)
    task = await world.waiting("ingest-1", 5, 2)
    world.playbacks.show(ID, view_of(5, 2))
    await asyncio.sleep(0)
    assert not task.done()
    world.playbacks.show(ID, view_of(5, 3))
    assert await task == view_of(5, 3)
    for directives in ((7,), (5, 9), (None, 0)):
        with pytest.raises(InvalidArgument):
            await world.playbacks.view(ID, "ingest-1", *directives)


async def test_a_reload_waits_for_so_many_target_durations(tmp_path: Path) -> None:
    world = World(tmp_path, PlaybackLimits(reload_targets=0.005))
    await world.known(view_of(5))
    with pytest.raises(Unavailable):
        await world.playbacks.view(ID, "ingest-1", 5)


async def test_so_many_may_wait(tmp_path: Path) -> None:
    world = World(tmp_path, PlaybackLimits(waiters_each=2, waiters=3, playbacks=2))
    tasks = [await world.waiting("ingest-1", count=n) for n in (1, 2)]
    with pytest.raises(RateLimited):
        await world.playbacks.view(ID, "ingest-1")
    tasks.append(asyncio.create_task(world.playbacks.view(OTHER, "ingest-1")))
    while world.playbacks.waiting < 3:
        await asyncio.sleep(0)
    with pytest.raises(Unavailable):
        await world.playbacks.view(OTHER, "ingest-1")
    with pytest.raises(Unavailable, match="streams are played"):
        await world.playbacks.view("2" * 26, "ingest-1")
    world.playbacks.gone(ID, "ingest-1")
    world.playbacks.gone(OTHER, "ingest-1")
    assert [type(error) for error in await asyncio.gather(*tasks, return_exceptions=True)] == [StreamNotFound] * 3


async def test_only_who_has_it_can_have_it_no_more(world: World) -> None:
    await world.known(view_of(5))
    task = await world.waiting("ingest-2", 5)
    world.playbacks.gone(ID, "ingest-1")
    world.playbacks.show(ID, view_of(6))
    assert await task == view_of(6)


async def test_who_leaves_waits_no_more(world: World) -> None:
    task = await world.waiting("ingest-1")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert world.playbacks.waiting == 0


async def test_an_ingest_is_told_now_and_then(world: World) -> None:
    await world.known(view_of(5))
    world.time += 9
    await world.playbacks.view(ID, "ingest-1")
    assert len(world.watched) == 1
    world.time += 1
    await world.playbacks.view(ID, "ingest-1")
    assert len(world.watched) == 2
    await world.playbacks.view(ID, "ingest-2")
    assert world.watched[2:] == [("ingest-2", ID, True)]
    # Who waits keeps it told, too.
    task = await world.waiting("ingest-2", 5)
    world.time += 10
    await world.playbacks.sweep()
    assert len(world.watched) == 4
    task.cancel()


async def test_what_an_ingest_has_forgotten_to_push_is_not_shown(world: World) -> None:
    await world.known(view_of(5))
    world.time += 30
    task = await world.waiting("ingest-1")
    world.playbacks.show(ID, view_of(20))
    assert await task == view_of(20)


async def test_an_ended_stream_is_shown_until_nobody_asks(world: World) -> None:
    await world.known(view_of(5, ended=True))
    world.time += 59
    await world.playbacks.sweep()
    assert await world.playbacks.view(ID, None, 99, 99) == view_of(5, ended=True)
    world.time += 60
    await world.playbacks.sweep()
    assert len(world.playbacks) == 0
    with pytest.raises(StreamNotFound):
        await world.playbacks.view(ID, None)


async def test_copies_are_kept_while_somebody_asks(world: World) -> None:
    world.playbacks.show(ID, view_of(1))
    await world.playbacks.store(ID, "seg-0.m4s", b"nobody asked")
    await world.known(view_of(1))
    assert await world.playbacks.file(ID, "ingest-1", "seg-0.m4s") is None
    await world.playbacks.store(ID, "seg-0.m4s", b"moving")
    file = await world.playbacks.file(ID, "ingest-1", "seg-0.m4s")
    assert file is not None
    with file:
        assert file.read() == b"moving"
    await world.playbacks.store(ID, "part-200-0.m4s", b"much later")
    assert await world.playbacks.file(ID, "ingest-1", "seg-0.m4s") is None
    world.time += 60
    await world.playbacks.sweep()
    assert not copies_in(world.directory, "*.m4s")
    await world.playbacks.close()
    assert not copies_in(world.directory, ID)


async def test_files_of_an_ingest_of_this_node_are_not_touched(world: World) -> None:
    own = world.directory / ID
    own.mkdir()
    (own / "seg-0.m4s").write_bytes(b"here")
    await world.known(view_of(1))
    assert world.watched == [("ingest-1", ID, False)]
    found = await world.playbacks.file(ID, "ingest-1", "seg-0.m4s")
    assert found is not None
    found.close()
    # It moves: what its old place has is not what the playlist names, and copies are asked for at once.
    world.playbacks.show(ID, view_of(3))
    assert await world.playbacks.file(ID, "ingest-1", "seg-2.m4s") is None
    assert world.watched[1:] == [("ingest-1", ID, True)]
    world.time += 60
    await world.playbacks.sweep()
    await world.playbacks.close()
    assert (own / "seg-0.m4s").read_bytes() == b"here"


async def test_copies_of_a_process_that_is_no_more_are_removed(tmp_path: Path) -> None:
    abandoned = tmp_path / "copies" / "old" / ID
    abandoned.mkdir(parents=True)
    worlds = [World(tmp_path), World(tmp_path)]
    for world in worlds:
        await world.known(view_of(1))
        await world.playbacks.store(ID, "seg-0.m4s", b"moving")
    assert not abandoned.exists()
    assert len(copies_in(tmp_path, "seg-0.m4s")) == 2
    for world in worlds:
        await world.playbacks.close()


@pytest.mark.parametrize(
    ("playback_id", "name"),
    [(ID, "../seg-0.m4s"), (ID, "seg-0.m4s\n"), (ID, ".seg-0.m4s"), (ID, "state"), ("..", "seg-0.m4s")],
)
async def test_other_names_are_refused(world: World, playback_id: str, name: str) -> None:
    with pytest.raises(InvalidArgument):
        await world.playbacks.file(playback_id, "ingest-1", name)
    await world.known(view_of(1))
    if playback_id == ID:
        with pytest.raises(InvalidArgument):
            await world.playbacks.store(ID, name, b"")


async def test_a_hinted_part_is_waited_for(world: World) -> None:
    own = world.directory / ID
    own.mkdir()
    await world.known(view_of(5, 1))
    task = asyncio.create_task(world.playbacks.file(ID, "ingest-1", "part-5-1.m4s"))
    while not world.playbacks.waiting:
        await asyncio.sleep(0)
    (own / "part-5-1.m4s").write_bytes(b"part")
    world.playbacks.show(ID, view_of(5, 2))
    file = await task
    assert file is not None
    file.close()


class Rows:
    """A database that counts how often it is asked for `row`."""

    def __init__(self, row: dict[str, Any] | None = None) -> None:
        self.asked = 0
        self.row = row
        self.away = False

    async def fetch(self, _query: str, *_arguments: object) -> list[Any]:
        self.asked += 1
        await asyncio.sleep(0)
        if self.away:
            raise ConnectionRefusedError
        return [] if self.row is None else [self.row]


async def test_a_row_is_read_once_a_second(world: World) -> None:
    rows: Any = Rows()
    await asyncio.gather(*(world.playbacks.row(rows, ID) for _ in range(50)))
    assert rows.asked == 1
    world.time += 1
    await world.playbacks.sweep()
    assert await world.playbacks.row(rows, ID) is None
    assert rows.asked == 2
    assert await world.playbacks.row(rows, "../" * 10) is None
    assert rows.asked == 2


async def test_a_stream_that_has_begun_is_found_at_once(world: World) -> None:
    before = {"playback_id": ID, "id": ID, "user_id": ID, "is_private": False, "is_recorded": False}
    before |= {"status": "draft", "ingest": None, "is_fed": False, "ended_at": None}
    rows: Any = Rows(before)
    for _ in range(2):
        found = await world.playbacks.row(rows, ID)
        assert found is not None
        assert found.ingest is None
    assert rows.asked == 1
    rows.row = before | {"status": "live", "ingest": "ingest-1", "is_fed": True}
    for wait, asked in ((0.2, 2), (0.2, 2), (1.0, 3)):
        world.time += wait
        found = await world.playbacks.row(rows, ID)
        assert found is not None
        assert (found.ingest, rows.asked) == ("ingest-1", asked)


async def test_while_the_database_is_away_what_was_known_is_good(world: World) -> None:
    row = {"playback_id": ID, "id": UUID(int=1), "user_id": UUID(int=2), "is_private": False, "status": "live"}
    rows: Any = Rows({**row, "ingest": "ingest-1", "is_fed": True, "is_recorded": False, "ended_at": None})
    known = await world.playbacks.row(rows, ID)
    assert known is not None
    rows.away = True
    world.time += 1
    await world.playbacks.sweep()
    assert await world.playbacks.row(rows, ID) == known
    assert rows.asked == 2
    # It is not asked for each player.
    assert await world.playbacks.row(rows, ID) == known
    assert rows.asked == 2
    with pytest.raises(ConnectionRefusedError):
        await world.playbacks.row(rows, OTHER)
    world.time += STALE_ROW_S
    with pytest.raises(ConnectionRefusedError):
        await world.playbacks.row(rows, ID)
