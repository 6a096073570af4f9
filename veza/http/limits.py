"""How fast a user may write, and how much a socket may read, on this gateway."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

from veza.errors import RateLimited
from veza.realtime.rate_limit import TokenBucket

# Beyond this many remembered buckets those that are full again are forgotten.
REMEMBERED = 10_000
# Few enough that the sockets of one user leave the pool to others.
READS_AT_ONCE = 4
# A client that comes back to hundreds of rooms at once may ask for all of them.
READS_WAITING = 500


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


class ReadTurns:
    """The reads of one socket: READS_AT_ONCE under way, READS_WAITING more in line, in order."""

    def __init__(self) -> None:
        self._free = asyncio.Semaphore(READS_AT_ONCE)
        self._waiting = 0

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Hold one of the places. Raises RateLimited when too many wait already."""
        if self._waiting >= READS_WAITING:
            raise RateLimited("Too many reads at once.")
        self._waiting += 1
        try:
            await self._free.acquire()
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            self._free.release()
