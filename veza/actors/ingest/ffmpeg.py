"""The program that makes renditions: what it is told, how it is started, and that it ends."""

import asyncio
import contextlib
import os
import shutil
import signal
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Final

from veza.config import Rendition
from veza.errors import StartupError
from veza.storage.embedded.process import LAUNCHER

# How much less it is worth than who chats: at the same load it gets a third of what others get.
NICENESS: Final = 5
# It ends by itself when its input does; what does not is asked to, and then killed.
END_S: Final = 1.0
# 4096 × 2160, and a little more.
MOST_PIXELS: Final = 8_912_896
TERMINATE_S: Final = 0.3
# Nothing else of our environment is its business, least of all the secrets: it reads what strangers send.
ENVIRONMENT: Final = ("PATH", "LD_LIBRARY_PATH")


def find(program: str) -> str:
    """Its path. Raises StartupError when it is not there."""
    found = shutil.which(program)
    if found is None:
        raise StartupError(
            f"FFMPEG: there is no program {program!r}; install ffmpeg, name it there, or leave LIVE_RENDITIONS empty."
        )
    return os.path.abspath(found)


def arguments(renditions: Sequence[Rendition], outputs: Sequence[int]) -> list[str]:
    """What ffmpeg is told: FLV on its standard input, and as FLV to the descriptor of each rendition.

    It decodes once, and scales each picture from the next larger one, which costs less than from the largest. Time
    stamps stay as they are, and each key frame of the source is one of each rendition, so that all can be cut at the
    same places and players change between them (RFC 8216bis, 6.2.4).
    """
    told = ["-hide_banner", "-nostdin", "-nostats", "-loglevel", "error", "-copyts"]
    # It begins with the first frame; `-fflags nobuffer` would begin with the second. Threads that share one picture
    # keep none back, as those that have a picture each do.
    told += ["-probesize", "32", "-analyzeduration", "0", "-thread_type", "slice"]
    # What a stranger sends may claim a picture that takes all memory.
    told += ["-max_pixels", str(MOST_PIXELS)]
    told += ["-protocol_whitelist", "pipe", "-f", "flv", "-i", "pipe:0", "-filter_complex", _scaled(renditions)]
    for index, (rendition, output) in enumerate(zip(renditions, outputs, strict=True)):
        bps = str(rendition.video_bps)
        told += ["-map", f"[v{index}]", "-map", "0:a:0?", "-c:a", "copy", "-c:v", "libx264"]
        # Rates are of time, and not of frames at a rate that is only guessed; it takes one frame more to know it.
        told += ["-x264-params", "force-cfr=0"]
        told += ["-preset", "veryfast", "-tune", "zerolatency", "-b:v", bps, "-maxrate", bps, "-bufsize", bps]
        told += ["-force_key_frames", "source", "-g", "100000", "-sc_threshold", "0"]
        # Milliseconds, as FLV has them: the default counts frames of a rate that is only guessed.
        told += ["-fps_mode:v", "passthrough", "-enc_time_base:v", "1:1000"]
        told += ["-avoid_negative_ts", "disabled", "-max_interleave_delta", "500000", "-flush_packets", "1"]
        told += ["-f", "flv", "-flvflags", "no_duration_filesize", f"pipe:{output}"]
    return told


def _scaled(renditions: Sequence[Rendition]) -> str:
    """The filters; what the largest height needs is done first."""
    order = sorted(range(len(renditions)), key=lambda index: -renditions[index].height)
    source, chain = "[0:v:0]", []
    for place, index in enumerate(order):
        # 4:2:0 has whole numbers of pairs of lines; a source that is smaller is not made larger.
        scale = f"scale=w=-2:h=trunc(min({renditions[index].height}\\,ih)/2)*2,format=yuv420p"
        if place == len(order) - 1:
            chain.append(f"{source}{scale}[v{index}]")
        else:
            chain.append(f"{source}{scale},split=2[v{index}][s{place}]")
            source = f"[s{place}]"
    return ";".join(chain)


class Ffmpeg:
    """One that runs. Read all of `outputs`, in the order of the renditions, and `errors`, or it stands still.

    It does not outlive us: the kernel kills it when the thread that started it ends, which is the event loop's.
    """

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        outputs: Sequence[asyncio.StreamReader],
        errors: asyncio.StreamReader,
        pipes: ExitStack,
    ) -> None:
        if process.stdin is None:
            raise RuntimeError("ffmpeg was started without a pipe to write to")
        self.input: asyncio.StreamWriter = process.stdin
        self.outputs, self.errors = outputs, errors
        self._process = process
        self._pipes = pipes

    @classmethod
    async def start(cls, program: str, renditions: Sequence[Rendition]) -> "Ffmpeg":
        """`program` is what FFMPEG names. Raises StartupError when it is not there, OSError when it does not start."""
        path = find(program)
        with ExitStack() as ends, ExitStack() as pipes:  # the ends that are its, and those that are ours
            readers = [await _pipe(ends, pipes) for _ in range(len(renditions) + 1)]
            descriptors = [descriptor for _, descriptor in readers]
            launcher = ["-I", "-S", str(LAUNCHER), str(os.getpid()), str(int(signal.SIGKILL)), "-1", "-1"]
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, *launcher, path, *arguments(renditions, descriptors[1:])),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=descriptors[0],
                pass_fds=descriptors[1:],
                # In our session: where the kernel shares time between sessions first, niceness counts within one only.
                env={name: os.environ[name] for name in ENVIRONMENT if name in os.environ},
            )
            # Threads have the niceness of who makes them, and it makes none that matter before it has read something.
            with contextlib.suppress(ProcessLookupError):  # it has ended already, which `wait` tells
                os.setpriority(os.PRIO_PROCESS, process.pid, min(os.getpriority(os.PRIO_PROCESS, 0) + NICENESS, 19))
            streams = [stream for stream, _ in readers]
            return cls(process, streams[1:], streams[0], pipes.pop_all())

    @property
    def pid(self) -> int:
        return self._process.pid

    async def wait(self) -> int:
        """Until it has ended: its status, or the negative number of the signal that ended it."""
        return await self._process.wait()

    async def stop(self, end_s: float = END_S) -> int:
        """Let it end by itself for so many seconds, for its input was closed; then make it. As `wait`."""
        for number, seconds in ((signal.SIGTERM, end_s), (signal.SIGKILL, TERMINATE_S)):
            try:
                async with asyncio.timeout(seconds):
                    return await self.wait()
            except TimeoutError:
                self._signal(number)
        return await self.wait()

    async def kill(self) -> None:
        """At once, if it still runs; nothing can be read of it any more."""
        self._signal(signal.SIGKILL)
        self._pipes.close()
        await self.wait()

    def _signal(self, number: signal.Signals) -> None:
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)


async def _pipe(ends: ExitStack, pipes: ExitStack) -> tuple[asyncio.StreamReader, int]:
    """A pipe's end for us, and the one for a child."""
    reader, writer = os.pipe()
    ends.callback(os.close, writer)
    stream = asyncio.StreamReader()
    # The transport closes the file; uvloop would close the same descriptor twice, and perhaps another's, if we did.
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(stream), os.fdopen(reader, "rb", buffering=0)
    )
    pipes.callback(transport.close)
    return stream, writer
