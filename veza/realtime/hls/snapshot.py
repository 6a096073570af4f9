"""A playlist to go on with in another process."""

from collections.abc import Callable

import msgspec


class Segment(msgspec.Struct, array_like=True):
    """A segment of a playlist; the open one grows."""

    sequence: int
    init: int
    discontinuity: bool
    wall: float  # when it began, in seconds since 1970
    parts: list[tuple[float, bool]] = []  # duration, independent
    duration: float = 0.0
    size: int = 0
    pictures: int = 0


class Snapshot(msgspec.Struct, frozen=True, array_like=True):
    """All of a Playlist but how long a window it shows. Numbers are never used twice for something else."""

    window: list[Segment]
    open: Segment | None
    next: int  # the sequence of the segment that is open or comes next
    init: tuple[int, tuple[str, ...], tuple[int, int] | None] | None  # number, codecs and size of the last one
    old_inits: list[int]
    discontinuities: int
    target: int
    time: float
    longest: float
    leaving: list[tuple[float, str]]
    peak: float
    broken: bool
    ended: bool

    @property
    def next_init(self) -> int:
        return 0 if self.init is None else self.init[0] + 1

    def with_open_parts(self, exists: Callable[[int, int], bool]) -> "Snapshot":
        """Without those parts of the open segment that were not written any more, told by sequence and number."""
        segment = self.open
        if segment is None:
            return self
        count = 0
        while count < len(segment.parts) and exists(segment.sequence, count):
            count += 1
        kept = msgspec.structs.replace(segment, parts=segment.parts[:count]) if count else None
        return msgspec.structs.replace(self, open=kept)
