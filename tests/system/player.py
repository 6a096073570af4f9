"""A player that asks for a stream's playlist again and again, and takes nothing back that it was told."""

import asyncio
import time
from contextlib import suppress
from typing import Any, NamedTuple, Self

import httpx

from system.running import Running
from system.waiting import POLL_S, until

# A player asks again after half a target duration at most; this one is eager.
ASK_S = 0.2


class Segment(NamedTuple):
    uri: str
    discontinuity: int  # how many discontinuities lie before it


class Playlist(NamedTuple):
    """`sequence` is that of the first segment."""

    sequence: int
    segments: list[Segment]
    ended: bool


def read(text: str) -> Playlist:
    """A media playlist, as far as these tests look at it."""
    lines = text.splitlines()
    tags = dict(line.split(":", 1) for line in lines if line.startswith("#EXT-X-") and ":" in line)
    discontinuity, segments = int(tags.get("#EXT-X-DISCONTINUITY-SEQUENCE", 0)), []
    for line in lines:
        if line == "#EXT-X-DISCONTINUITY":
            discontinuity += 1
        elif not line.startswith("#"):
            segments.append(Segment(line, discontinuity))
    return Playlist(int(tags["#EXT-X-MEDIA-SEQUENCE"]), segments, lines[-1] == "#EXT-X-ENDLIST")


class Player:
    """`async with` lets it play. It fails when the media sequence goes back, when a segment becomes another one, when
    one that is named is not there, and when it is told anything else than to try again.
    """

    def __init__(self, system: Running, stream: dict[str, Any]) -> None:
        self.segments: dict[int, Segment] = {}  # by sequence, all that it ever had
        self.ended = False
        self.longest_wait = 0.0  # for another segment, in seconds
        self._system = system
        self._base = f"{system.url}{stream['playback_url'].removesuffix('index.m3u8')}"
        self._sequence = 0
        self._had_at = time.monotonic()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._play(), name="player")
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        self._task.cancel()
        [outcome] = await asyncio.gather(self._task, return_exceptions=True)
        if isinstance(outcome, Exception):
            raise outcome

    @property
    def newest(self) -> int:
        """The sequence of the newest segment, -1 before the first."""
        return max(self.segments, default=-1)

    @property
    def discontinuity(self) -> int:
        """How many discontinuities there were until the newest segment."""
        return self.segments[self.newest].discontinuity if self.segments else 0

    @property
    def waits(self) -> float:
        """For how many seconds there was nothing new."""
        return time.monotonic() - self._had_at

    async def goes_on(self, segments: int = 1, seconds: float = 15.0) -> None:
        """Wait for so many more segments."""
        wanted = self.newest + segments
        await self._until(lambda: self.newest >= wanted, f"segment {wanted}", seconds)

    async def joins(self, discontinuity: int, seconds: float = 15.0) -> None:
        """Wait for a segment behind so many discontinuities."""
        await self._until(lambda: self.discontinuity >= discontinuity, f"discontinuity {discontinuity}", seconds)

    async def stands_still(self, seconds: float) -> None:
        """Wait until there was nothing new for so long."""
        await self._until(lambda: self.waits >= seconds, "the playlist to stand still", seconds + 15)

    async def ends(self, seconds: float = 15.0) -> None:
        await self._until(lambda: self.ended, "the playlist to end", seconds)

    async def _until(self, done: Any, what: str, seconds: float) -> None:
        async def ask() -> bool:
            assert self._task is not None
            if self._task.done():
                self._task.result()
            return bool(done())

        await until(ask, f"{what}; it has {self.segments}", seconds)

    async def _play(self) -> None:
        while not self.ended:
            # Where nobody is there a player asks again.
            with suppress(httpx.TransportError):
                await self._look()
            await asyncio.sleep(ASK_S if self.segments else POLL_S)

    async def _look(self) -> None:
        text = await self._get("plain.m3u8")
        if text is None:
            return
        found = read(text.decode())
        assert found.sequence >= self._sequence, f"from {self._sequence} back to {found.sequence}"
        self._sequence = found.sequence
        for sequence, segment in enumerate(found.segments, found.sequence):
            known = self.segments.get(sequence)
            assert known in (None, segment), f"segment {sequence} was {known} and is {segment}"
            if known is None and await self._get(segment.uri):
                self.longest_wait = max(self.longest_wait, self.waits) if self.segments else 0.0
                self.segments[sequence], self._had_at = segment, time.monotonic()
        assert not self.segments or found.sequence + len(found.segments) > self.newest, "the playlist has lost its end"
        self.ended = found.ended

    async def _get(self, name: str) -> bytes | None:
        """None while it cannot be had right now."""
        answer = await self._system.http.get(f"{self._base}{name}")
        assert answer.status_code in (200, 503), f"{name}: {answer.status_code} {answer.text}"
        return answer.content if answer.status_code == 200 else None
