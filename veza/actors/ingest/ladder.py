"""A stream in several sizes: what its encoder sends, as it is, and renditions made of it, each a pipeline of its own.

A rendition goes on where the one before ended when its ffmpeg is started anew; the stream itself never waits for one.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence

from veza.actors.ingest.frames import TAKEN
from veza.actors.ingest.listener import Feed, Line
from veza.actors.ingest.pipeline import Pipeline, Source
from veza.actors.ingest.transcoder import CHANGED, Transcoder
from veza.actors.tasks import TaskSet
from veza.config import Rendition
from veza.errors import Unavailable
from veza.realtime.hls.view import LOW_LATENCY
from veza.realtime.rtmp.errors import RtmpError
from veza.realtime.rtmp.events import Media, MediaKind, Metadata
from veza.realtime.rtmp.tags import AudioConfig, VideoConfig, read_audio, read_video

log = logging.getLogger(__name__)

# After a transcoder has ended, twice as long after each next time; at once when the encoder's settings have changed.
AGAIN_S, MOST_AGAIN_S = 5.0, 300.0
# One that went on so long was well.
WELL_S = 60.0


class Ladder:
    """`begin(playback_id, uri)` makes a pipeline whose playlist with parts is at `uri` from the multivariant one.
    `program` is ffmpeg.
    """

    def __init__(
        self,
        playback_id: str,
        begin: Callable[[str, str], Pipeline],
        program: str,
        renditions: Sequence[Rendition],
        tasks: TaskSet,
    ) -> None:
        self.playback_id = playback_id
        self.main = begin(playback_id, LOW_LATENCY)
        self.renditions = {
            each: begin(rendition_id(playback_id, each.name), f"{each.name}/{LOW_LATENCY}") for each in renditions
        }
        self.program = program
        self.tasks = tasks

    def __iter__(self) -> Iterator[Pipeline]:
        yield self.main
        yield from self.renditions.values()

    def source(self, on_ended: Callable[[bool], None]) -> Feed:
        """As `Pipeline.source`."""
        source = self.main.source(on_ended)
        return _Split(self, source) if self.renditions else source

    async def end(self) -> None:
        await asyncio.gather(*(pipeline.end() for pipeline in self))

    async def close(self) -> None:
        await asyncio.gather(*(pipeline.close() for pipeline in self))

    async def remove(self) -> None:
        """Raises OSError."""
        await asyncio.gather(*(pipeline.remove() for pipeline in self))


class _Split:
    """A Feed that hands on what comes to the stream's own pipeline, and to a transcoder."""

    def __init__(self, ladder: Ladder, source: Source) -> None:
        self._ladder = ladder
        self._source = source
        self._configs: dict[MediaKind, Media] = {}
        self._transcoder: Transcoder | None = None
        self._made: dict[Rendition, Source] = {}
        self._unplaced: set[Rendition] = set()
        self._over = False
        self._again_s = AGAIN_S
        self._begun_at = 0.0

    # For the listener

    def opened(self, line: Line) -> None:
        self._source.opened(line)
        self._begin()

    def media(self, event: Media) -> None:
        self._source.media(event)
        if _configures(event):
            self._configs[event.kind] = event
        if self._transcoder is not None:
            self._transcoder.feed(event)

    def metadata(self, event: Metadata) -> None:
        self._source.metadata(event)

    def ended(self, clean: bool) -> None:
        self._over = True
        self._source.ended(clean)
        self._ladder.tasks.start(self._close(clean), f"renditions of {self._ladder.playback_id}")

    @property
    def full(self) -> bool:
        return self._source.full

    # Renditions

    def _begin(self) -> None:
        if self._over:
            return
        ladder = self._ladder
        try:
            self._made = {rendition: pipeline.source() for rendition, pipeline in ladder.renditions.items()}
        except Unavailable:
            return  # the stream has ended
        self._unplaced = set(self._made)
        self._begun_at = asyncio.get_running_loop().time()
        self._transcoder = Transcoder(ladder.program, list(self._made), self._take, self._stopped, ladder.tasks)
        for config in self._configs.values():
            self._transcoder.feed(config)

    def _take(self, rendition: Rendition, media: Media) -> None:
        source = self._made[rendition]
        if rendition in self._unplaced:
            self._unplaced.discard(rendition)
            self._ladder.renditions[rendition].follow(self._ladder.main)
        if not source.full:
            source.media(media)

    def _stopped(self, reason: str) -> None:
        log.warning("renditions stopped", extra={"playback": self._ladder.playback_id, "reason": reason})
        self._transcoder = None
        for source in self._made.values():
            source.ended(False)
        if reason == CHANGED:
            asyncio.get_running_loop().call_soon(self._begin)
        else:
            if asyncio.get_running_loop().time() - self._begun_at > WELL_S:
                self._again_s = AGAIN_S
            asyncio.get_running_loop().call_later(self._again_s, self._begin)
            self._again_s = min(2 * self._again_s, MOST_AGAIN_S)

    async def _close(self, clean: bool) -> None:
        if self._transcoder is not None:
            await self._transcoder.close()
        for source in self._made.values():
            source.ended(clean)


def rendition_id(playback_id: str, rendition: str) -> str:
    """Under which a rendition has its files, and gateways ask for it."""
    return f"{playback_id}-{rendition}"


def stream_of(playback_id: str) -> str:
    """The playback id of the stream, of a rendition's or its own."""
    return playback_id.partition("-")[0]


def _configures(event: Media) -> bool:
    try:
        if event.kind is MediaKind.VIDEO:
            return isinstance(read_video(event.payload, TAKEN), VideoConfig)
        return event.kind is MediaKind.AUDIO and isinstance(read_audio(event.payload, TAKEN), AudioConfig)
    except RtmpError:
        return False
