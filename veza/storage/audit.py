"""The audit log: who did what, from where. A row of an administrator's action is part of the action's transaction.

The table has a partition a month, so that old months go without a trace of bloat.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec

from veza.storage.database import Connection, sql, transaction

# Counting more takes longer than an answer may, and nobody turns so many pages.
MOST_COUNTED = 100_000
# Partitions are made so many months ahead.
AHEAD = 2
# Any number, as long as nothing else in the database locks it.
LOCK_KEY = 0x61756469
LOCK_S = 2


class AuditRow(msgspec.Struct, frozen=True):
    """One action. `resource` is the path; `details` hold no secret."""

    id: UUID
    user_id: UUID | None
    action: str
    resource: str
    ip: str
    user_agent: str
    status: int
    request_id: str
    created_at: datetime
    details: dict[str, Any] = {}


class AuditFilter(msgspec.Struct, frozen=True):
    """What must be true of a row; None is true of all. `resource` is what it begins with, `until` is not included."""

    user_id: UUID | None = None
    action: str | None = None
    resource: str | None = None
    ip: str | None = None
    status: int | None = None
    since: datetime | None = None
    until: datetime | None = None


async def record(connection: Connection, row: AuditRow) -> None:
    """Write a row inside the caller's transaction."""
    await record_all(connection, [row])


async def record_all(connection: Connection, rows: Sequence[AuditRow]) -> None:
    """Write rows in one statement; one that is there already stays as it is."""
    await connection.execute(
        sql("audit_insert"),
        [row.id for row in rows],
        [row.user_id for row in rows],
        [row.action for row in rows],
        [row.resource for row in rows],
        [row.ip for row in rows],
        [row.user_agent for row in rows],
        [row.status for row in rows],
        [row.request_id for row in rows],
        [row.created_at for row in rows],
        [msgspec.json.encode(row.details).decode() for row in rows],
    )


async def page(pool: Any, wanted: AuditFilter, limit: int, offset: int) -> tuple[list[AuditRow], int]:
    """Rows, newest first, and how many there are in all: at most MOST_COUNTED, since the log may have any length."""
    conditions, values = _conditions(wanted)
    # The conditions are texts of this module; what was asked for goes in as parameters.
    where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
    # Of one moment, so that no page has more rows than there are in all.
    async with (
        pool.acquire() as connection,
        connection.transaction(isolation="repeatable_read", readonly=True),
    ):
        # Which index serves depends on what is asked for, also where the statement is the same.
        await connection.execute("SET LOCAL plan_cache_mode = force_custom_plan")
        total = await connection.fetchval(
            f"SELECT count(*) FROM (SELECT FROM audit_log {where} LIMIT {MOST_COUNTED}) AS found",  # noqa: S608
            *values,
        )
        rows = await connection.fetch(
            f"SELECT * FROM audit_log {where} ORDER BY created_at DESC, id DESC "  # noqa: S608
            f"LIMIT ${len(values) + 1} OFFSET ${len(values) + 2}",
            *values,
            limit,
            offset,
        )
    return [AuditRow(**dict(row)) for row in rows], total


def _conditions(wanted: AuditFilter) -> tuple[list[str], list[object]]:
    conditions: list[str] = []
    values: list[object] = []
    for value, condition in (
        (wanted.user_id, "user_id = ${}"),
        (wanted.action, "action = ${}"),
        (None if wanted.resource is None else _beginning(wanted.resource), "resource LIKE ${}"),
        (wanted.ip, "ip = ${}"),
        (wanted.status, "status = ${}"),
        (wanted.since, "created_at >= ${}"),
        (wanted.until, "created_at < ${}"),
    ):
        if value is not None:
            values.append(value)
            conditions.append(condition.format(len(values)))
    return conditions, values


def _beginning(text: str) -> str:
    """The pattern of LIKE for what begins so."""
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"


# -- partitions --------------------------------------------------------------------------------------------------


async def tend(pool: Any, now: datetime, keep_months: int) -> int:
    """Make the partitions of this month and the next ones, and drop those of which every row is older than
    `keep_months` whole months. Returns how many were dropped. Running twice, or in two places, is harmless.
    """
    for months in range(AHEAD + 1):
        async with _tending(pool) as (connection, present):
            start = _month(now, months)
            if _name(start) not in present:
                await _make(connection, start, _month(now, months + 1))
    oldest_kept = _month(now, -keep_months)
    await pool.execute("DELETE FROM audit_log_rest WHERE created_at < $1", oldest_kept)
    dropped = 0
    while True:
        async with _tending(pool) as (connection, present):
            old = [name for name in present if name.startswith("audit_log_2") and name < _name(oldest_kept)]
            if not old:
                return dropped
            await connection.execute(f"DROP TABLE {min(old)}")
            dropped += 1


@asynccontextmanager
async def _tending(pool: Any) -> AsyncIterator[tuple[Any, set[str]]]:
    """A transaction that changes one partition, and the names of those there are.

    One each, since it locks what writers and readers lock in another order. And it gives up soon: whoever comes later
    waits behind it, also for a search that it waits for.
    """
    async with transaction(pool) as connection:
        await connection.execute("SELECT pg_advisory_xact_lock($1)", LOCK_KEY)
        await connection.execute(f"SET LOCAL lock_timeout = '{LOCK_S}s'")
        rows = await connection.fetch(
            "SELECT inhrelid::regclass::text AS name FROM pg_inherits WHERE inhparent = 'audit_log'::regclass"
        )
        yield connection, {row["name"] for row in rows}


def _month(now: datetime, later: int) -> datetime:
    """The beginning of the month so many months after that of `now`."""
    number = now.year * 12 + now.month - 1 + later
    return datetime(number // 12, number % 12 + 1, 1, tzinfo=UTC)


def _name(start: datetime) -> str:
    return f"audit_log_{start:%Y_%m}"


async def _make(connection: Connection, start: datetime, end: datetime) -> None:
    """A partition, with what lies in the default one of its time. Names and times are made here, from numbers."""
    name, bounds = _name(start), f"created_at >= '{start:%Y-%m-%d}Z' AND created_at < '{end:%Y-%m-%d}Z'"
    await connection.execute(f"CREATE TABLE {name} (LIKE audit_log INCLUDING DEFAULTS INCLUDING CONSTRAINTS)")
    await connection.execute("LOCK TABLE audit_log_rest IN ACCESS EXCLUSIVE MODE")
    await connection.execute(
        f"WITH moved AS (DELETE FROM audit_log_rest WHERE {bounds} RETURNING *) "  # noqa: S608
        f"INSERT INTO {name} SELECT * FROM moved"
    )
    await connection.execute(
        f"ALTER TABLE audit_log ATTACH PARTITION {name} FOR VALUES FROM ('{start:%Y-%m-%d}Z') TO ('{end:%Y-%m-%d}Z')"
    )
