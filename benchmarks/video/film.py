"""A stream of two megabits a second, encoded once: what does not depend on who takes it is not measured with it."""

import subprocess
from pathlib import Path
from typing import NamedTuple

import imageio_ffmpeg

FPS = 30
KEY_S = 2
# So that as many whole frames of picture (480) as of sound (750 of 1,024 samples) fill it: it can be repeated.
SECONDS = 16
SIZE = "1280x720"
VIDEO_BITS, AUDIO_BITS = 1_872_000, 128_000
_ENCODING_S = 300.0


class Film(NamedTuple):
    path: Path
    bits_per_second: float


def ffmpeg() -> str:
    found: str = imageio_ffmpeg.get_ffmpeg_exe()
    return found


def ffmpeg_version() -> str:
    found: str = imageio_ffmpeg.get_ffmpeg_version()
    return found


def make_film(directory: Path) -> Film:
    """H.264 and AAC in FLV, as a streamer's encoder makes them: a constant rate, a key frame every two seconds."""
    path, rate = directory / "film.flv", str(VIDEO_BITS)
    # Noise, so that the rate is reached by what is in the picture.
    picture = f"testsrc2=size={SIZE}:rate={FPS},noise=alls=12:allf=t,format=yuv420p"
    subprocess.run(
        [
            *(ffmpeg(), "-hide_banner", "-loglevel", "error", "-y"),
            *("-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", "anoisesrc=sample_rate=48000:amplitude=0.3"),
            *("-t", str(SECONDS), "-c:v", "libx264", "-preset", "veryfast", "-profile:v", "high", "-bf", "2"),
            *("-b:v", rate, "-maxrate", rate, "-bufsize", rate, "-x264-params", "nal-hrd=cbr:scenecut=0"),
            *("-g", str(FPS * KEY_S), "-c:a", "aac", "-b:a", str(AUDIO_BITS), "-ac", "2"),
            *("-flvflags", "no_duration_filesize", "-f", "flv", path),
        ],
        check=True,
        timeout=_ENCODING_S,
        stdin=subprocess.DEVNULL,
    )
    return Film(path, path.stat().st_size * 8 / SECONDS)
