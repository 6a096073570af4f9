"""How fast a user may write, over all gateways, and how much a socket may read."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from uuid import UUID

from veza.errors import RateLimited, VezaError
from veza.http.hub import Hub
from veza.realtime import commands as c
from veza.realtime.allowance import Borrower, Limits
from veza.realtime.rate_limit import TokenBucket

SWEEP_S = 0.25
# Beyond this many remembered buckets those that are full again are forgotten.
REMEMBERED = 10_000
# Few enough that the sockets of one user leave the pool to others.
READS_AT_ONCE = 4
# A client that comes back to hundreds of rooms at once may ask for all of them.
READS_WAITING = 500


class MessageLimits:
    """Who may send a message now: `burst` at once, `per_minute` in the long run, over all gateways together.

    The shell around `realtime.allowance.Borrower`: it asks the owners of users for their allowances, gives back, and
    lets go on who waited.
    """

    def __init__(self, per_minute: int, burst: int, hub: Hub) -> None:
        self.per_minute = per_minute
        self._borrower: Borrower[Callable[[], None]] = Borrower(Limits(per_minute, burst))
        self._links = hub.links
        self._here = hub.users.__contains__
        self._now = asyncio.get_running_loop().time
        hub.on_allowance = self.handle
        hub.attendance.loans = self

    def take(self, user_id: UUID) -> float | None:
        """0.0 when the user may write, else the seconds to wait; None when that is known only later (`wait`)."""
        return self._borrower.take(user_id, self._now())

    def wait(self, user_id: UUID, resume: Callable[[], None]) -> None:
        """`resume` is called once, within a second or so. `take` has an answer then, but perhaps not for long."""
        if self._borrower.wait(user_id, resume, self._now()):
            self._ask(user_id)

    async def spend(self, user_id: UUID) -> None:
        """A message of this user that comes by REST. Raises RateLimited."""
        seconds = self.take(user_id)
        if seconds is None:
            seconds = await self._taken(user_id)
        if seconds:
            raise RateLimited("You are writing too fast.", seconds)

    def _taken(self, user_id: UUID) -> "asyncio.Future[float | None]":
        """What `take` says, once it has an answer."""
        taken: asyncio.Future[float | None] = asyncio.get_running_loop().create_future()

        def resume() -> None:
            # Taken at once: the delivery that lends may also call back, and an allowance that goes from gateway to
            # gateway before anybody has spent of it would go round for ever. Whoever has left spends nothing.
            if not taken.done():
                taken.set_result(self.take(user_id))

        self.wait(user_id, resume)
        return taken

    def left(self, user_id: UUID) -> None:
        """A socket of this user closed."""
        if not self._here(user_id):
            self._borrower.left(user_id)

    def held(self, user_id: UUID) -> tuple[int, float]:
        """What a new owner is told."""
        return self._borrower.held(user_id, self._now())

    def holders(self) -> Iterable[UUID]:
        return self._borrower.holders()

    def handle(self, shard: str, item: c.AllowanceLent | c.RecallAllowance) -> None:
        """What an owner says."""
        user_id = item.user_id
        if isinstance(item, c.RecallAllowance):
            self._give_back(user_id, item.grant, self._borrower.recalled(shard, item, self._now()))
        elif self._links.router.owner(user_id) == shard:
            _resume(self._borrower.lent(shard, item, self._now()))
        elif self._borrower.strays(shard, item):
            self._give_back(user_id, item.grant, item.tokens)

    async def sweep_forever(self) -> None:
        """Let nobody wait too long; give back what is not needed here any more."""
        while True:
            await asyncio.sleep(SWEEP_S)
            now = self._now()
            for spare in self._borrower.spare(self._here, now):
                self._give_back(*spare)
            waited, users = self._borrower.overdue(now)
            for user_id in users:
                self._ask(user_id)
            _resume(waited)

    def _ask(self, user_id: UUID) -> None:
        def answered(answer: c.Answer | c.Subscribed | VezaError) -> None:
            if isinstance(answer, VezaError):
                self._borrower.refused(user_id)
            elif self._borrower.answered(user_id):
                self._ask(user_id)

        self._links.request(lambda ref: c.TakeAllowance(ref, user_id), user_id, answered)

    def _give_back(self, user_id: UUID, grant: int, tokens: float | None) -> None:
        # Whoever does not hear of it asks again.
        self._links.request(lambda ref: c.ReturnAllowance(ref, user_id, grant, tokens), user_id, lambda _: None)


def _resume(waited: list[Callable[[], None]]) -> None:
    for resume in waited:
        resume()


class UserBuckets:
    """One bucket a user on this gateway, for what need not be exact over all of them."""

    def __init__(self, per_minute: int, burst: int) -> None:
        self._per_minute = per_minute
        self._burst = burst
        self._buckets: dict[UUID, TokenBucket] = {}

    def take(self, user_id: UUID, now: float) -> float:
        """0.0 when the user may, else the seconds to wait."""
        bucket = self._buckets.get(user_id)
        if bucket is None:
            if len(self._buckets) >= REMEMBERED:
                self._buckets = {user: b for user, b in self._buckets.items() if not b.full(now)}
            bucket = self._buckets[user_id] = TokenBucket(self._per_minute, self._burst, now)
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
