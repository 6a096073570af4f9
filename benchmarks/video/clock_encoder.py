"""An encoder whose picture is a clock: `python -m benchmarks.video.clock_encoder KEY_SECONDS ADDRESS...`.

Each picture has the time at which it was drawn, which is when it is due. It is encoded at once (x264, `zerolatency`,
filled up to two megabits a second) and sent to all addresses, as one stream of RTMP each. Says `publishing`; `stats`
asks how long pictures took from the drawing until their last byte was given to the kernel, and `end` ends all streams.
"""

import asyncio
import json
import math
import sys
import time
from collections import deque
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import av
import numpy as np
from av.video.frame import PictureType

from benchmarks.video import clock_picture, flv
from benchmarks.video.rtmp import Publisher, publish

WIDTH, HEIGHT, FPS = 1280, 720, 30
SAMPLE_RATE, SAMPLES = 48_000, 1024
BITS = 2_000_000
# A picture that is so late is left out, as a camera would.
_LATE_S = 1 / FPS
# Sound is made ahead of the picture by this: the encoder of sound has a frame in hand, and the file takes a picture
# only when it has the sound after it.
_AHEAD = 4 * SAMPLES


class Sink:
    """A file that is written to: its tags go to all publishers at once. `took` is filled with how long pictures did."""

    def __init__(self, publishers: Sequence[Publisher]) -> None:
        self._publishers = publishers
        self._reader = flv.Reader()
        self.drawn: deque[float] = deque()  # when, of those that are not sent
        self.took: list[float] = []

    def write(self, data: bytes) -> int:
        for tag in self._reader.feed(data):
            for publisher in self._publishers:
                publisher.send(tag)
            if tag.kind == flv.VIDEO and not tag.configures and self.drawn:
                self.took.append(time.time() - self.drawn.popleft())
        return len(data)


class Encoder:
    def __init__(self, key_s: float, publishers: Sequence[Publisher]) -> None:
        self.sink = Sink(publishers)
        options = {"flvflags": "no_duration_filesize", "flush_packets": "1"}
        self._file = av.open(self.sink, "w", format="flv", options=options)
        self._video = self._file.add_stream("libx264", rate=FPS)
        self._video.width, self._video.height, self._video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        self._video.bit_rate = BITS
        self._video.codec_context.gop_size = 100 * FPS
        self._video.codec_context.thread_count = 1
        # Key frames come by the clock, also when pictures are left out: they are where segments begin.
        self._key_every, self._keyed = round(FPS * key_s), -1
        keys = {"forced-idr": "1", "x264-params": "scenecut=0"}
        rate = {"maxrate": str(BITS), "bufsize": str(BITS // 2), "nal-hrd": "cbr"}
        self._video.codec_context.options = {"preset": "superfast", "tune": "zerolatency", **keys, **rate}
        self._audio = self._file.add_stream("aac", rate=SAMPLE_RATE)
        self._audio.bit_rate = 128_000
        self._picture = clock_picture.picture(WIDTH, HEIGHT)
        self._samples = 0
        self.left_out = 0

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        begins, number = loop.time(), 0
        while True:
            due = begins + number / FPS
            if loop.time() - due > _LATE_S:
                self.left_out += 1
            else:
                await asyncio.sleep(max(due - loop.time(), 0))
                self._show(number)
            number += 1

    def _show(self, number: int) -> None:
        now = time.time()
        self.sink.drawn.append(now)
        clock_picture.draw(self._picture, int(now * 1000), number)
        while (self._samples - _AHEAD) * FPS < number * SAMPLE_RATE:
            self._sound()
        frame = av.VideoFrame.from_ndarray(self._picture, format="yuv420p")
        frame.pts, frame.time_base = number, Fraction(1, FPS)
        if number // self._key_every > self._keyed:
            self._keyed = number // self._key_every
            frame.pict_type = PictureType.I
        self._file.mux(self._video.encode(frame))

    def _sound(self) -> None:
        angles = np.arange(self._samples, self._samples + SAMPLES) * (2 * math.pi * 440 / SAMPLE_RATE)
        tone = np.stack([np.sin(angles)] * 2).astype(np.float32) * np.float32(0.1)
        frame = av.AudioFrame.from_ndarray(tone, format="fltp", layout="stereo")
        frame.sample_rate, frame.pts, frame.time_base = SAMPLE_RATE, self._samples, Fraction(1, SAMPLE_RATE)
        self._samples += SAMPLES
        self._file.mux(self._audio.encode(frame))


async def main(key_s: float, urls: Sequence[str]) -> None:
    publishers = [await publish(url) for url in urls]
    encoder = Encoder(key_s, publishers)
    running = asyncio.create_task(encoder.run())
    _say({"publishing": len(publishers)})
    while (command := (await asyncio.to_thread(sys.stdin.readline)).strip()) not in ("", "end"):
        if running.done():
            running.result()
        took, encoder.sink.took = encoder.sink.took, []
        found = {"took_ms": [round(1000 * each, 2) for each in took], "left_out": encoder.left_out}
        lost = sum(publisher.lost for publisher in publishers)
        _say({**found, "lost": lost} if command == "stats" else {"unknown": command})
    running.cancel()
    for publisher in publishers:
        await publisher.end()
    _say({"ended": True})


def _say(words: dict[str, Any]) -> None:
    print(json.dumps(words), flush=True)


if __name__ == "__main__":
    asyncio.run(main(float(sys.argv[1]), sys.argv[2:]))
