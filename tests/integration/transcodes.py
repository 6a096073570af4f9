"""What a real encoder sends in one go, and what comes out of a transcoder."""

import io
import subprocess
from dataclasses import dataclass, field

import av
import imageio_ffmpeg
from system.waiting import until

from veza.config import Rendition
from veza.realtime.rtmp import flv
from veza.realtime.rtmp.events import Media, MediaKind
from veza.realtime.rtmp.tags import VideoFrame, read_video

FFMPEG = imageio_ffmpeg.get_ffmpeg_exe()


def encoded(*told: str) -> list[Media]:
    """Four seconds of a test picture with B-frames, which come in another order than they are shown, and a tone."""
    command = [FFMPEG, "-hide_banner", "-loglevel", "error", "-f", "lavfi", "-i", "testsrc=size=640x360:rate=30"]
    command += ["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=44100", "-t", "4", "-c:v", "libx264"]
    command += ["-preset", "ultrafast", "-bf", "2", "-g", "30", "-pix_fmt", "yuv420p", "-c:a", "aac", *told]
    made = subprocess.run([*command, "-f", "flv", "pipe:1"], stdout=subprocess.PIPE, check=True, timeout=60)
    return [media for media in flv.Reader().feed(made.stdout) if media.kind is not MediaKind.SCRIPT]


@dataclass
class Made:
    """What came out."""

    media: dict[Rendition, list[Media]] = field(default_factory=dict)
    ends: list[str] = field(default_factory=list)

    def take(self, rendition: Rendition, media: Media) -> None:
        self.media.setdefault(rendition, []).append(media)

    async def end(self) -> str:
        async def ended() -> bool:
            return bool(self.ends)

        await until(ended, "the end of the transcoder", 30)
        return self.ends[0]

    async def pictures(self, rendition: Rendition, count: int) -> None:
        async def there() -> bool:
            return self.ends != [] or len(shown(self.media.get(rendition, []))) >= count

        await until(there, f"{count} pictures", 30)


def shown(media: list[Media], *, only_keys: bool = False) -> list[int]:
    """When pictures are shown, in that order."""
    found = []
    for event in media:
        frame = read_video(event.payload) if event.kind is MediaKind.VIDEO else None
        if isinstance(frame, VideoFrame) and (frame.key or not only_keys):
            found.append(event.timestamp_ms + frame.pts_offset)
    return sorted(found)


def sound(media: list[Media]) -> list[Media]:
    return [event for event in media if event.kind is MediaKind.AUDIO]


def sizes(media: list[Media]) -> dict[tuple[int, int], int]:
    """How many pictures of each size can be decoded."""
    found: dict[tuple[int, int], int] = {}
    with av.open(io.BytesIO(flv.header() + b"".join(map(flv.tag, media))), format="flv") as container:
        for frame in container.decode(video=0):
            found[frame.width, frame.height] = found.get((frame.width, frame.height), 0) + 1
    return found


def later(media: list[Media], ms: int) -> list[Media]:
    return [Media(event.kind, event.timestamp_ms + ms, event.payload) for event in media]
