"""Token buckets and back-off. The clock and chance are arguments."""


class TokenBucket:
    """`burst` tokens at most, refilled at `per_minute`; takes are exact and never go below zero.

    `tokens` is what it begins with: full when None. A bucket that goes to another process goes as its tokens, and each
    stamps them by its own clock: what would have been refilled on the way is lost, so that no clock can mint any.
    """

    __slots__ = ("_burst", "_per_second", "_tokens", "_updated")

    def __init__(self, per_minute: float, burst: int, now: float, tokens: float | None = None) -> None:
        self._per_second = per_minute / 60
        self._burst = float(burst)
        self._tokens = self._burst if tokens is None else max(0.0, min(self._burst, tokens))
        self._updated = now

    def take(self, now: float) -> float:
        """Take one token: 0.0 when granted, else the seconds until one is there."""
        if self.tokens(now) >= 1:
            self._tokens -= 1
            return 0.0
        return (1 - self._tokens) / self._per_second

    def tokens(self, now: float) -> float:
        """How many there are."""
        self._tokens = self._refilled(now)
        self._updated = max(self._updated, now)
        return self._tokens

    def full(self, now: float) -> bool:
        """Whether it is as good as new, so that it need not be remembered."""
        return self._refilled(now) >= self._burst

    def _refilled(self, now: float) -> float:
        return min(self._burst, self._tokens + max(0.0, now - self._updated) * self._per_second)


def backoff(attempt: int, chance: float, *, first: float, longest: float) -> float:
    """Seconds before retry number `attempt` (from 0): doubled each time, less up to a half by `chance` in [0, 1)."""
    return float(min(longest, first * 2 ** min(attempt, 30))) * (1 - chance / 2)
