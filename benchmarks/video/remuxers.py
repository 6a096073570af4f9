"""Who else makes HTTP Live Streaming of what comes by RTMP, and how long each needs for it."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import psutil

from benchmarks.support.processes import end, tree
from benchmarks.support.system import free_port
from benchmarks.video.film import ffmpeg

SEGMENT_S = 2
SEGMENTS = 6
START_S = 30.0
# Debian puts it where ordinary users do not look.
_PATHS = f"{os.environ['PATH']}:/usr/sbin"


class Remuxer:
    """Something that listens: an address for each stream, the playlist that comes of it, and its processes."""

    def __init__(self, urls: Sequence[str], playlists: Sequence[Path], pids: Sequence[int]) -> None:
        self.urls = urls
        self._playlists = playlists
        self._pids = pids

    def processes(self) -> list[psutil.Process]:
        return [process for pid in self._pids for process in tree(pid)]

    def playlists(self) -> list[str]:
        """As they are now; empty where there is none yet."""
        return [path.read_text() if path.exists() else "" for path in self._playlists]


@contextmanager
def ffmpeg_remuxers(directory: Path, count: int) -> Iterator[Remuxer]:
    """A process for each stream: it takes one publisher, and ends with it."""
    with ExitStack() as stack:
        urls, paths, started = [], [], []
        for number in range(count):
            home = directory / str(number)
            home.mkdir(parents=True)
            urls.append(f"rtmp://127.0.0.1:{free_port()}/live/s{number}")
            paths.append(home / "index.m3u8")
            started.append(_start(stack, _ffmpeg_words(urls[-1], paths[-1]), directory))
            _wait_for_port(started[-1])
        yield Remuxer(urls, paths, [process.pid for process in started])


def _ffmpeg_words(url: str, playlist: Path) -> list[str]:
    return [
        *(ffmpeg(), "-hide_banner", "-loglevel", "error", "-nostdin", "-listen", "1", "-i", url, "-c", "copy"),
        *("-f", "hls", "-hls_time", str(SEGMENT_S), "-hls_list_size", str(SEGMENTS), "-hls_flags", "delete_segments"),
        *("-hls_segment_type", "fmp4", str(playlist)),
    ]


class Nginx(NamedTuple):
    program: str
    module: Path


def find_nginx() -> Nginx | None:
    """If it and its module for RTMP are installed."""
    program = shutil.which("nginx", path=_PATHS)
    if program is None:
        return None
    module = Path(program).parents[1] / "lib/nginx/modules/ngx_rtmp_module.so"
    return Nginx(program, module) if module.exists() else None


@contextmanager
def nginx_remuxer(nginx: Nginx, directory: Path, count: int) -> Iterator[Remuxer]:
    """One process for all, as ours; its segments are of MPEG-TS."""
    port, configuration = free_port(), directory / "nginx.conf"
    # One process: what a master does beside that is nothing to streams.
    configuration.write_text(
        f"""
load_module {nginx.module};
daemon off;
master_process off;
pid {directory}/pid;
error_log {directory}/error.log;
events {{ worker_connections 1024; }}
rtmp {{
    access_log off;
    server {{
        listen 127.0.0.1:{port};
        chunk_size 4096;
        application live {{
            live on;
            hls on;
            hls_path {directory};
            hls_fragment {SEGMENT_S}s;
            hls_playlist_length {SEGMENT_S * SEGMENTS}s;
        }}
    }}
}}
"""
    )
    with ExitStack() as stack:
        words = [nginx.program, "-p", str(directory), "-e", str(directory / "error.log"), "-c", str(configuration)]
        process = _start(stack, words, directory)
        _wait_for_port(process)
        names = [f"s{number}" for number in range(count)]
        urls = [f"rtmp://127.0.0.1:{port}/live/{name}" for name in names]
        yield Remuxer(urls, [directory / f"{name}.m3u8" for name in names], [process.pid])


@contextmanager
def file_server(directory: Path) -> Iterator[str]:
    """Python's own, with kept connections; its address."""
    port = free_port()
    words = [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1", "--protocol", "HTTP/1.1"]
    with ExitStack() as stack:
        process = _start(stack, [*words, "--directory", str(directory)], directory)
        _wait_for_port(process)
        yield f"http://127.0.0.1:{port}"


def _start(stack: ExitStack, words: Sequence[str], directory: Path) -> "subprocess.Popen[bytes]":
    log = stack.enter_context((directory / "log").open("ab"))
    process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=directory)
    stack.callback(end, process)
    return process


def _wait_for_port(process: "subprocess.Popen[bytes]") -> None:
    """Until it listens: to connect would be to publish."""
    deadline = time.monotonic() + START_S
    while process.poll() is None and time.monotonic() < deadline:
        if any(each.status == psutil.CONN_LISTEN for each in psutil.Process(process.pid).net_connections("tcp")):
            return
        time.sleep(0.02)
    raise RuntimeError(f"{process.args!r} does not listen")
