"""Removes rows that have had their day, a bounded batch at a time; running twice, or in two places, is harmless."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

from veza.storage import attachments, notifications, retention
from veza.storage.login_guard import WINDOW

# Small enough that a batch holds its locks for milliseconds.
BATCH = 1000
DAY = timedelta(days=1)

# Table, which of its rows go, and how long after the moment named there.
_EXPIRED: tuple[tuple[str, str, timedelta], ...] = (
    ("refresh_tokens", "expires_at < now() - $1::interval", timedelta(0)),
    ("sessions", "expires_at < now() - $1::interval", DAY),
    ("login_failures", "failed_at < now() - $1::interval", WINDOW),
    ("control_log", "created_at < now() - $1::interval", DAY),
    ("idempotency_keys", "created_at < now() - $1::interval", DAY),
    # An hour after nobody can use them any more.
    ("attachments", "message_id IS NULL AND created_at < now() - $1::interval", timedelta(hours=25)),
    (
        "product_files",
        "created_at < now() - $1::interval AND NOT EXISTS (SELECT FROM products p WHERE p.file_id = product_files.id)",
        timedelta(hours=25),
    ),
    # Longer than any provider sends one again; they hold names and addresses of buyers.
    ("webhooks", "status IN ('processed', 'ignored') AND received_at < now() - $1::interval", timedelta(days=90)),
    ("notifications", "read_at < now() - $1::interval", notifications.KEPT_READ),
    (
        "notifications",
        "read_at IS NULL AND created_at < now() - $1::interval AND "
        # What its index is of.
        "(created_at AT TIME ZONE 'UTC')::date <= ((now() - $1::interval) AT TIME ZONE 'UTC')::date",
        notifications.KEPT_UNREAD,
    ),
)


async def sweep(pool: Any) -> dict[str, int]:
    """Sweep every table; returns how many rows went from each."""
    removed: Counter[str] = Counter()
    for table, condition, age in _EXPIRED:
        removed[table] += await _sweep(pool, table, condition, age)
    removed["room_events"] = await retention.prune(pool, datetime.now(UTC))
    removed["attachments"] += await attachments.sweep_deleted_rooms(pool)
    return dict(removed)


async def _sweep(pool: Any, table: str, condition: str, age: timedelta) -> int:
    # The names come from the table above, never from outside.
    statement = (
        f"DELETE FROM {table} WHERE ctid = ANY(ARRAY("  # noqa: S608
        f"SELECT ctid FROM {table} WHERE {condition} LIMIT {BATCH} FOR UPDATE SKIP LOCKED))"
    )
    removed = 0
    while True:
        done = int((await pool.execute(statement, age)).rpartition(" ")[2])
        removed += done
        if done < BATCH:
            return removed
