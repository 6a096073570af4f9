"""From what encoders send of one live stream to what players read of it."""

import asyncio
import dataclasses
import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from veza.actors.ingest.frames import FrameReader, Unusable
from veza.actors.ingest.listener import Line
from veza.actors.ingest.recorder import Batch, Recorder, Written
from veza.actors.tasks import TaskSet
from veza.errors import Unavailable
from veza.realtime.hls.fragments import Cuts, Fragmenter, Frame, Output, Part
from veza.realtime.hls.health import WINDOW_S, Health, Report
from veza.realtime.hls.view import PlaylistView
from veza.realtime.rtmp.events import Media, Metadata

log = logging.getLogger(__name__)

# Parts that wait to be written: half a minute of a good stream, and what thousands of slow disks' streams may not have.
QUEUE_BYTES = 8 * 2**20

Clock = Callable[[], float]


class Source:
    """The Feed of one encoder's connection."""

    def __init__(self, pipeline: "Pipeline", on_ended: Callable[[bool], None] | None) -> None:
        self.reader = FrameReader()
        self._pipeline = pipeline
        self._on_ended = on_ended
        self._line: Line | None = None

    def opened(self, line: Line) -> None:
        self._line = line
        if self._pipeline.stopped:
            line.drop("the stream has ended")

    def media(self, event: Media) -> None:
        self._pipeline.took(self, event)

    def metadata(self, event: Metadata) -> None:
        self.reader.metadata(event.values)

    def ended(self, clean: bool) -> None:
        self._line = None
        self._pipeline.lost(self)
        if self._on_ended is not None:
            self._on_ended(clean)

    @property
    def full(self) -> bool:
        return self._pipeline.is_full_for(self)

    # For the pipeline

    def resume(self) -> None:
        if self._line is not None:
            self._line.resume()

    def drop(self, reason: str) -> None:
        if self._line is not None:
            self._line.drop(reason)


