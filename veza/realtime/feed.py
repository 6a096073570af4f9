"""One room as a gateway follows it: makes one gapless order out of shards, failovers and catch-up reads.

A feed knows the last seq it passed on. Frames that were seen are dropped, frames that continue are passed on, and a
gap is never passed over: the feed holds what came early and asks for the missing part from the log.
"""

from collections.abc import Sequence

# What a feed holds while it catches up; above it, the held part is dropped and read from the log as well.
HELD_FRAMES = 2000


class RoomFeed:
    """`last_seq` is the last event passed on, or None before the room's first subscription was answered."""

    __slots__ = ("_held", "_held_from", "last_seq", "wanted")

    def __init__(self) -> None:
        self.last_seq: int | None = None
        self.wanted: int | None = None  # set while events up to this seq are missing and must be read
        self._held: list[bytes] = []
        self._held_from = 0

    def subscribed(self, seq: int) -> bool:
        """The shard says that all up to `seq` is stored. True when earlier events must be read from the log."""
        if self.last_seq is None:
            self.last_seq = seq
            return False
        if seq <= self.last_seq:
            return False
        return self._want(seq)

    def accept(self, first_seq: int, frames: Sequence[bytes]) -> Sequence[bytes]:
        """The part of `frames` that may be passed on now; empty when known or early (then `wanted` is set)."""
        if self.last_seq is None:
            return ()
        if self.wanted is not None:
            self._hold(first_seq, frames)
            return ()
        last = first_seq + len(frames) - 1
        if last <= self.last_seq:
            return ()
        if first_seq > self.last_seq + 1:
            self._hold(first_seq, frames)
            self._want(first_seq - 1)
            return ()
        fresh = frames[self.last_seq + 1 - first_seq :] if first_seq <= self.last_seq else frames
        self.last_seq = last
        return fresh

    def caught_up(self, first_seq: int, frames: Sequence[bytes]) -> Sequence[bytes]:
        """A page read from the log after `last_seq`. Returns what may be passed on, with what was held.

        When `wanted` is still set afterwards, another page is needed.
        """
        if self.last_seq is None or self.wanted is None:
            return ()
        passed: list[bytes] = []
        if frames and first_seq == self.last_seq + 1:
            passed.extend(frames)
            self.last_seq += len(frames)
        if self.last_seq >= self.wanted:
            self.wanted = None
            held, start = self._held, self._held_from
            self._held = []
            if held:
                passed.extend(self.accept(start, held))
        return passed

    def want_rest(self) -> None:
        """The room has ended, and nobody says at which seq: whatever the log still has is wanted."""
        self._want((self.last_seq or 0) + 1)

    def skip(self, seq: int) -> bool:
        """Events up to `seq` are gone from the log: the order goes on behind them. True when they were lacking."""
        if self.last_seq is None or seq <= self.last_seq:
            return False
        self.last_seq = seq
        return True

    def stop(self) -> None:
        """The log has no more."""
        self.wanted = None
        self._held = []

    def _want(self, seq: int) -> bool:
        already = self.wanted is not None
        self.wanted = max(seq, self.wanted or 0)
        return not already

    def _hold(self, first_seq: int, frames: Sequence[bytes]) -> None:
        expected = self._held_from + len(self._held)
        if not self._held:
            self._held_from = first_seq
            expected = first_seq
        if first_seq > expected or len(self._held) + len(frames) > HELD_FRAMES:
            # A hole inside what is held, or too much of it: let the log give it all.
            self._held = []
            self._want(first_seq + len(frames) - 1)
            return
        self._held.extend(frames[expected - first_seq :] if first_seq < expected else frames)
