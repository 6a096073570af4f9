"""The inbox of webhooks: each stored once before it is answered, and worked off by an actor afterwards."""

import hashlib
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec

from veza.errors import Conflict, InvalidArgument, WebhookNotFound
from veza.ids import new_id
from veza.realtime import payment_events
from veza.storage import audit, wakeups
from veza.storage.audit import AuditRow
from veza.storage.database import Connection, transaction

# What is not known by then never will be.
PATIENCE = timedelta(days=1)


class Webhook(msgspec.Struct, frozen=True):
    """`status` is received, waiting (for what it is about to be known), processed, ignored or failed; `result` says
    what it did or why not.
    """

    id: UUID
    event_id: str
    event: str | None
    payment_id: str | None
    status: str
    tries: int
    result: str | None
    received_at: datetime
    processed_at: datetime | None


class DueWebhook(msgspec.Struct, frozen=True):
    id: UUID
    body: bytes
    tries: int
    old: bool


_COLUMNS = "id, event_id, event, payment_id, status, tries, result, received_at, processed_at"


async def store(pool: Any, body: bytes) -> bool:
    """Keep a webhook whose signature was good; False when its event is here already."""
    event_id, event, payment_id = "sha256:" + hashlib.sha256(body).hexdigest(), None, None
    try:
        read = payment_events.read(body)
    except InvalidArgument:
        pass  # kept for an administrator to see, and ignored
    else:
        event_id, event, payment_id = read.event_id, read.name, read.payment_id
    async with transaction(pool) as connection:
        new = await connection.fetchval(
            """
            INSERT INTO webhooks (id, event_id, event, payment_id, body) VALUES ($1, $2, $3, $4, $5)
            ON CONFLICT (event_id) DO NOTHING RETURNING true
            """,
            new_id(),
            event_id,
            event,
            payment_id,
            body,
        )
        if new:
            await wakeups.wake(connection, wakeups.WEBHOOKS)
        return bool(new)


async def claim(pool: Any, most: int, lease: timedelta) -> list[DueWebhook]:
    """Webhooks to be worked off, in the order in which they came; they are due again after `lease`."""
    rows = await pool.fetch(
        """
        WITH due AS MATERIALIZED (
            SELECT id FROM webhooks WHERE status IN ('received', 'waiting') AND next_at <= now()
            ORDER BY next_at LIMIT $1 FOR UPDATE SKIP LOCKED
        )
        UPDATE webhooks w SET next_at = now() + $2::interval, tries = tries + 1
        FROM due WHERE w.id = due.id
        RETURNING w.id, w.body, w.tries, w.received_at < now() - $3::interval AS old
        """,
        most,
        lease,
        PATIENCE,
    )
    return sorted((DueWebhook(**row) for row in rows), key=lambda each: each.id)


async def take_over(pool: Any) -> None:
    """What somebody has begun to work off who is no more is due. Two at once would do no harm."""
    await pool.execute("UPDATE webhooks SET next_at = now() WHERE status = 'received' AND next_at > now()")


async def finish(pool: Any, webhook_id: UUID, status: str, result: str) -> None:
    """It is processed, ignored or failed."""
    await pool.execute(
        "UPDATE webhooks SET status = $2, result = $3, next_at = NULL, processed_at = now() WHERE id = $1",
        webhook_id,
        status,
        result,
    )


async def put_off(pool: Any, webhook_id: UUID, wait_seconds: float, result: str) -> None:
    """It waits for what it is about."""
    await pool.execute(
        "UPDATE webhooks SET status = 'waiting', next_at = now() + $2::interval, result = $3 WHERE id = $1",
        webhook_id,
        timedelta(seconds=wait_seconds),
        result,
    )


async def page(connection: Connection, status: str | None, limit: int, offset: int) -> tuple[list[Webhook], int]:
    """Part of the inbox, newest first, and how many there are."""
    where, arguments = ("", []) if status is None else ("WHERE status = $3", [status])
    rows = await connection.fetch(
        f"SELECT {_COLUMNS} FROM webhooks {where} "  # noqa: S608 - constants
        "ORDER BY received_at DESC, id DESC LIMIT $1 OFFSET $2",
        limit,
        offset,
        *arguments,
    )
    if status is None:
        total = await connection.fetchval("SELECT count(*) FROM webhooks")
    else:
        total = await connection.fetchval("SELECT count(*) FROM webhooks WHERE status = $1", status)
    return [Webhook(**row) for row in rows], total


async def replay(pool: Any, webhook_id: UUID, by: AuditRow) -> Webhook:
    """Work it off once more, which changes nothing that it has changed before.

    Raises WebhookNotFound, and Conflict while it is still to be worked off.
    """
    async with transaction(pool) as connection:
        row = await connection.fetchrow("SELECT status FROM webhooks WHERE id = $1 FOR UPDATE", webhook_id)
        if row is None:
            raise WebhookNotFound
        if row["status"] == "received":
            raise Conflict("It is still to be worked off.")
        found = await connection.fetchrow(
            f"""
            UPDATE webhooks SET status = 'received', tries = 0, next_at = now(), processed_at = NULL
            WHERE id = $1 RETURNING {_COLUMNS}
            """,  # noqa: S608 - constants
            webhook_id,
        )
        await audit.record(connection, by)
        await wakeups.wake(connection, wakeups.WEBHOOKS)
        return Webhook(**found)
