"""Timestamps of 32 bits, which start anew after 49 days (RTMP 1.0, section 4), as some that never go back."""

# Audio and video come a little out of order with each other; further back, the encoder has begun anew.
MAX_BACK_MS = 10_000


class Clock:
    """One for a stream. Each kind of message goes forward by itself.

    When an encoder begins anew, as some do after their first messages, time goes on from where it was.
    """

    __slots__ = ("_floor", "_now", "_read")

    def __init__(self) -> None:
        self._read: int | None = None  # the latest timestamp, and what it stands for
        self._now = 0
        self._floor: dict[str, int] = {}

    def unwrap(self, kind: str, timestamp: int, *, steers: bool = True) -> int:
        """`steers` is false for messages whose timestamps encoders do not care about."""
        step = timestamp
        if self._read is not None:
            # The difference nearest to zero, for the upper bits are not sent. ffmpeg sends no more than 31.
            step = (timestamp - self._read + 0x4000_0000 & 0x7FFF_FFFF) - 0x4000_0000
        anew = step < -MAX_BACK_MS or (not steers and step > MAX_BACK_MS)
        now = self._now if anew else self._now + step
        if steers and (anew or step >= 0):
            self._read, self._now = timestamp, now
        floor = self._floor[kind] = max(now, self._floor.get(kind, 0))
        return floor
