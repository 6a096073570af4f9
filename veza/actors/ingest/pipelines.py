"""The streams whose files are on this node: begun with their first source, removed some time after they have ended."""

import asyncio
import logging
import shutil
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import msgspec

from veza.actors.ingest.ladder import Ladder, stream_of
from veza.actors.ingest.listener import Feed
from veza.actors.ingest.pipeline import Pipeline
from veza.actors.tasks import TaskSet
from veza.config import Rendition
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
# A playback id has no fewer characters.
ID_CHARS = 22


class _Entry:
    def __init__(self, ladder: Ladder) -> None:
        self.ladder = ladder
        self.views: dict[str, PlaylistView] = {}
        self.remove_at: float | None = None  # set when it is to end
        self.ended = False


class PipelineSettings(msgspec.Struct, frozen=True):
    """`recordings` is where what is to be recorded is put aside. `program` is the ffmpeg that makes `renditions`."""

    directory: Path
    recordings: Path
    renditions: tuple[Rendition, ...] = ()
    program: str = "ffmpeg"


class Pipelines:
    """`on_view(playback_id, view)` and `on_file(playback_id, name, data)` as `Pipeline` calls them; `on_gone` when
    the files of one are removed. With `tells_files` there is somebody to whom they must be sent.
    """

    def __init__(
        self,
        name: str,
        settings: PipelineSettings,
        pool: Any,
        tasks: TaskSet,
        *,
        on_view: Callable[[str, PlaylistView], None],
        on_file: Callable[[str, str, bytes], None],
        on_gone: Callable[[str], None],
        tells_files: bool = False,
    ) -> None:
        self._name = name
        self._settings = settings
        self.directory = settings.directory
        self._pool = pool
        self._tasks = tasks
        self._on_view = on_view
        self._on_file = on_file if tells_files else None
        self._on_gone = on_gone
        self._entries: dict[str, _Entry] = {}
        self._doubtful = asyncio.Event()
        self._swept_at = 0.0
        self._closed = False

    def __len__(self) -> int:
        return len(self._entries)

    def feed(self, published: Published, on_ended: Callable[[bool], None]) -> Feed:
        """For a source; `on_ended` as of `Pipeline.source`. Raises OSError, and Unavailable once closed."""
        if self._closed:
            raise Unavailable("This server is going away.")
        playback_id = published.playback_id
        entry = self._entries.get(playback_id)
        if entry is None or entry.ladder.main.stopped:
            entry = self._entries[playback_id] = _Entry(self._begin(playback_id, _first_number(published.live_s)))
        entry.remove_at = None
        self._keep(playback_id, entry, is_recorded=published.is_recorded)
        return entry.ladder.source(on_ended)

    def _keep(self, playback_id: str, entry: _Entry, *, is_recorded: bool) -> None:
        entry.ladder.main.keep(self._settings.recordings / playback_id if is_recorded else None)

    def more_comes(self, playback_id: str) -> bool:
        """Whether something of this stream may still be put aside."""
        entry = self._entries.get(playback_id)
        return entry is not None and not entry.ended

    def _begin(self, playback_id: str, first: int = 0) -> Ladder:
        def pipeline(own_id: str, uri: str) -> Pipeline:
            return Pipeline(
                self.directory,
                own_id,
                on_view=self._viewed,
                on_file=self._on_file,
                tasks=self._tasks,
                uri=uri,
                first=first,
            )

        settings = self._settings
        return Ladder(playback_id, pipeline, settings.program, settings.renditions, self._tasks)

    def _viewed(self, playback_id: str, view: PlaylistView) -> None:
        stream = stream_of(playback_id)
        entry = self._entries.get(stream)
        if entry is not None:
            entry.views[playback_id] = view
            self._on_view(playback_id, _with_all(view, entry) if playback_id == stream else view)

    def has(self, playback_id: str) -> bool:
        """Of a stream, or of a rendition."""
        entry = self._entries.get(stream_of(playback_id))
        return entry is not None and any(playback_id == pipeline.playback_id for pipeline in entry.ladder)

    def view(self, playback_id: str) -> PlaylistView | None:
        """The newest, of a stream or of a rendition."""
        entry = self._entries.get(stream_of(playback_id))
        found = None if entry is None else entry.views.get(playback_id)
        if entry is None or found is None or playback_id != entry.ladder.playback_id:
            return found
        return _with_all(found, entry)

    def report(self, playback_id: str) -> Report | None:
        """How well the stream's encoder sends; None where it sends nothing here."""
        entry = self._entries.get(playback_id)
        return None if entry is None or not entry.ladder.main.fed else entry.ladder.main.report()

    # -- what became of them ---------------------------------------------------------------------------------

    async def adopt(self, others: Collection[str]) -> None:
        """Go on with what an Ingest left behind here, for its encoders may return; not with what one of the `others`
        has by now, living nodes by their keys. Raises FAILURES.
        """
        there = await asyncio.to_thread(self._directories)
        found = await playbacks.adopt(self._pool, there, self._name, others)
        for playback_id, is_recorded in found.items():
            entry = self._entries[playback_id] = _Entry(self._begin(playback_id))
            self._keep(playback_id, entry, is_recorded=is_recorded)

    def _directories(self) -> list[str]:
        self.directory.mkdir(parents=True, exist_ok=True)
        found = (path.name for path in self.directory.iterdir() if path.is_dir())
        # What gateways keep there has a shorter name than any stream.
        return [name for name in found if len(name) >= ID_CHARS]

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
        going_on = [each for each, entry in self._entries.items() if entry.remove_at is None]
        if going_on:
            rows = await playbacks.find_all(self._pool, going_on)
            for playback_id in going_on:
                await self._judge(playback_id, rows.get(playback_id))
        if now - self._swept_at > SWEEP_S:
            self._swept_at = now
            await self._sweep()

    async def _judge(self, playback_id: str, row: Playback | None) -> None:
        entry = self._entries.get(playback_id)
        if entry is None or entry.ladder.main.fed:
            if entry is not None and row is not None:
                # Its owner may say so at any time.
                self._keep(playback_id, entry, is_recorded=row.is_recorded)
            return
        if row is None:
            await self._remove(playback_id)
        elif row.status not in ON_AIR:
            entry.remove_at = asyncio.get_running_loop().time() + LINGER_S
            await entry.ladder.end()
            entry.ended = True
        elif row.ingest != self._name and row.is_fed:
            # Its encoder came back to another Ingest, which tells players from now on.
            await self._remove(playback_id)

    async def _remove(self, playback_id: str) -> None:
        entry = self._entries[playback_id]
        try:
            await entry.ladder.remove()
        except OSError as error:
            # The next sweep tries it again.
            log.warning("files not removed", extra={"playback": playback_id, "reason": str(error)})
        if self._entries.get(playback_id) is entry:
            del self._entries[playback_id]
            for pipeline in entry.ladder:
                self._on_gone(pipeline.playback_id)

    async def _sweep(self) -> None:
        """Directories of streams that have ended long ago."""
        there = await asyncio.to_thread(self._directories)
        others = {stream_of(each) for each in there} - self._entries.keys()
        if not others:
            return
        kept = await playbacks.still_played(self._pool, others)
        for playback_id in there:
            if stream_of(playback_id) in others - kept - self._entries.keys():
                await asyncio.to_thread(_delete, self.directory / playback_id)

    async def close(self) -> None:
        """Stop, so that another Ingest can go on; returns when all is written."""
        self._closed = True
        await asyncio.gather(*(entry.ladder.close() for entry in self._entries.values()))


def _first_number(live_s: float) -> int:
    """Of the segments and inits of a stream that began elsewhere: above all that were made there, for caches keep what
    has a name, and players never go back. Segments are at least two seconds long, but for those that are cut off.
    """
    return 2 * int(live_s)


def _with_all(view: PlaylistView, entry: _Entry) -> PlaylistView:
    """With all renditions that there are in the multivariant playlist."""
    # Of one that stands still while the stream goes on nobody is told.
    fed = entry.ladder.main.fed
    ids = [each.playback_id for each in entry.ladder.renditions.values() if each.fed or not fed]
    others = [found.multivariant for each in ids if (found := entry.views.get(each)) is not None and found.has_begun]
    if not others:
        return view
    variants = b"".join(other[other.index(b"#EXT-X-STREAM-INF") :] for other in others)
    return msgspec.structs.replace(view, multivariant=view.multivariant + variants)


def _delete(directory: Path) -> None:
    try:
        shutil.rmtree(directory)
    except FileNotFoundError:
        pass  # somebody else was faster
    except OSError as error:
        log.warning("files not removed", extra={"directory": directory, "reason": str(error)})
