"""Who came and who left, as a shard tells it: what `veza.actors.presence_news` does, with the real `Takeovers`.

A turn is a generator that yields the statements it waits for.
"""

from collections.abc import Callable, Generator, Mapping
from typing import TYPE_CHECKING, Any
from uuid import UUID

from simulation.store import StoreAway
from veza.realtime import commands as c
from veza.realtime.partition import partition_of
from veza.realtime.presence import OFFLINE
from veza.realtime.shard import ShardCore
from veza.realtime.takeover import Takeovers

if TYPE_CHECKING:
    from simulation.world import World

Statements = Generator[Callable[[], Any], Any, None]


class SimNews:
    def __init__(self, world: "World", core: ShardCore, broadcast: Callable[[c.PresenceChanged], None]) -> None:
        self._world = world
        self._core = core
        self._broadcast = broadcast
        self._takeovers = Takeovers()
        self._untold: dict[UUID, str] = {}
        self.noted: dict[UUID, float] = {}  # user → when what others are told of them was noted last

    def owned(self, before: Mapping[int, int], owned: Mapping[int, int], now: float) -> None:
        taken = self._takeovers.note(before, owned, now)
        # What was to be told of their users is not for certain any more.
        self._untold = {u: status for u, status in self._untold.items() if partition_of(u) not in taken}

    def tick(self, now: float) -> Statements:
        changes = self._core.presence.changes(now)
        untold = {user_id: status for user_id, status in self._untold.items() if self._core.owns(user_id)}
        self._untold = untold | dict(changes)
        yield from self._tell()
        if due := self._takeovers.due(now):
            yield from self._say_goodbye(due, now)

    def _tell(self) -> Statements:
        statuses = self._untold
        if not statuses:
            return
        try:
            epochs = dict(self._core.epochs)
            own = yield lambda: self._note(epochs, statuses)
            noted = {user_id: status for user_id, status in statuses.items() if partition_of(user_id) in own}
            rooms = yield lambda: self._world.store.rooms_of_users(noted)
        except StoreAway:
            # It may be noted all the same, even behind what is noted next.
            self._world.unsure.update(statuses)
            return
        self._untold = {user_id: status for user_id, status in self._untold.items() if user_id not in noted}
        for user_id, room_ids in rooms.items():
            self._broadcast(c.PresenceChanged(user_id, statuses[user_id], room_ids))

    def _note(self, epochs: Mapping[int, int], statuses: Mapping[UUID, str]) -> set[int]:
        """Perhaps after the death of whoever sent it."""
        self.noted |= dict.fromkeys(statuses, self._world.clock.now)
        return self._world.store.save_presence(epochs, statuses, OFFLINE)

    def _say_goodbye(self, taken_over: list[int], now: float) -> Statements:
        try:
            present = yield lambda: self._world.store.present_in(taken_over)
        except StoreAway:
            self._takeovers.again(taken_over, now)
            return
        # One that was taken over again meanwhile is looked at again.
        owned = [p for p in taken_over if p in self._core.epochs and p not in self._takeovers]
        told = self._core.presence.settled(owned, sorted(present))
        self._world.seen["told of after a takeover"] += len(told)
        self._untold = told | self._untold
        yield from self._tell()
