"""How fast a user may write, on this gateway."""

from uuid import UUID

from veza.realtime.rate_limit import TokenBucket

# Beyond this many remembered buckets those that are full again are forgotten.
REMEMBERED = 10_000


class MessageLimits:
    """One bucket a user: `burst` messages at once, `per_minute` in the long run."""

    def __init__(self, per_minute: int, burst: int) -> None:
        self.per_minute = per_minute
        self._burst = burst
        self._buckets: dict[UUID, TokenBucket] = {}

    def take(self, user_id: UUID, now: float) -> float:
        """0.0 when the user may write, else the seconds to wait."""
        bucket = self._buckets.get(user_id)
        if bucket is None:
            if len(self._buckets) >= REMEMBERED:
                self._buckets = {user: b for user, b in self._buckets.items() if not b.full(now)}
            bucket = self._buckets[user_id] = TokenBucket(self.per_minute, self._burst, now)
        return bucket.take(now)
