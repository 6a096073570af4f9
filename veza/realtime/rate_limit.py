"""Token buckets. The clock is an argument."""


class TokenBucket:
    """`burst` tokens at most, refilled at `per_minute`; takes are exact and never go below zero."""

    __slots__ = ("_burst", "_per_second", "_tokens", "_updated")

    def __init__(self, per_minute: float, burst: int, now: float) -> None:
        self._per_second = per_minute / 60
        self._burst = float(burst)
        self._tokens = float(burst)
        self._updated = now

    def take(self, now: float) -> float:
        """Take one token: 0.0 when granted, else the seconds until one is there."""
        self._tokens = min(self._burst, self._tokens + (now - self._updated) * self._per_second)
        self._updated = now
        if self._tokens >= 1:
            self._tokens -= 1
            return 0.0
        return (1 - self._tokens) / self._per_second

    def full(self, now: float) -> bool:
        """Whether it is as good as new, so that it need not be remembered."""
        return self._tokens + (now - self._updated) * self._per_second >= self._burst
