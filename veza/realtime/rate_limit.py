"""Token buckets and back-off. The clock and chance are arguments."""


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


def backoff(attempt: int, chance: float, *, first: float, longest: float) -> float:
    """Seconds before retry number `attempt` (from 0): doubled each time, less up to a half by `chance` in [0, 1)."""
    return float(min(longest, first * 2 ** min(attempt, 30))) * (1 - chance / 2)
