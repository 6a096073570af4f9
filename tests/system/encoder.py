"""Real encoders that publish to a running platform, and a player of what it serves."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import av
import imageio_ffmpeg

from system.people import Person
from system.running import Running
from system.waiting import until


@asynccontextmanager
async def encoding(
    system: Running,
    key: str,
    *,
    size: str = "320x180",
    seconds: float = 120,
    key_interval: int = 30,
    program: str | None = None,
) -> AsyncIterator[asyncio.subprocess.Process]:
    """ffmpeg sends a test picture and a tone, in real time; killed at the end if it is still there."""
    process = await asyncio.create_subprocess_exec(
        program or imageio_ffmpeg.get_ffmpeg_exe(),
        *("-hide_banner", "-loglevel", "error", "-re", "-f", "lavfi", "-i", f"testsrc=size={size}:rate=30"),
        *("-re", "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=44100", "-t", str(seconds)),
        *("-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-g", str(key_interval)),
        *("-pix_fmt", "yuv420p", "-c:a", "aac"),
        *("-f", "flv", f"rtmp://127.0.0.1:{system.rtmp_port}/live/{key}"),
        stdin=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGKILL)
        await process.wait()


async def stop(process: asyncio.subprocess.Process) -> None:
    """As a streamer does: the encoder says that it ends."""
    process.send_signal(signal.SIGINT)
    await asyncio.wait_for(process.wait(), 10)


def pull_the_cable(process: asyncio.subprocess.Process) -> None:
    """Nothing comes any more, and nothing says so but the end of the connection."""
    process.send_signal(signal.SIGKILL)


async def key_of(person: Person) -> str:
    key: str = (await person.call("GET", "live/streams/me/key"))["stream_key"]
    return key


async def playlist(system: Running, stream: dict[str, Any], name: str = "plain.m3u8") -> str | None:
    """As it is now; None while there is none."""
    url = stream["playback_url"].replace("index.m3u8", name)
    answer = await system.http.get(f"{system.url}{url}")
    return answer.text if answer.status_code == 200 else None


async def shown(system: Running, stream: dict[str, Any], what: str, *, times: int = 1, seconds: float = 10) -> str:
    """The plain playlist as soon as it has this text so often."""

    async def ask() -> str | None:
        found = await playlist(system, stream)
        return found if found is not None and found.count(what) >= times else None

    found = await until(ask, f"{what} in the playlist", seconds)
    assert found is not None
    return found


@dataclass
class Played:
    pictures: int = 0
    sounds: int = 0
    sizes: set[tuple[int, int]] = field(default_factory=set)
    codecs: set[str] = field(default_factory=set)


def play(url: str, pictures: int) -> Played:
    """What a player decodes of a playlist, until it has so many pictures. It blocks."""
    found = Played()
    with av.open(url, timeout=20) as container:
        found.codecs = {stream.codec_context.name for stream in container.streams if stream.type in ("video", "audio")}
        for frame in container.decode():
            if isinstance(frame, av.VideoFrame):
                found.pictures += 1
                found.sizes.add((frame.width, frame.height))
            else:
                found.sounds += 1
            if found.pictures >= pictures and found.sounds:
                return found
    return found


def moments(url: str) -> dict[int, bytes]:
    """The pictures of a playlist that has ended, tiny and grey, by when they are shown (in hundredths of a second)."""
    with av.open(url, timeout=20) as container:
        frames = [frame for frame in container.decode(video=0) if frame.pts is not None and frame.time is not None]
    return {round(frame.time * 100): bytes(frame.reformat(32, 18, "gray").planes[0]) for frame in frames}
