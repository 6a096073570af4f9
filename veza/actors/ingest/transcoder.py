"""Renditions of one live stream: smaller pictures, made by an ffmpeg of its own while the stream comes."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from veza.actors.ingest.ffmpeg import END_S, Ffmpeg
from veza.actors.ingest.frames import TAKEN
from veza.actors.tasks import TaskSet
from veza.config import Rendition
from veza.errors import StartupError
from veza.realtime.rtmp import flv
from veza.realtime.rtmp.errors import RtmpError
from veza.realtime.rtmp.events import Media, MediaKind
from veza.realtime.rtmp.tags import AudioConfig, AudioFrame, VideoConfig, VideoFrame, read_audio, read_video

log = logging.getLogger(__name__)

WAITING_BYTES: Final = 8 * 2**20
PATIENCE_S: Final = 10.0
TOO_SLOW: Final = "it is too slow"
CHANGED: Final = "the configuration of the stream has changed"

# What ffmpeg is told to be the time of the first frame: pictures may be shown before they are decoded.
_START_MS = 1000
# FLV as ffmpeg writes it has 31 bits of time.
_END_MS = 0x7FFF_FFFF
_READ_BYTES = 65_536
# What has ended may leave something in its pipes; what it has left behind, and keeps them open, is not waited for.
_LAST_WORDS_S = 0.5
# A damaged stream may be complained about at every frame.
_LOGGED_LINES, _LINE_CHARACTERS = 20, 300


class Transcoder:
    """Is fed what a source sends, and hands on what becomes of it.

    Whoever begins one in the middle of a stream feeds it first the latest configuration of the picture and of the
    sound, and then all that comes. It begins by itself with the first key frame, and starts ffmpeg then. What
    configurations say has to stay the same: when it changes, or sound is configured only later, the transcoder ends,
    and its owner may make another. So it does for another source, whose time stamps have nothing to do with these.

    `on_media` has configurations before frames; time stamps (ms) are those of the source, to the millisecond, and
    pictures come in the order they are shown in. `on_ended` is told once why there will be no more, after all media,
    when that is not by `close`, or with the tasks. Both are called from the event loop and must not raise.
    """

    def __init__(
        self,
        program: str,
        renditions: Sequence[Rendition],
        on_media: Callable[[Rendition, Media], None],
        on_ended: Callable[[str], None],
        tasks: TaskSet,
        *,
        patience_s: float = PATIENCE_S,
        waiting_bytes: int = WAITING_BYTES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`waiting_bytes` may wait for ffmpeg; of more, all up to the next key frame is dropped. It is too slow when
        something has waited for `patience_s` seconds, or when it has not caught up so long after something was dropped.
        """
        self.dropped = 0  # tags
        self._program, self._renditions = program, tuple(renditions)
        self._on_media, self._on_ended = on_media, on_ended
        self._tasks = tasks
        self._patience_s, self._waiting_bytes = patience_s, waiting_bytes
        self._clock = clock
        self._configs: dict[MediaKind, tuple[VideoConfig | AudioConfig, bytes]] = {}  # and the payload that said so
        self._base_ms: int | None = None  # what is 0 to ffmpeg; None: it has not begun
        self._waiting: deque[tuple[float, bytes]] = deque()  # since when
        self._size = 0
        self._more = asyncio.Event()
        self._dropping = False
        self._behind_since: float | None = None
        self._ending = asyncio.Event()
        self._reason: str | None = None  # why we end it; None while it is for ffmpeg to say
        self._end_s = END_S
        self._closed = False
        self._last_line = ""
        self._ffmpeg: Ffmpeg | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """Of ffmpeg, while it runs."""
        return self._ffmpeg.pid if self._ffmpeg is not None else None

    @property
    def waiting(self) -> int:
        """Bytes that wait for ffmpeg."""
        return self._size

    def feed(self, event: Media) -> None:
        """It never waits. What is of no use is passed over: other codecs, script data, anything after the end."""
        if self._ending.is_set() or event.kind is MediaKind.SCRIPT:
            return
        video = event.kind is MediaKind.VIDEO
        try:
            found = read_video(event.payload, TAKEN) if video else read_audio(event.payload, TAKEN)
        except RtmpError:
            return
        if isinstance(found, VideoConfig | AudioConfig):
            self._configure(event, found)
        elif found is not None:
            self._take(event, found)

    async def close(self) -> None:
        """Ends it within two seconds; what was fed still comes in that time, if ffmpeg is fast enough."""
        self._closed = True
        self._end("it was closed")
        if self._task is not None:
            await asyncio.wait((self._task,))

    # Feeding

    def _configure(self, event: Media, config: VideoConfig | AudioConfig) -> None:
        known = self._configs.get(event.kind)
        if known is not None and known[0] == config:
            return  # some encoders repeat it before each key frame
        if self._base_ms is not None:
            self._end(CHANGED)
        self._configs[event.kind] = (config, event.payload)

    def _take(self, event: Media, frame: VideoFrame | AudioFrame) -> None:
        config = self._configs.get(event.kind)
        if config is None or config[0].codec is not frame.codec:
            return
        key = isinstance(frame, VideoFrame) and frame.key
        if self._base_ms is None:
            if not key:
                return
            self._base_ms = event.timestamp_ms - _START_MS
            self._begin()
        at = event.timestamp_ms - self._base_ms
        if at > _END_MS:
            self._end("its time stamps are used up")
        elif at >= _START_MS:  # sound from before the first picture would be refused
            self._put(flv.tag(Media(event.kind, at, event.payload)), key)

    def _begin(self) -> None:
        start = [flv.header(audio=MediaKind.AUDIO in self._configs)]
        start += [flv.tag(Media(kind, _START_MS, payload)) for kind, (_, payload) in self._configs.items()]
        self._append(b"".join(start), self._clock())
        self._task = self._tasks.start(self._run(), "transcoding")

    def _put(self, data: bytes, key: bool) -> None:
        now = self._clock()
        if self._is_late(now):
            self._end(TOO_SLOW, end_s=0)
            return
        # Not at once when a little was taken: it would drop again within the next pictures.
        if self._dropping and key and self._size <= self._waiting_bytes // 2:
            self._dropping = False
        if not self._dropping and self._size + len(data) > self._waiting_bytes:
            self._dropping = True
            if self._behind_since is None:
                self._behind_since = now
                log.warning("transcoder is behind", extra={"ffmpeg": self.pid, "waiting": self._size})
        if self._dropping:
            self.dropped += 1
        else:
            self._append(data, now)

    def _is_late(self, now: float) -> bool:
        starts = [self._waiting[0][0]] if self._waiting else []
        if self._behind_since is not None:
            starts.append(self._behind_since)
        return any(now - since > self._patience_s for since in starts)

    def _append(self, data: bytes, now: float) -> None:
        self._waiting.append((now, data))
        self._size += len(data)
        self._more.set()

    def _end(self, reason: str, *, end_s: float = END_S) -> None:
        """The first reason counts; ffmpeg may take so many seconds for what it has."""
        if not self._ending.is_set():
            self._reason, self._end_s = reason, end_s
            self._ending.set()
            self._more.set()

    # ffmpeg

    async def _run(self) -> None:
        try:
            reason = await self._transcode()
        finally:
            self._ending.set()
            self._waiting.clear()
            self._size = 0
        if not self._closed:
            self._on_ended(reason)

    async def _transcode(self) -> str:
        """Why it ended."""
        try:
            self._ffmpeg = ffmpeg = await Ffmpeg.start(self._program, self._renditions)
        except (OSError, StartupError) as error:
            return f"it could not be started: {error}"
        try:
            async with asyncio.TaskGroup() as group:
                outputs = zip(self._renditions, ffmpeg.outputs, strict=True)
                reading = [group.create_task(self._read(*output)) for output in outputs]
                reading.append(group.create_task(self._listen(ffmpeg.errors)))
                writing = group.create_task(self._write(ffmpeg.input))
                noticing = group.create_task(self._notice(ffmpeg))
                await self._ending.wait()
                status = await ffmpeg.stop(self._end_s)
                await asyncio.wait(reading, timeout=_LAST_WORDS_S)
                for task in (*reading, writing, noticing):
                    task.cancel()
        finally:
            self._ffmpeg = None
            await ffmpeg.kill()
        return self._reason or self._explained(status)

    async def _notice(self, ffmpeg: Ffmpeg) -> None:
        await ffmpeg.wait()
        self._ending.set()

    async def _write(self, pipe: asyncio.StreamWriter) -> None:
        """What is being written still counts as waiting, for all of it may stay in the pipe's buffer."""
        try:
            while self._waiting or not self._ending.is_set():
                if not self._waiting:
                    self._behind_since = None
                    self._more.clear()
                    await self._more.wait()
                    continue
                data = self._waiting[0][1]
                pipe.write(data)
                await pipe.drain()
                self._waiting.popleft()
                self._size -= len(data)
            pipe.close()
            await pipe.wait_closed()
        except (BrokenPipeError, ConnectionResetError):
            pass  # it has ended, which is noticed

    async def _read(self, rendition: Rendition, stream: asyncio.StreamReader) -> None:
        reader = flv.Reader()
        try:
            while data := await stream.read(_READ_BYTES):
                for media in reader.feed(data):
                    self._hand_on(rendition, media)
        except RtmpError as error:
            self._end(f"what it makes cannot be read: {error.reason}", end_s=0)

    def _hand_on(self, rendition: Rendition, media: Media) -> None:
        if media.kind is not MediaKind.SCRIPT and self._base_ms is not None:
            self._on_media(rendition, Media(media.kind, self._base_ms + media.timestamp_ms, media.payload))

    async def _listen(self, errors: asyncio.StreamReader) -> None:
        """To its complaints, of which the last may say why it ended."""
        logged, rest = 0, b""
        while data := await errors.read(_READ_BYTES):
            *lines, rest = (rest + data).split(b"\n")
            rest = rest[: 4 * _LINE_CHARACTERS]
            for line in lines:
                logged += self._complain(line, logged < _LOGGED_LINES)
        self._complain(rest, logged < _LOGGED_LINES)

    def _complain(self, line: bytes, to_log: bool) -> bool:
        text = line.decode(errors="replace").strip()[:_LINE_CHARACTERS]
        if not text:
            return False
        self._last_line = "".join(letter if letter.isprintable() else "?" for letter in text)
        if to_log:
            log.warning("ffmpeg complains", extra={"ffmpeg": self.pid, "reason": self._last_line})
        return True

    def _explained(self, status: int) -> str:
        if status < 0:
            return f"it was ended by signal {-status}"
        return self._last_line or f"it ended with status {status}"
