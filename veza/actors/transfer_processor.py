"""The TransferProcessor actor: sends sellers their money. Any number of them, on any nodes, share one queue."""

import asyncio
import logging
import os
import time
from contextlib import AsyncExitStack, suppress
from typing import Any

from veza import metrics
from veza.actors.payout_rounds import Payouts
from veza.actors.pulse import Pulse
from veza.actors.tasks import Life, TaskSet
from veza.config import Settings
from veza.logs import log_file, setup_logging
from veza.storage import payout_queue
from veza.storage.database import FAILURES, open_pool
from veza.storage.payments import open_payments
from veza.storage.wakeups import TRANSFERS, Wakeups

log = logging.getLogger(__name__)

# One round that waits for a slow answer does not hold up what comes after it.
ROUNDS = 2
POOL_SIZE = 4
# How long a missed wakeup could go unnoticed.
LOOK_S = 10.0
# Sales come one by one, and what is claimed together costs little more than one.
GATHER_S = 0.1
AWAY_S = 1.0
DRAIN_S = 4.0


class TransferProcessor:
    """Methods without an underscore are called by other actors."""

    def __init__(self, name: str, settings: Settings) -> None:
        setup_logging(settings, name, log_file(settings))
        self.name = name
        self._settings = settings
        self._life = Life()
        self._tasks = TaskSet(name, self._life.fail)
        self._rounds = TaskSet(f"{name} rounds", self._life.fail)
        self._pulse = Pulse("transfer_processor", name, self._sample)
        self._wakeups = Wakeups(settings.database_url, name, [TRANSFERS])
        self._resources = AsyncExitStack()
        self._payouts: Payouts | None = None
        self._done = 0
        self._stopping = asyncio.Event()

    async def start(self) -> None:
        """Raises Unavailable when PostgreSQL cannot be reached."""
        if self._payouts is not None:
            return
        pool = await open_pool(self._settings.database_url, size=POOL_SIZE, name=self.name)
        self._resources.callback(pool.terminate)
        payments = await self._resources.enter_async_context(open_payments(self._settings))
        self._payouts = Payouts(self.name, self._settings, pool, payments.sellers)
        self._tasks.start(self._wakeups.run(), "wakeups")
        self._tasks.start(self._pulse.run(), "pulse")
        self._tasks.start(self._count_forever(pool), "count")
        for number in range(ROUNDS):
            self._rounds.start(self._work_forever(pool, self._payouts), f"{number}")

    async def _work_forever(self, pool: Any, payouts: Payouts) -> None:
        while not self._stopping.is_set():
            pause = payouts.breaker.waits(time.monotonic())
            if pause:
                await self._rest(pause)
                continue
            try:
                done = await payouts.round()
                self._done += done
                if not done:
                    due = await payout_queue.next_due(pool)
                    await self._wakeups.wait(TRANSFERS, LOOK_S if due is None else min(max(due, 0.01), LOOK_S))
                    await self._rest(GATHER_S)
            except FAILURES as error:
                log.warning("transfers not worked off", extra={"reason": type(error).__name__})
                await self._rest(AWAY_S)

    async def _rest(self, seconds: float) -> None:
        """So long, unless it is to stop."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()

    async def _count_forever(self, pool: Any) -> None:
        while True:
            try:
                metrics.TRANSFERS_DUE.labels(self.name).set(await payout_queue.due(pool))
            except FAILURES as error:
                log.warning("transfers not counted", extra={"reason": type(error).__name__})
            await asyncio.sleep(LOOK_S)

    def _sample(self) -> None:
        closed = self._payouts is None or self._payouts.breaker.closed
        metrics.PROVIDER_AWAY.labels(self.name).set(not closed)

    async def ping(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "pid": os.getpid(),
            "started": self._payouts is not None,
            "transfers": self._done,
            "provider": self._payouts is None or self._payouts.breaker.closed,
            "lag_ms": self._pulse.lag_ms,
        }

    async def lifeline(self) -> None:
        await self._life.wait()

    async def drain(self) -> None:
        """Claim nothing any more, finish what is under way, then stop."""
        self._stopping.set()
        self._wakeups.wake_all()
        await self._rounds.finish(DRAIN_S)
        await self._tasks.close()
        await self._resources.aclose()
        self._life.end()
