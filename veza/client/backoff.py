"""How long to wait before the next attempt."""

from collections.abc import Callable


class Backoff:
    """Exponential with full jitter: the n-th delay is uniform between 0 and `min(cap, base * 2**n)` seconds.

    Full jitter, because clients cut off together must not come back together. `chance` gives a float in
    [0, 1), as `random.random` does.
    """

    def __init__(self, chance: Callable[[], float], base: float = 0.5, cap: float = 30.0) -> None:
        if base <= 0 or cap < base:
            raise ValueError("base must be positive and cap at least base")
        self._chance = chance
        self._base = base
        self._cap = cap
        self._ceiling = base

    def next(self) -> float:
        """The next delay in seconds."""
        delay = self._chance() * self._ceiling
        self._ceiling = min(self._cap, self._ceiling * 2)
        return delay

    def reset(self) -> None:
        """Start over, after an attempt that went well."""
        self._ceiling = self._base
