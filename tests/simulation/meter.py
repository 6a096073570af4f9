"""Counts what passes: promise R, that nobody writes faster than the limit, whichever gateways they use.

A bucket of its own for each user, which everything that passes is taken from. It may go below zero only as far as
something has happened that may fill a bucket anew: a process died, or an owner heard too late who holds one.
"""

from collections import defaultdict
from typing import TYPE_CHECKING
from uuid import UUID

from simulation.promises import Broken
from veza.realtime.allowance import SETTLE_S, SHARE

if TYPE_CHECKING:
    from simulation.world import World

SLACK = 1e-6
# Nobody is unheard for longer.
UNHEARD_S = 6.0


class _Level:
    """What is left of a bucket, however little."""

    def __init__(self, per_minute: float, burst: float) -> None:
        self.lowest = self.left = burst
        self._rate = per_minute / 60
        self._burst = burst
        self._at = 0.0

    def take(self, now: float) -> None:
        self.left = min(self._burst, self.left + (now - self._at) * self._rate) - 1
        self._at = now
        self.lowest = min(self.lowest, self.left)


class Meter:
    def __init__(self, world: "World", per_minute: int, burst: int) -> None:
        self._world = world
        self._per_minute = per_minute
        self._burst = burst
        self._levels: dict[UUID, _Level] = {}
        self._shares: dict[tuple[UUID, str], _Level] = {}
        self._owned: dict[tuple[str, int], tuple[int, float]] = {}  # shard, partition → the how-manieth time, since
        self._loans: dict[tuple[UUID, int], tuple[str, int]] = {}  # user, grant → shard, the how-manieth time
        self._deaths = 0
        self._spent_unheard = 0.0
        self._late: defaultdict[UUID, float] = defaultdict(float)  # user → messages more
        self._news: set[tuple[UUID, int, str, int]] = set()

    # -- gateways --------------------------------------------------------------------------------------------

    def passed(self, user_id: UUID, gateway: str, *, by_loan: bool) -> None:
        """A message may go to its room."""
        now = self._world.clock.now
        if by_loan:
            level = self._levels.get(user_id)
            if level is None:
                level = self._levels[user_id] = _Level(self._per_minute, self._burst)
            level.take(now)
            return
        self._world.seen["written by a share"] += 1
        level = self._shares.get((user_id, gateway))
        if level is None:
            share = max(1, int(self._burst * SHARE))
            level = self._shares[user_id, gateway] = _Level(self._per_minute * SHARE, share)
        level.take(now)
        if level.left < -SLACK:
            raise Broken("R", f"{self._world.person(user_id)} writes more than a share at {gateway}")

    def lent(self, user_id: UUID, gateway: str) -> None:
        """Whoever has the bucket again begins with a whole share if it is taken away once more."""
        self._shares.pop((user_id, gateway), None)

    # -- what may fill a bucket anew -------------------------------------------------------------------------

    def died(self) -> None:
        self._deaths += 1

    def silent(self) -> None:
        """A gateway is taken for dead, though it may live and let people write."""
        self._deaths += 1
        self._spent_unheard += UNHEARD_S * self._per_minute / 60

    def owned(self, shard: str, partition: int) -> None:
        """A shard owns a partition from now on, perhaps once more."""
        times, _ = self._owned.get((shard, partition), (0, 0.0))
        self._owned[shard, partition] = times + 1, self._world.clock.now

    def lends(self, shard: str, partition: int, user_id: UUID, grant: int) -> None:
        self._loans[user_id, grant] = shard, self._owned[shard, partition][0]

    def reported(self, shard: str, partition: int, user_id: UUID, grant: int) -> None:
        """An owner hears of a loan: too late, if it was made by another and what gateways hold counts as known."""
        times, since = self._owned[shard, partition]
        late = self._world.clock.now - since
        news = (user_id, grant, shard, times)
        if self._loans[user_id, grant] != (shard, times) and late >= SETTLE_S and news not in self._news:
            self._news.add(news)
            self._world.seen["late report of a loan"] += 1
            self._late[user_id] += self._burst + late * self._per_minute / 60

    # -- in the end ------------------------------------------------------------------------------------------

    def check(self) -> None:
        for user_id, level in self._levels.items():
            more = self._deaths * self._burst + self._spent_unheard + self._late[user_id]
            if level.lowest < -more - SLACK:
                name, over = self._world.person(user_id), -level.lowest
                raise Broken("R", f"{name} wrote {over:.1f} messages more than the limit, of which {more:.1f} may be")
