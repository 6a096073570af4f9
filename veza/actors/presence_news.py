"""Tells others who came and who left: what the tick of a shard does about the users it owns."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from uuid import UUID

from veza import metrics
from veza.actors.gateway_links import GatewayLinks
from veza.realtime import commands as c
from veza.realtime.partition import partition_of
from veza.realtime.presence import OFFLINE
from veza.realtime.round import CHATTY_ROOM_MEMBERS
from veza.realtime.shard import ShardCore
from veza.realtime.takeover import Takeovers
from veza.storage import partitions, presence
from veza.storage.database import FAILURES

log = logging.getLogger(__name__)

# Changes told at once; thousands at a time would hold up what people wrote.
CHANGES_A_TICK = 500


class PresenceNews:
    """What others are told is noted in the database first, so that the next owner knows whom to say goodbye for.

    A change that cannot be noted now is told later, with whatever changed meanwhile. Who has lost a partition and does
    not know it yet can note nothing there, and so tells nothing.
    """

    def __init__(self, core: ShardCore, links: GatewayLinks, connect: Callable[[], Awaitable[Any]]) -> None:
        self._core = core
        self._links = links
        self._connect = connect
        self._connection: Any = None
        self._takeovers = Takeovers()
        self._untold: dict[UUID, str] = {}

    def owned(self, before: Mapping[int, int], owned: Mapping[int, int], now: float) -> None:
        """What the shard owned, and what it owns from now on: partition → epoch."""
        taken = self._takeovers.note(before, owned, now)
        # What was to be told of their users is not for certain any more.
        self._untold = {u: status for u, status in self._untold.items() if partition_of(u) not in taken}

    @property
    def connected(self) -> bool:
        return self._connection is not None and not self._connection.is_closed()

    async def tick(self, now: float) -> None:
        changes = self._core.presence.changes(now, CHANGES_A_TICK)
        untold = {user_id: status for user_id, status in self._untold.items() if self._core.owns(user_id)}
        self._untold = untold | dict(changes)
        await self._tell()
        if due := self._takeovers.due(now):
            await self._say_goodbye(due, now)

    async def _tell(self) -> None:
        statuses = self._untold
        if not statuses:
            return
        try:
            connection = await self._connected_now()
            own = await presence.save(connection, self._core.epochs, statuses, OFFLINE)
            noted = {user_id: status for user_id, status in statuses.items() if partition_of(user_id) in own}
            rooms = await partitions.rooms_of_users(connection, noted, CHATTY_ROOM_MEMBERS)
        except FAILURES as error:
            log.warning("presence not told yet", extra={"users": len(statuses), "reason": type(error).__name__})
            return
        self._untold = {user_id: status for user_id, status in self._untold.items() if user_id not in noted}
        metrics.PRESENCE_CHANGES.inc(len(rooms))
        for user_id, room_ids in rooms.items():
            self._links.broadcast(c.PresenceChanged(user_id, statuses[user_id], room_ids))

    async def _say_goodbye(self, taken_over: list[int], now: float) -> None:
        """For users who were shown as present by the owner before, and left with a gateway that died with it; and the
        other way round, a welcome for those who came while nobody owned them.
        """
        try:
            present = await presence.shown(await self._connected_now(), taken_over)
        except FAILURES as error:
            log.warning("presence not looked at", extra={"reason": type(error).__name__})
            self._takeovers.again(taken_over, now)
            return
        # One that was taken over again meanwhile is looked at again.
        owned = [p for p in taken_over if p in self._core.epochs and p not in self._takeovers]
        self._untold = self._core.presence.settled(owned, present) | self._untold
        await self._tell()

    async def _connected_now(self) -> Any:
        if not self.connected:
            self._connection = await self._connect()
        return self._connection

    def close(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
