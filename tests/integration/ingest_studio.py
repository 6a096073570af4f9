"""Encoders, what they send, and a player of what is made of it."""

import asyncio
import io
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

import av
import imageio_ffmpeg
from av.container import InputContainer, OutputContainer
from system.waiting import within

from veza.actors.ingest.listener import Feed, Listener
from veza.actors.ingest.pipeline import Pipeline, Source
from veza.actors.tasks import TaskSet
from veza.errors import StreamNotFound
from veza.realtime.hls.view import PlaylistView
from veza.realtime.rtmp.events import Media

HOST = "127.0.0.1"
KEY = "key"
PLAYBACK = "playback"


@dataclass
class Seen:
    """What was told, with waiting for it; at each view all that it names is looked for on the disk."""

    directory: Path
    views: list[PlaylistView] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    ends: list[bool] = field(default_factory=list)
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    telling: set[asyncio.Task[None]] = field(default_factory=set)

    def view(self, playback_id: str, view: PlaylistView) -> None:
        assert playback_id == PLAYBACK
        for name in named(view):
            assert (self.directory / PLAYBACK / name).stat().st_size > 0, name
        self.views.append(view)
        self._tell()

    def file(self, playback_id: str, name: str, data: bytes) -> None:
        assert (self.directory / playback_id / name).read_bytes() == data
        self.files.append(name)

    def end(self, clean: bool) -> None:
        self.ends.append(clean)
        self._tell()

    def _tell(self) -> None:
        task = asyncio.get_running_loop().create_task(self._notify())
        self.telling.add(task)
        task.add_done_callback(self.telling.discard)

    async def _notify(self) -> None:
        async with self.changed:
            self.changed.notify_all()

    async def until(self, what: str, ask: Callable[[], bool]) -> None:
        async with within(30, what), self.changed:
            await self.changed.wait_for(ask)

    @property
    def last(self) -> PlaylistView:
        return self.views[-1]

    @property
    def segments(self) -> int:
        return self.last.plain.count(b"#EXTINF") if self.views else 0


def named(view: PlaylistView) -> set[str]:
    lines = (view.low_latency + view.plain).decode().splitlines()
    names = {line for line in lines if not line.startswith("#")}
    for line in lines:
        if line.startswith(("#EXT-X-PART:", "#EXT-X-MAP:")):
            names.add(line.partition('URI="')[2].partition('"')[0])
    return names


class Door:
    """A desk that lets everybody with the key into one pipeline."""

    def __init__(self, seen: Seen) -> None:
        self.pipeline: Pipeline | None = None
        self.admitted: list[UUID] = []
        self._seen = seen

    async def admit(self, key: str, source_id: UUID) -> Feed:
        if key != KEY or self.pipeline is None:
            raise StreamNotFound
        self.admitted.append(source_id)
        return self.pipeline.source(self._seen.end)


@dataclass
class Studio:
    directory: Path
    seen: Seen
    door: Door
    listener: Listener
    tasks: TaskSet

    def pipeline(self, first: int = 0) -> Pipeline:
        made = Pipeline(
            self.directory,
            PLAYBACK,
            on_view=self.seen.view,
            on_file=self.seen.file,
            tasks=self.tasks,
            uri="parts.m3u8",
            first=first,
        )
        self.door.pipeline = made
        return made


@asynccontextmanager
async def encoding(
    studio: Studio, *, seconds: float = 60, size: str = "320x180"
) -> AsyncIterator[asyncio.subprocess.Process]:
    """ffmpeg, which sends as fast as a stream goes; killed at the end if it is still there."""
    process = await asyncio.create_subprocess_exec(
        imageio_ffmpeg.get_ffmpeg_exe(),
        *("-hide_banner", "-loglevel", "error", "-re", "-f", "lavfi", "-i", f"testsrc=size={size}:rate=30"),
        *("-re", "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=44100", "-t", str(seconds)),
        *("-c:v", "libx264", "-preset", "ultrafast", "-g", "30", "-pix_fmt", "yuv420p", "-c:a", "aac"),
        *("-f", "flv", f"rtmp://{HOST}:{studio.listener.port}/live/{KEY}"),
        stdin=asyncio.subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGKILL)
        await process.wait()


@dataclass
class Played:
    pictures: int = 0
    sounds: int = 0
    sizes: set[tuple[int, int]] = field(default_factory=set)


def play(studio: Studio, name: str = "master.m3u8") -> Played:
    """What a player finds, beginning at a playlist that is laid beside the files."""
    directory = studio.directory / PLAYBACK
    view = studio.seen.last
    # A live playlist is played from its end, and waits for more.
    ended = view.plain if view.ended else view.plain + b"#EXT-X-ENDLIST\n"
    (directory / "parts.m3u8").write_bytes(ended)
    (directory / "master.m3u8").write_bytes(view.multivariant)
    with av.open(str(directory / name), options={"allowed_extensions": "ALL", "extension_picky": "0"}) as container:
        return decoded(container)


def play_each(studio: Studio) -> list[Played]:
    """The segments of each init by themselves."""
    directory = studio.directory / PLAYBACK
    groups: list[bytes] = []
    for line in studio.seen.last.plain.decode().splitlines():
        if line.startswith("#EXT-X-MAP"):
            groups.append((directory / line.split('"')[1]).read_bytes())
        elif not line.startswith("#"):
            groups[-1] += (directory / line).read_bytes()
    found = []
    for data in groups:
        with av.open(io.BytesIO(data)) as container:
            found.append(decoded(container))
    return found


def decoded(container: InputContainer | OutputContainer) -> Played:
    assert isinstance(container, InputContainer)
    found = Played()
    for frame in container.decode():
        if isinstance(frame, av.VideoFrame):
            found.pictures += 1
            found.sizes.add((frame.width, frame.height))
        else:
            found.sounds += 1
    return found


class Replay:
    """What ffmpeg sent once, for as many sources as are wanted, without waiting for it."""

    def __init__(self, events: list[Media]) -> None:
        self.events = events

    def run(self, feed: Source, *, shift_ms: int = 0) -> None:
        for event in self.events:
            feed.media(Media(event.kind, event.timestamp_ms + shift_ms, event.payload))


class Tape(Source):
    """A source that keeps what it hands over."""

    events: list[Media]

    def media(self, event: Media) -> None:
        self.events.append(event)
        super().media(event)


@dataclass
class Wire:
    """A line that was dropped, or resumed."""

    feed: Source
    dropped: list[str] = field(default_factory=list)
    resumed: int = 0

    def resume(self) -> None:
        self.resumed += 1

    def drop(self, reason: str) -> None:
        if not self.dropped:
            self.dropped.append(reason)
            self.feed.ended(False)


def wired(pipeline: Pipeline, seen: Seen) -> Wire:
    wire = Wire(pipeline.source(seen.end))
    wire.feed.opened(wire)
    return wire
