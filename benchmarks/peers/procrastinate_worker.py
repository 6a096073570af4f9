"""A worker of Procrastinate whose jobs pay transfers; runs in our own environment.

`DATABASE_URL` is where both the jobs and the transfers are. It says `ready`, begins when it is told to (a line on its
input), and at the next line ends and says what it has used.

A job is one transaction: the transfer becomes `processing`, then `completed`; its movement with two entries is booked
and its seller notified, with the very statements that the platform uses. Less than ours: nothing is committed before
money would be sent, no debt is looked at, nobody has a lease, and jobs of one seller are not kept in order. A job that
is done is deleted; keeping it is as fast.
"""

import asyncio
import json
import logging
import os
import resource
import sys
from typing import Any
from uuid import UUID

import asyncpg
import procrastinate
import uvloop

from veza.realtime import ledger as movements
from veza.storage import ledger, notifications
from veza.storage.database import open_pool, transaction
from veza.storage.notifications import Notice, NotificationKind

CONCURRENCY = int(os.environ.get("CONCURRENCY", "16"))
# Of 100 connections that the server allows, four workers may have these for their jobs, and as many for the queue.
POOL = 10

# It warns that its application is in the main module, which is of no matter to a worker; jobs that fail are errors.
logging.getLogger("procrastinate").setLevel(logging.ERROR)
app = procrastinate.App(
    connector=procrastinate.PsycopgConnector(conninfo=os.environ["DATABASE_URL"], min_size=1, max_size=POOL)
)
pools: list[Any] = []


@app.task(name="pay")
async def pay(transfer_id: str) -> None:
    async with transaction(pools[0]) as connection:
        await _pay(connection, UUID(transfer_id))


async def _pay(connection: asyncpg.Connection, transfer_id: UUID) -> None:
    row = await connection.fetchrow(
        """
        UPDATE transfers t SET status = 'processing', account_id = a.account_id, sent_cents = t.amount_cents,
            sent_at = now(), updated_at = now()
        FROM seller_accounts a
        WHERE t.id = $1 AND t.status = 'pending' AND a.seller_id = t.seller_id AND a.payouts_enabled
        RETURNING t.id, t.seller_id, t.order_id, t.currency, t.sent_cents
        """,
        transfer_id,
    )
    if row is None:
        return
    await connection.execute(
        """
        UPDATE transfers SET status = 'completed', provider_id = $2, sent_at = NULL, completed_at = now(),
            updated_at = now() WHERE id = $1
        """,
        transfer_id,
        f"tr_{transfer_id.hex}_1",
    )
    booked = movements.transfer(row["id"], row["currency"], row["seller_id"], row["sent_cents"])
    await ledger.record(connection, booked)
    data = {
        "transfer_id": row["id"],
        "order_id": row["order_id"],
        "amount_cents": row["sent_cents"],
        "currency": row["currency"],
    }
    notice = Notice(row["seller_id"], NotificationKind.TRANSFER_COMPLETED, data)
    await notifications.add_each(connection, [notice])


async def main() -> None:
    pools.append(await open_pool(os.environ["DATABASE_URL"], size=POOL, name="procrastinate"))
    async with app.open_async():
        _say({"ready": True})
        await asyncio.to_thread(sys.stdin.readline)
        _say({"begun": True})
        used = _used()
        working = asyncio.create_task(
            app.run_worker_async(concurrency=CONCURRENCY, install_signal_handlers=False, delete_jobs="always")
        )
        told = asyncio.create_task(asyncio.to_thread(sys.stdin.readline))
        await asyncio.wait([told, working], return_when=asyncio.FIRST_COMPLETED)
        _say({"cpu_seconds": _used() - used})
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
    pools[0].terminate()


def _used() -> float:
    found = resource.getrusage(resource.RUSAGE_SELF)
    return found.ru_utime + found.ru_stime


def _say(found: dict[str, Any]) -> None:
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    uvloop.run(main())
