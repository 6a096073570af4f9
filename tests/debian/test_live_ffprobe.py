"""Debian's ffmpeg publishes, Debian's ffprobe plays: the pictures and the sound are those that were pushed."""

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from conftest import program
from system.encoder import encoding, key_of, shown, stop
from system.people import People
from system.running import Running

pytestmark = pytest.mark.debian


@pytest.fixture
async def platform() -> AsyncIterator[Running]:
    async with Running({}) as running:
        yield running


def probe(ffprobe: Path, url: str) -> dict[str, Any]:
    """What there is, and how many pictures of the next two seconds can be decoded."""
    done = subprocess.run(
        [ffprobe, *["-v", "error", "-count_frames", "-read_intervals", "%+2", "-show_streams", "-of", "json"], url],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    streams = json.loads(done.stdout)["streams"]
    return {stream["codec_type"]: stream for stream in streams}


@pytest.mark.parametrize("name", ["index.m3u8", "plain.m3u8"])
async def test_ffprobe_finds_what_ffmpeg_pushed(platform: Running, name: str) -> None:
    ada = await People(platform).register()
    stream = await ada.call("POST", "live/streams", json={"title": "Aria"})
    url = f"{platform.url}{stream['playback_url']}".replace("index.m3u8", name)
    async with encoding(platform, await key_of(ada), size="640x360", program=str(program("ffmpeg"))) as encoder:
        await shown(platform, stream, "#EXTINF", times=2)
        found = await asyncio.to_thread(probe, program("ffprobe"), url)
        await stop(encoder)
    video, audio = found["video"], found["audio"]
    assert (video["codec_name"], video["width"], video["height"]) == ("h264", 640, 360)
    assert int(video["nb_read_frames"]) >= 30
    assert video["r_frame_rate"] == "30/1"
    assert (audio["codec_name"], audio["sample_rate"]) == ("aac", "44100")
    assert int(audio["nb_read_frames"]) >= 40
