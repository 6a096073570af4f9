"""The streams whose files are on this node: begun with their first source, removed some time after they have ended."""

import asyncio
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from veza.actors.ingest.pipeline import Pipeline
from veza.actors.nodes import node_key
from veza.actors.tasks import TaskSet
from veza.errors import Unavailable
from veza.realtime.hls.health import Report
from veza.realtime.hls.view import PlaylistView
from veza.realtime.stream_commands import Published
from veza.realtime.streams.life import ON_AIR
from veza.storage import playbacks
from veza.storage.database import FAILURES
from veza.storage.playbacks import Playback

log = logging.getLogger(__name__)

# Of one that has no source: whether it has ended. Sooner when there is a reason to look.
LOOK_S = 1.0
# Longer than players read the rest of an ended stream.
LINGER_S = 90.0
# Directories that nobody has: of an Ingest that is gone.
SWEEP_S = 30.0


class _Entry:
    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        self.view: PlaylistView | None = None
        self.remove_at: float | None = None  # set when it is to end
        self.ended = False


class Pipelines:
    """`on_view(playback_id, view)` and `on_file(playback_id, name, data)` as `Pipeline` calls them; `on_gone` when
    the files of one are removed. With `tells_files` there is somebody to whom they must be sent.
    """

    def __init__(
        self,
        name: str,
        directory: Path,
        pool: Any,
        tasks: TaskSet,
        *,
        on_view: Callable[[str, PlaylistView], None],
        on_file: Callable[[str, str, bytes], None],
        on_gone: Callable[[str], None],
        tells_files: bool = False,
        recordings: Path | None = None,
    ) -> None:
        """`recordings` is where what is to be recorded is put aside."""
        self._name = name
        self.directory = directory
        self._pool = pool
        self._tasks = tasks
        self._on_view = on_view
        self._on_file = on_file if tells_files else None
        self._on_gone = on_gone
        self._recordings = recordings
        self._entries: dict[str, _Entry] = {}
        self._doubtful = asyncio.Event()
        self._swept_at = 0.0
        self._closed = False

    def __len__(self) -> int:
        return len(self._entries)

    def open(self, published: Published) -> Pipeline:
        """The stream's, made when there is none. Raises OSError, and Unavailable once closed."""
        if self._closed:
            raise Unavailable("This server is going away.")
        playback_id = published.playback_id
        entry = self._entries.get(playback_id)
        if entry is None or entry.pipeline.stopped:
            entry = self._entries[playback_id] = _Entry(self._begin(playback_id, _first_number(published.live_s)))
        entry.remove_at = None
        self._keep(playback_id, entry, is_recorded=published.is_recorded)
        return entry.pipeline

    def _keep(self, playback_id: str, entry: _Entry, *, is_recorded: bool) -> None:
        place = self._recordings / playback_id if is_recorded and self._recordings is not None else None
        entry.pipeline.keep(place)

    def more_comes(self, playback_id: str) -> bool:
        """Whether something of this stream may still be put aside."""
        entry = self._entries.get(playback_id)
        return entry is not None and not entry.ended

    def _begin(self, playback_id: str, first: int = 0) -> Pipeline:
        return Pipeline(
            self.directory,
            playback_id,
            on_view=self._viewed,
            on_file=self._on_file,
            tasks=self._tasks,
            first=first,
        )

    def _viewed(self, playback_id: str, view: PlaylistView) -> None:
        entry = self._entries.get(playback_id)
        if entry is not None:
            entry.view = view
            self._on_view(playback_id, view)

    def has(self, playback_id: str) -> bool:
        return playback_id in self._entries

    def view(self, playback_id: str) -> PlaylistView | None:
        """The newest."""
        entry = self._entries.get(playback_id)
        return None if entry is None else entry.view

    def report(self, playback_id: str) -> Report | None:
        """How well the stream's encoder sends; None where it sends nothing here."""
        entry = self._entries.get(playback_id)
        return None if entry is None or not entry.pipeline.fed else entry.pipeline.report()

    # -- what became of them ---------------------------------------------------------------------------------

    async def adopt(self) -> None:
        """Go on with what an Ingest of this node left behind, for its encoders may return. Raises FAILURES."""
        there = await asyncio.to_thread(self._directories)
        found = await playbacks.adopt(self._pool, there, self._name, node_key(self._name))
        for playback_id, is_recorded in found.items():
            entry = self._entries[playback_id] = _Entry(self._begin(playback_id))
            self._keep(playback_id, entry, is_recorded=is_recorded)

    def _directories(self) -> list[str]:
        self.directory.mkdir(parents=True, exist_ok=True)
        return [path.name for path in self.directory.iterdir() if path.is_dir()]

    def look(self) -> None:
        """One may have ended."""
        self._doubtful.set()

    async def watch_forever(self) -> None:
        """End those whose stream has, and remove what is of no use any more."""
        while True:
            try:
                async with asyncio.timeout(LOOK_S):
                    await self._doubtful.wait()
            except TimeoutError:
                pass
            self._doubtful.clear()
            try:
                await self._look()
            except FAILURES as error:
                log.warning("streams not looked after", extra={"reason": type(error).__name__})
                await asyncio.sleep(LOOK_S)

    async def _look(self) -> None:
        now = asyncio.get_running_loop().time()
        for playback_id, entry in list(self._entries.items()):
            if entry.remove_at is not None and now > entry.remove_at:
                await self._remove(playback_id)
        doubtful = [each for each, entry in self._entries.items() if entry.remove_at is None and not entry.pipeline.fed]
        if doubtful:
            rows = await playbacks.find_all(self._pool, doubtful)
            for playback_id in doubtful:
                await self._judge(playback_id, rows.get(playback_id))
        if now - self._swept_at > SWEEP_S:
            self._swept_at = now
            await self._sweep()

    async def _judge(self, playback_id: str, row: Playback | None) -> None:
        entry = self._entries.get(playback_id)
        if entry is None or entry.pipeline.fed:
            return
        if row is None:
            await self._remove(playback_id)
        elif row.status not in ON_AIR:
            entry.remove_at = asyncio.get_running_loop().time() + LINGER_S
            await entry.pipeline.end()
            entry.ended = True
        elif row.ingest != self._name and row.is_fed:
            # Its encoder came back to another Ingest, which tells players from now on.
            await self._remove(playback_id)

    async def _remove(self, playback_id: str) -> None:
        entry = self._entries[playback_id]
        await entry.pipeline.remove()
        if self._entries.get(playback_id) is entry:
            del self._entries[playback_id]
            self._on_gone(playback_id)

    async def _sweep(self) -> None:
        """Directories of streams that have ended long ago."""
        there = set(await asyncio.to_thread(self._directories)) - self._entries.keys()
        if not there:
            return
        kept = await playbacks.still_played(self._pool, there)
        for playback_id in there - kept:
            if playback_id not in self._entries:
                await asyncio.to_thread(shutil.rmtree, self.directory / playback_id)

    async def close(self) -> None:
        """Stop, so that another Ingest can go on; returns when all is written."""
        self._closed = True
        await asyncio.gather(*(entry.pipeline.close() for entry in self._entries.values()))


def _first_number(live_s: float) -> int:
    """Of the segments and inits of a stream that began elsewhere: above all that were made there, for caches keep what
    has a name, and players never go back. Segments are at least two seconds long, but for those that are cut off.
    """
    return 2 * int(live_s)
