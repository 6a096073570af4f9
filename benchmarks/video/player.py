"""A player that reads the clock in the picture: `python -m benchmarks.video.player KIND ADDRESS`.

KIND is `parts` or `segments`, ADDRESS that of the playlist. Each line it reads is for how many seconds to play; it
joins, plays in real time, leaves, and says what it saw. A picture counts when it is due, not when it is decoded.
"""

import itertools
import json
import queue
import statistics
import sys
import threading
import time
from typing import Any, NamedTuple

import av
import numpy as np

from benchmarks.video import clock_picture
from benchmarks.video.loading import Loader, PartLoader, SegmentLoader

# Pictures that are decoded ahead.
_AHEAD = 8
# A picture that comes this much too late is shown at once; one that is later makes all that follow as late.
_STALL_S = 0.05


class Shown(NamedTuple):
    """A picture: its place, in seconds from the first that was loaded, when it was drawn, in seconds since 1970."""

    at: float
    drawn: float


class Pipe:
    """What a loader writes is what the decoder reads, as a file that cannot be sought in."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._changed = threading.Condition()
        self._closed = False

    def write(self, data: bytes) -> None:
        with self._changed:
            self._data += data
            self._changed.notify()

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify()

    def read(self, size: int) -> bytes:
        with self._changed:
            self._changed.wait_for(lambda: self._data or self._closed)
            found = bytes(self._data[:size])
            del self._data[:size]
            return found


class Session:
    """From the joining to the leaving."""

    def __init__(self, kind: type[Loader], url: str) -> None:
        self._pipe = Pipe()
        self._loader = kind(url, self._pipe.write)
        self._decoded: queue.Queue[Shown | None] = queue.Queue(_AHEAD)
        self._leaving = False
        self._failure: Exception | None = None
        self._pictures: list[Shown] = []
        self._latencies: list[float] = []
        self._stalls: list[float] = []

    def play(self, seconds: float) -> dict[str, Any]:
        threads = [threading.Thread(target=self._run, args=(work,)) for work in (self._load, self._decode)]
        joined = time.time()
        for thread in threads:
            thread.start()
        try:
            self._show(seconds)
        finally:
            self._leaving = True
            self._loader.stopped.set()
            self._pipe.close()
            while any(thread.is_alive() for thread in threads):
                # Whoever waits for room in the queue goes on, and sees that it is over.
                self._drain()
                time.sleep(0.01)
            self._loader.close()
        if self._failure is not None:
            raise self._failure
        return {
            "joined": joined,
            "latency_ms": [round(1000 * each, 1) for each in self._latencies],
            "held_back_s": round(self._loader.held_back, 3),
            "told_ms": [round(1000 * each, 1) for each in self._told_after()],
            "stalls_ms": [round(1000 * each) for each in self._stalls],
        }

    def _run(self, work: Any) -> None:
        try:
            work()
        except Exception as error:
            if not self._leaving:
                self._failure = error
                self._decoded.put(None)

    def _load(self) -> None:
        self._loader.run()

    def _decode(self) -> None:
        first: float | None = None
        with av.open(self._pipe, "r", format="mp4") as container:
            video = container.streams.video[0]
            # Threads would hold back as many pictures.
            video.codec_context.thread_count = 1
            for frame in container.decode(video):
                if self._leaving or frame.time is None:
                    return
                first = frame.time if first is None else first
                plane = frame.planes[0]
                luma = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)[:, : frame.width]
                drawn = clock_picture.read(luma)
                if drawn is None:
                    raise ValueError("a picture without a clock")
                self._decoded.put(Shown(frame.time - first, drawn / 1000))
        self._decoded.put(None)

    def _show(self, seconds: float) -> None:
        begin: float | None = None  # when what was loaded first would have been shown
        end = float("inf")
        while time.time() < end:
            shown = self._decoded.get()
            if shown is None:
                return
            self._pictures.append(shown)
            if shown.at < self._loader.skip:
                continue
            now = time.time()
            if begin is None:
                begin, end = now - shown.at, now + seconds
            elif now - begin - shown.at > _STALL_S:
                self._stalls.append(now - begin - shown.at)
                begin = now - shown.at
            time.sleep(max(begin + shown.at - time.time(), 0.0))
            self._latencies.append(time.time() - shown.drawn)

    def _drain(self) -> None:
        while True:
            try:
                shown = self._decoded.get_nowait()
            except queue.Empty:
                return
            if shown is not None:
                self._pictures.append(shown)

    def _told_after(self) -> list[float]:
        """From the drawing of the last picture of each piece until the player heard that there is such a piece. Most
        pieces are still to be shown when it leaves: pictures are drawn at a steady pace, which tells when theirs were.
        """
        offset = statistics.median(picture.drawn - picture.at for picture in self._pictures)
        step = statistics.median(later.at - one.at for one, later in itertools.pairwise(self._pictures))
        return [told.at - (offset + told.end - step) for told in self._loader.told]


def main(kind: str, url: str) -> None:
    loaders: dict[str, type[Loader]] = {"parts": PartLoader, "segments": SegmentLoader}
    print(json.dumps({"ready": kind}), flush=True)
    for line in iter(sys.stdin.readline, ""):
        print(json.dumps(Session(loaders[kind], url).play(float(line))), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
