"""The partitions of the audit log."""

from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from veza.ids import new_id
from veza.storage import audit
from veza.storage.audit import AuditFilter, AuditRow

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)


def row(at: datetime, **fields: Any) -> AuditRow:
    given = {"user_id": None, "action": "POST", "resource": "/api/v1/x", "ip": "", "user_agent": "", "status": 200}
    return AuditRow(**{"id": new_id(), "request_id": "", "created_at": at, **given, **fields})


async def names(pool: Any) -> list[str]:
    query = "SELECT inhrelid::regclass::text AS n FROM pg_inherits WHERE inhparent = 'audit_log'::regclass ORDER BY 1"
    return [each["n"] for each in await pool.fetch(query)]


async def where(pool: Any, one: AuditRow) -> str:
    found: str = await pool.fetchval("SELECT tableoid::regclass::text FROM audit_log WHERE id = $1", one.id)
    return found


async def test_months_are_made_ahead_filled_and_dropped(pool: Any) -> None:
    early, later = row(NOW - timedelta(days=400)), row(NOW + timedelta(days=40))
    await audit.record_all(pool, [early, later])
    assert await where(pool, later) == "audit_log_rest"
    assert await audit.tend(pool, NOW, 13) == 0
    assert await names(pool) == ["audit_log_2026_11", "audit_log_2026_12", "audit_log_2027_01", "audit_log_rest"]
    # What came before its month was made has moved there.
    assert await where(pool, later) == "audit_log_2027_01"
    assert await audit.page(pool, AuditFilter(until=NOW - timedelta(days=399)), 10, 0) == ([early], 1)
    assert await audit.tend(pool, NOW, 12) == 0
    assert await audit.page(pool, AuditFilter(until=NOW - timedelta(days=399)), 10, 0) == ([], 0)
    assert await audit.tend(pool, NOW + timedelta(days=62), 1) == 1
    assert "audit_log_2026_11" not in await names(pool)
    assert "audit_log_2026_12" in await names(pool)


async def test_a_row_is_there_once(pool: Any) -> None:
    one = row(NOW, action="once", details={"reason": "spam", "until": None})
    await audit.record_all(pool, [one])
    await audit.record_all(pool, [one, one])
    assert await audit.page(pool, AuditFilter(action="once"), 10, 0) == ([one], 1)


async def test_a_count_has_an_end(pool: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [row(NOW - timedelta(hours=number), action="counted") for number in range(4)]
    await audit.record_all(pool, rows)
    wanted = AuditFilter(action="counted")
    assert await audit.page(pool, wanted, 2, 2) == (rows[2:], 4)
    monkeypatch.setattr(audit, "MOST_COUNTED", 3)
    assert await audit.page(pool, wanted, 2, 2) == (rows[2:], 3)


async def test_months_wait_for_who_reads_and_nobody_waits_for_them(pool: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "LOCK_S", 0.05)
    early, later = NOW + timedelta(days=1000), NOW + timedelta(days=1500)
    await audit.tend(pool, early, 100)
    await audit.tend(pool, later, 100)
    for now, keep in ((later, 13), (later + timedelta(days=31), 100)):
        before = await names(pool)
        async with pool.acquire() as reader, reader.transaction():
            await reader.fetch("SELECT FROM audit_log LIMIT 1")
            with pytest.raises(asyncpg.LockNotAvailableError):
                await audit.tend(pool, now, keep)
            await audit.record(pool, row(now))
        assert await names(pool) == before
        await audit.tend(pool, now, keep)
        assert await names(pool) != before
