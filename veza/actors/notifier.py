"""Pushes stored notifications to the sockets of their users: one task of a shard, for the users it owns."""

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any
from uuid import UUID

from veza import metrics
from veza.actors.refs import ActorGone, ActorUnreachable, CallFailed, GatewayRef
from veza.realtime import commands as c
from veza.realtime import protocol
from veza.storage import notifications
from veza.storage.database import FAILURES, open_connection
from veza.storage.notifications import CHANNEL, Unpushed

log = logging.getLogger(__name__)

BATCH = 500
POLL_S = 1.0
# Between two rounds: what comes meanwhile goes together. One that comes to an idle notifier goes at once.
PAUSE_S = 0.05
RECONNECT_S = 0.5
STATEMENT_S = 3.0
# As long as a gateway may stay unresponsive before it is replaced.
DELIVER_S = 1.0
# Gateways tell a new owner at once who is there; until they surely have, nobody is taken for absent.
SETTLE_S = 2.0


class Notifier:
    """`epochs` are the partitions owned now; `gateways` tells where a user has sockets.

    A notification is marked pushed once every gateway with sockets of its user has taken it, so it may be pushed
    twice, with the same id. Users without sockets find it by REST. It goes past the outboxes of the shard, whose
    order does not concern it, over connections of its own.
    """

    def __init__(
        self,
        shard: str,
        url: str,
        epochs: Callable[[], Mapping[int, int]],
        gateways: Callable[[UUID], Collection[str]],
        connect: Callable[[str], GatewayRef] = GatewayRef,
    ) -> None:
        self._shard = shard
        self._url = url
        self._epochs = epochs
        self._gateways = gateways
        self._connect = connect
        self._refs: dict[str, GatewayRef] = {}
        self._since: dict[int, tuple[int, float]] = {}  # partition → its epoch, and since when it is known here
        self._wake = asyncio.Event()

    async def run(self) -> None:
        """Push until cancelled; while PostgreSQL is away it waits."""
        try:
            while True:
                try:
                    await self._follow()
                except FAILURES as error:
                    log.warning("notifications wait", extra={"reason": type(error).__name__})
                    await asyncio.sleep(RECONNECT_S)
        finally:
            for ref in self._refs.values():
                await ref.close()

    async def _follow(self) -> None:
        name = f"{self._shard} notifier"
        connection = await open_connection(self._url, name=name, timeout=STATEMENT_S, statement_timeout=STATEMENT_S)
        try:
            await connection.add_listener(CHANNEL, lambda *_: self._wake.set())
            while True:
                self._wake.clear()
                complete = await self.push(connection)
                await asyncio.sleep(PAUSE_S)
                if complete:
                    await self._woken()
        finally:
            connection.terminate()

    async def _woken(self) -> None:
        try:
            async with asyncio.timeout(POLL_S):
                await self._wake.wait()
        except TimeoutError:
            return  # the poll, for a wake-up may have been lost

    async def push(self, connection: Any) -> bool:
        """Push one batch. Returns whether nothing more is known to wait for it now."""
        epochs = self._settled()
        if not epochs:
            return True
        rows = await notifications.unpushed(connection, epochs, BATCH)
        if not rows:
            return True
        failed = await self._deliver(rows)
        done = [row.id for row in rows if not failed.intersection(self._gateways(row.user_id))]
        if done:
            await notifications.mark_pushed(connection, done)
        return len(rows) < BATCH or not done

    def _settled(self) -> dict[int, int]:
        """The partitions that have been owned long enough to know who is there."""
        now = asyncio.get_running_loop().time()
        known, self._since = self._since, {}
        for partition, epoch in self._epochs().items():
            before = known.get(partition)
            self._since[partition] = before if before is not None and before[0] == epoch else (epoch, now)
        return {partition: epoch for partition, (epoch, since) in self._since.items() if now - since >= SETTLE_S}

    async def _deliver(self, rows: Iterable[Unpushed]) -> set[str]:
        """Send each row to the gateways of its user, those of a gateway in one call. Returns who did not take it."""
        calls: dict[str, list[c.Delivery]] = {}
        for row in rows:
            item = c.UserFrame(row.user_id, frame_of(row))
            for gateway in self._gateways(row.user_id):
                calls.setdefault(gateway, []).append(item)
        taken = await asyncio.gather(*(self._call(gateway, items) for gateway, items in calls.items()))
        return {gateway for gateway, well in zip(calls, taken, strict=True) if not well}

    async def _call(self, gateway: str, items: list[c.Delivery]) -> bool:
        ref = self._refs.get(gateway) or self._refs.setdefault(gateway, self._connect(gateway))
        try:
            async with asyncio.timeout(DELIVER_S):
                await ref.deliver(c.encode(c.DeliveryBatch(self._shard, items)))
                metrics.NOTIFICATIONS_PUSHED.inc(len(items))
        except ActorGone:
            # With all of its sockets.
            del self._refs[gateway]
            await ref.close()
        except (ActorUnreachable, CallFailed, TimeoutError) as error:
            log.warning("notifications not delivered", extra={"gateway": gateway, "reason": type(error).__name__})
            return False
        return True


def frame_of(row: Unpushed) -> bytes:
    """The finished frame that a user's sockets get."""
    return protocol.frame(
        {
            "type": "notification",
            "id": row.id,
            "kind": row.kind,
            "data": row.data,
            "created_at": protocol.timestamp(row.created_at),
        }
    )