class Pipeline:
    """One stream, whose encoder may come and go: what returns goes on behind a discontinuity.

    Files are in `directory/<playback_id>/`; where there is a state of another process's, it goes on from that, and
    tells the view of it at once. `on_view` and `on_file` are called with the playback id, from the event loop, and a
    file, or a view, only when all it names can be read. Several parts may come with one view when the disk is slow.

    A file that cannot be written ends the source; the next one begins behind what could be.
    """

    def __init__(
        self,
        directory: Path,
        playback_id: str,
        *,
        on_view: Callable[[str, PlaylistView], None],
        on_file: Callable[[str, str, bytes], None] | None = None,
        tasks: TaskSet,
        cuts: Cuts | None = None,
        uri: str = "live.m3u8",
        queue_bytes: int = QUEUE_BYTES,
        first: int = 0,
        clock: Clock = time.monotonic,
        wall: Clock = time.time,
    ) -> None:
        """`uri` is that of the playlist with parts, from the multivariant one. Numbers begin with `first` where nothing
        is there. Raises OSError when a state is there and cannot be read.
        """
        self.playback_id = playback_id
        self._on_view, self._on_file = on_view, on_file
        self._cuts = cuts or Cuts()
        self._queue_bytes = queue_bytes
        self._clock, self._wall = clock, wall
        tells_files = on_file is not None
        self._recorder = Recorder(directory / playback_id, self._cuts, uri, tells_files=tells_files, first=first)
        self._fragmenter = self._begin()
        self._health = Health()
        self._trouble: dict[str, tuple[float, str]] = {}  # by kind of media: when, and what
        self._source: Source | None = None
        self._waiting: list[Batch] = []
        self._size = 0  # of what waits, and of what is being written
        self._more = asyncio.Event()
        self._stopping = False
        if self._recorder.resumed:
            self._more.set()  # nothing waits, but there is a view
        self._worker = tasks.start(self._write(), f"recording {playback_id}")

    def source(self, on_ended: Callable[[bool], None] | None = None) -> Source:
        """A Feed for a new connection; what an earlier one sends is ignored from now on. `on_ended` is told once
        whether it ended cleanly. Raises Unavailable when the stream has ended.
        """
        if self._stopping:
            raise Unavailable("The stream has ended.")
        self._break()
        self._source = Source(self, on_ended)
        return self._source

    def keep(self, directory: Path | None) -> None:
        """Put the segments to come aside there, to be recorded; None: not any more."""
        self._recorder.kept = directory

    def follow(self, other: "Pipeline") -> None:
        """Before the first frame of a source, whose times are those of the other's source: show them at the same time,
        so that a player can go from one to the other.
        """
        offset_ms = other._fragmenter.offset_ms
        if offset_ms is not None:
            self._fragmenter.follow(offset_ms)

    @property
    def fed(self) -> bool:
        """Whether it has a source."""
        return self._source is not None

    def report(self) -> Report:
        """How well the encoder sends."""
        now = self._clock()
        report = self._health.report(now)
        trouble = [text for at, text in self._trouble.values() if now - at < WINDOW_S]
        return dataclasses.replace(report, warnings=(*trouble, *report.warnings)) if trouble else report

    async def end(self) -> None:
        """For good: shows all there is and tells the last view, if there is any. The files stay."""
        await self.close()
        self._tell(await asyncio.to_thread(self._recorder.end))

    async def close(self) -> None:
        """Stops, so that another Pipeline can go on; returns when all is written."""
        source = self._source
        self._break()
        self._stopping = True
        self._more.set()
        if source is not None:
            source.drop("the stream has ended")
        await asyncio.wait((self._worker,))

    async def remove(self) -> None:
        """Stops, and deletes the files. Raises OSError."""
        await self.close()
        await asyncio.to_thread(self._recorder.remove)

    # For sources

    @property
    def stopped(self) -> bool:
        return self._stopping

    def took(self, source: Source, event: Media) -> None:
        if source is not self._source:
            return
        try:
            found = source.reader.read(event)
        except Unusable as error:
            self._trouble[event.kind] = (self._clock(), f"Some of the {event.kind} is left out: {error.reason}.")
            return
        if found is None:
            return
        if isinstance(found, Frame):
            self._health.took(found.video, found.dts_ms, found.key, len(found.data), self._clock())
            outputs = self._fragmenter.feed(found)
            if outputs:
                self._put(outputs)
        else:
            self._fragmenter.configure(found)

    def lost(self, source: Source) -> None:
        if source is self._source:
            self._break()

    def is_full_for(self, source: Source) -> bool:
        return self._size > self._queue_bytes and source is self._source

    def _begin(self) -> Fragmenter:
        recorder = self._recorder
        return Fragmenter(
            self._cuts, sequence=recorder.next_sequence, init=recorder.next_init, target_s=recorder.target_s
        )

    def _break(self) -> None:
        """What the source has sent is shown to its end, and what follows is of another one."""
        source, self._source = self._source, None
        if source is not None:
            source.resume()  # what it still sends is passed over, and its end is seen
        self._health.broke()
        self._trouble.clear()
        outputs = self._fragmenter.broke()
        if outputs:
            self._put(outputs)

    # Writing

    def _put(self, outputs: Sequence[Output]) -> None:
        size = sum(len(output.data) for output in outputs if isinstance(output, Part))
        self._waiting.append(Batch(outputs, self._wall(), size))
        self._size += size
        self._more.set()

    async def _write(self) -> None:
        """The one who writes, so that files come in order."""
        try:
            while not self._stopping or self._waiting:
                await self._more.wait()
                self._more.clear()
                batches, self._waiting = self._waiting, []
                if batches or not self._stopping:
                    await self._write_batches(batches)
        finally:
            # However it came to its end: without it a source would fill the queue and wait for ever.
            self._stopping = True
            if self._source is not None:
                self._source.drop("its recording has ended")

    async def _write_batches(self, batches: list[Batch]) -> None:
        try:
            written = await asyncio.to_thread(self._recorder.write, batches)
        except OSError as error:
            self._failed(error)
            return
        self._size -= sum(batch.size for batch in batches)
        self._tell(written)
        # Not at once when a little is written: a source that is stopped for each part would stutter.
        if self._source is not None and self._size <= self._queue_bytes // 2:
            self._source.resume()

    def _tell(self, written: Written) -> None:
        if self._on_file is not None:
            for name, data in written.files:
                self._on_file(self.playback_id, name, data)
        if written.view is not None:
            self._on_view(self.playback_id, written.view)

    def _failed(self, error: OSError) -> None:
        """What waits is of no use, for it goes on from what was not written."""
        log.error("stream cannot be written", extra={"playback": self.playback_id, "reason": str(error)})
        source, self._source = self._source, None
        self._recorder.recover()
        self._fragmenter = self._begin()
        self._health.broke()
        self._waiting.clear()
        self._size = 0
        if source is not None:
            source.drop("it cannot be written")
