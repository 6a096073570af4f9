"""How a player comes by a live stream: with parts, or in whole segments.

What follows is of HTTP Live Streaming, 2nd Edition (draft-pantos-hls-rfc8216bis, here RFC 8216bis), and holds for
RFC 8216 where that has it.
"""

import http.client
import threading
import time
from collections.abc import Callable
from typing import NamedTuple
from urllib.parse import urlsplit

from benchmarks.video.playlist import Piece, Playlist, read

# RFC 8216bis, 6.3.3: without a word of the server's, nothing is played that begins later than this before the end.
_TARGETS_BEHIND = 3
# Blocking reloads are answered within three target durations, or not at all (6.2.5.2).
_PATIENCE_S = 30.0

Feed = Callable[[bytes], None]


class Told(NamedTuple):
    """A piece that came while it was played: where it ends, from the first that was loaded; when it was heard of."""

    end: float
    at: float


class Loader:
    """Loads until it is stopped. `skip` seconds of what it loads first are not to be shown."""

    def __init__(self, url: str, feed: Feed) -> None:
        parts = urlsplit(url)
        self._http = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=_PATIENCE_S)
        self._directory, _, self._name = parts.path.rpartition("/")
        self._feed = feed
        self.stopped = threading.Event()
        self.skip = 0.0
        self.held_back = 0.0
        self.told: list[Told] = []
        self._loaded = 0.0  # seconds of media

    def run(self) -> None:
        """Raises OSError and HTTPException."""
        raise NotImplementedError

    def close(self) -> None:
        self._http.close()

    def _get(self, name: str) -> bytes:
        self._http.request("GET", f"{self._directory}/{name}")
        answer = self._http.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise http.client.HTTPException(f"{name}: {answer.status} {body[:200]!r}")
        return body

    def _playlist(self, query: str = "") -> tuple[Playlist, float]:
        """And when it came."""
        text = self._get(self._name + query).decode()
        return read(text), time.time()

    def _load(self, uri: str, duration: float, told: float | None) -> None:
        self._feed(self._get(uri))
        self._loaded += duration
        if told is not None:
            self.told.append(Told(self._loaded, told))


class PartLoader(Loader):
    """With parts, by blocking reloads; PART-HOLD-BACK behind the end, as 6.3.3 asks for."""

    def run(self) -> None:
        playlist, _ = self._playlist()
        position = playlist.end - playlist.hold_back
        first = self._first(playlist, position)
        self.skip, self.held_back = position - first.start, playlist.end - position
        self._feed(self._get(playlist.init))
        for piece in playlist.pieces():
            if piece.start >= first.start:
                self._load(piece.uri, piece.duration, None)
        following = playlist.next_part
        while not self.stopped.is_set():
            sequence, number = following
            playlist, told = self._playlist(f"?_HLS_msn={sequence}&_HLS_part={number}")
            for part in playlist.parts:
                if (part.sequence, part.number or 0) >= following:
                    self._load(part.uri, part.duration, told)
            following = max(following, playlist.next_part)

    @staticmethod
    def _first(playlist: Playlist, position: float) -> Piece:
        """The last from which can be decoded what is at the position. What is before that is decoded, and not shown."""
        found = [piece for piece in playlist.pieces() if piece.independent and piece.start <= position]
        if not found:
            raise http.client.HTTPException("the playlist is shorter than PART-HOLD-BACK")
        return found[-1]


class SegmentLoader(Loader):
    """Whole segments, from the beginning of one that begins three target durations before the end, or earlier."""

    def run(self) -> None:
        playlist, _ = self._playlist()
        latest = playlist.end - _TARGETS_BEHIND * playlist.target
        # A playlist has three target durations at least (6.2.2), but for the rounding of its segments' lengths.
        first = next((each for each in reversed(playlist.segments) if each.start <= latest), playlist.segments[0])
        self.held_back = playlist.end - first.start
        self._feed(self._get(playlist.init))
        for segment in playlist.segments:
            if segment.sequence >= first.sequence:
                self._load(segment.uri, segment.duration, None)
        newest, asked = playlist.segments[-1].sequence, time.monotonic()
        # 6.3.4: a whole target duration before it is loaded again, a half where nothing had changed.
        wait = playlist.target
        while not self.stopped.wait(max(asked + wait - time.monotonic(), 0.0)):
            asked = time.monotonic()
            playlist, told = self._playlist()
            fresh = [segment for segment in playlist.segments if segment.sequence > newest]
            for segment in fresh:
                self._load(segment.uri, segment.duration, told)
                newest = segment.sequence
            wait = playlist.target if fresh else playlist.target / 2
