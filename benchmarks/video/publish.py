"""Publishes a file of FLV to many addresses in real time, again and again: encoders that cost next to nothing.

`python -m benchmarks.video.publish FILE SECONDS FIRSTS < ADDRESSES` reads one address a line, up to an empty line. The
file has a picture and sound, and ends where it can begin anew after SECONDS. Streams begin spread evenly over FIRSTS
seconds. It says `publishing`; then, a line each time, `stats` asks how late it was and what servers have not taken, and
`end` ends all streams as an encoder does.

Every frame is a write of its own, as an encoder's is, and what is written is made once.
"""

import asyncio
import heapq
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import uvloop

from benchmarks.video.flv import AUDIO, SCRIPT, VIDEO, Reader, Tag
from benchmarks.video.rtmp import Publisher, following, publish

# How late a frame may be that shares a turn with others: with thousands a second, a turn for each would cost a core.
TURN_S = 0.004
AT_ONCE = 8


class Piece(NamedTuple):
    at: float  # seconds from the beginning of the file
    chunks: bytes


class Film(NamedTuple):
    """What comes first, and what is repeated."""

    head: list[Tag]
    pieces: list[Piece]
    seconds: float


def read_film(path: Path, seconds: float) -> Film:
    tags = list(Reader().feed(path.read_bytes()))
    head = [tag for tag in tags if tag.kind == SCRIPT or tag.configures]
    pieces: list[Piece] = []
    for kind in (VIDEO, AUDIO):
        frames = [tag for tag in tags if tag.kind == kind and not tag.configures]
        # An encoder of sound may give one frame more than the file is long; times are rounded to milliseconds.
        frames = [tag for tag in frames if tag.timestamp - frames[0].timestamp < seconds * 1000 - 1]
        before = frames[-1].timestamp - round(seconds * 1000)
        for tag in frames:
            pieces.append(Piece(tag.timestamp / 1000, following(tag, tag.timestamp - before)))
            before = tag.timestamp
    return Film(head, sorted(pieces, key=lambda piece: piece.at), seconds)


class Sender:
    """All of the streams."""

    def __init__(self, film: Film, publishers: Sequence[Publisher], firsts: float) -> None:
        self._film = film
        self._publishers = publishers
        self._loop = asyncio.get_running_loop()
        self._latest = 0.0
        self._late: list[float] = []  # the latest of each turn
        begins, count = self._loop.time() + 0.1, len(publishers)
        # When the next piece is due, whose it is, which, and when the file began.
        self._due = [
            (begins + firsts * number / count, number, 0, begins + firsts * number / count) for number in range(count)
        ]

    async def run(self) -> None:
        for publisher in self._publishers:
            for tag in self._film.head:
                publisher.send(tag._replace(timestamp=0))
        while True:
            now = self._loop.time()
            if self._due[0][0] <= now:
                self._late.append(now - self._due[0][0])
            while self._due[0][0] <= now:
                self._send_next()
            await asyncio.sleep(max(self._due[0][0] - now, TURN_S))

    def _send_next(self) -> None:
        _, number, place, began = self._due[0]
        if not self._publishers[number].lost:
            self._publishers[number].write(self._film.pieces[place].chunks)
        place += 1
        if place == len(self._film.pieces):
            place, began = 0, began + self._film.seconds
        heapq.heapreplace(self._due, (began + self._film.pieces[place].at, number, place, began))

    def stats(self) -> dict[str, Any]:
        """Since it was last asked."""
        late, self._late = sorted(self._late), []
        return {
            "late_ms": 1000 * late[-1] if late else 0.0,
            "late_ms_p99": 1000 * late[int(0.99 * len(late))] if late else 0.0,
            "unsent_bytes": max((each.unsent for each in self._publishers if not each.lost), default=0),
            "lost": sum(each.lost for each in self._publishers),
        }


async def main(path: Path, seconds: float, firsts: float, urls: Sequence[str]) -> None:
    film = read_film(path, seconds)
    publishers: list[Publisher] = []
    for start in range(0, len(urls), AT_ONCE):
        publishers += await asyncio.gather(*(publish(url) for url in urls[start : start + AT_ONCE]))
    sender = Sender(film, publishers, firsts)
    running = asyncio.create_task(sender.run())
    _say({"publishing": len(publishers)})
    while (command := (await asyncio.to_thread(sys.stdin.readline)).strip()) not in ("", "end"):
        if running.done():
            running.result()
        _say(sender.stats() if command == "stats" else {"unknown": command})
    running.cancel()
    await asyncio.gather(*(publisher.end() for publisher in publishers))
    _say({"ended": True})


def _say(words: dict[str, Any]) -> None:
    print(json.dumps(words), flush=True)


if __name__ == "__main__":
    addresses = list(iter(lambda: sys.stdin.readline().strip(), ""))
    uvloop.run(main(Path(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3]), addresses))
