"""The JobRunner actor: work that no request waits for. One in a cluster.

It writes the audit log: gateways send rows in batches, and a batch is answered when it is committed. And it does the
work that is nobody's in particular: about money, `payment_jobs`, and for those who follow somebody, `stream_news`.
"""

import os
from contextlib import AsyncExitStack
from typing import Any

import asyncpg
import msgspec

from veza import metrics
from veza.actors.channel import Endpoint, Inlet
from veza.actors.payment_jobs import PaymentJobs
from veza.actors.pulse import Pulse
from veza.actors.refs import inlet_host
from veza.actors.stream_news import StreamNews
from veza.actors.tasks import Life, TaskSet
from veza.config import Settings
from veza.errors import Unavailable
from veza.logs import log_file, setup_logging
from veza.storage import audit
from veza.storage.database import UNREACHABLE, open_pool
from veza.storage.payments import open_payments
from veza.storage.wakeups import REFUNDS, STREAM_NEWS, WEBHOOKS, Wakeups

PAYMENT_POOL = 5

_rows = msgspec.msgpack.Decoder(list[audit.AuditRow])


class JobRunner:
    """Methods without an underscore are called by other actors."""

    def __init__(self, name: str, settings: Settings) -> None:
        setup_logging(settings, name, log_file(settings))
        self.name = name
        self._settings = settings
        self._life = Life()
        self._tasks = TaskSet(name, self._life.fail)
        self._inlet = Inlet(self.submit, self._tasks)
        self._pulse = Pulse("job_runner", name, lambda: None)
        self._pool: Any = None
        self._written = 0
        self._resources = AsyncExitStack()

    async def start(self) -> None:
        """Raises Unavailable when PostgreSQL cannot be reached."""
        if self._pool is None:
            self._pool = await open_pool(self._settings.database_url, size=2, name=self.name)
            await self._inlet.start(inlet_host(self._settings))
            self._tasks.start(self._pulse.run(), "pulse")
            wakeups = Wakeups(self._settings.database_url, self.name, [REFUNDS, STREAM_NEWS, WEBHOOKS])
            self._tasks.start(wakeups.run(), "wakeups")
            await self._start_payments(wakeups)
            StreamNews(await self._open_pool(1, "news"), wakeups).start(self._tasks)

    async def _start_payments(self, wakeups: Wakeups) -> None:
        pool = await self._open_pool(PAYMENT_POOL, "payments")
        payments = await self._resources.enter_async_context(open_payments(self._settings))
        PaymentJobs(pool, payments, wakeups).start(self._tasks)

    async def _open_pool(self, size: int, what: str) -> Any:
        """Of its own for each kind of work: rows of the audit log wait for nothing else, nor does money for news."""
        pool = await open_pool(self._settings.database_url, size=size, name=f"{self.name} {what}")
        self._resources.callback(pool.terminate)
        return pool

    async def endpoint(self) -> Endpoint:
        """Where `submit` takes its batches. Raises Unavailable before `start`."""
        return self._inlet.place()

    async def submit(self, data: bytes) -> None:
        """Write audit rows; returns when they are committed. Raises Unavailable."""
        rows = _rows.decode(data)
        try:
            await audit.record_all(self._pool, rows)
        except (*UNREACHABLE, asyncpg.PostgresError) as error:
            raise Unavailable("The audit log cannot be written now.") from error
        self._written += len(rows)
        metrics.AUDIT_ROWS.inc(len(rows))

    async def ping(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "pid": os.getpid(),
            "started": self._pool is not None,
            "audit_rows": self._written,
            "lag_ms": self._pulse.lag_ms,
        }

    async def lifeline(self) -> None:
        await self._life.wait()

    async def drain(self) -> None:
        """Finish what was begun, then stop."""
        await self._inlet.close()
        await self._tasks.close()
        await self._resources.aclose()
        if self._pool is not None:
            self._pool.terminate()
        self._life.end()
