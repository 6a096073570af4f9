"""What administrators turn on and off for everybody: feature flags and maintenance mode.

Each change is one transaction with its row of the audit log and its control event, by which every gateway learns of it.
"""

from datetime import datetime
from typing import Any

import msgspec

from veza.realtime.events import Person
from veza.storage import audit, control_log
from veza.storage.audit import AuditRow
from veza.storage.control_log import ControlEvent, ControlKind
from veza.storage.database import Connection, transaction


class Flag(msgspec.Struct, frozen=True):
    """A flag that somebody set. `updated_by` is null for the command line, and for who is gone."""

    name: str
    enabled: bool
    updated_at: datetime
    updated_by: Person | None


class Maintenance(msgspec.Struct, frozen=True):
    """`message` is what people are told in place of the usual sentence. `updated_at` is null while it never was on."""

    enabled: bool
    message: str | None
    updated_at: datetime | None
    updated_by: Person | None


class State(msgspec.Struct, frozen=True):
    """What a gateway keeps in memory."""

    flags: dict[str, bool]
    maintenance: bool
    message: str | None


async def load(connection: Connection) -> State:
    """Everything as it is now."""
    rows = await connection.fetch(
        """
        SELECT m.enabled AS maintenance, m.message, f.name, f.enabled
        FROM maintenance m LEFT JOIN feature_flags f ON true
        """
    )
    flags = {row["name"]: row["enabled"] for row in rows if row["name"] is not None}
    return State(flags, rows[0]["maintenance"], rows[0]["message"])


async def flags(connection: Connection) -> list[Flag]:
    """The flags that somebody set, by name."""
    rows = await connection.fetch(
        """
        SELECT f.name, f.enabled, f.updated_at, u.id AS by_id, u.username AS by_name
        FROM feature_flags f LEFT JOIN users u ON u.id = f.updated_by_id
        ORDER BY f.name
        """
    )
    return [Flag(row["name"], row["enabled"], row["updated_at"], _person(row)) for row in rows]


async def set_flag(pool: Any, name: str, enabled: bool, by: AuditRow) -> Flag:
    """Turn a flag on or off; one that is not there is made."""
    async with transaction(pool) as connection:
        row = await connection.fetchrow(
            """
            WITH changed AS (
                INSERT INTO feature_flags (name, enabled, updated_by_id) VALUES ($1, $2, $3)
                ON CONFLICT (name) DO UPDATE
                SET enabled = excluded.enabled, updated_by_id = excluded.updated_by_id, updated_at = now()
                RETURNING *
            )
            SELECT c.name, c.enabled, c.updated_at, u.id AS by_id, u.username AS by_name
            FROM changed c LEFT JOIN users u ON u.id = c.updated_by_id
            """,
            name,
            enabled,
            by.user_id,
        )
        await audit.record(connection, by)
        await control_log.append(connection, ControlEvent(ControlKind.FLAGS_CHANGED, name))
    return Flag(row["name"], row["enabled"], row["updated_at"], _person(row))


async def maintenance(connection: Connection) -> Maintenance:
    """Whether the platform is closed, and who said so."""
    row = await connection.fetchrow(
        """
        SELECT m.enabled, m.message, m.updated_at, u.id AS by_id, u.username AS by_name
        FROM maintenance m LEFT JOIN users u ON u.id = m.updated_by_id
        """
    )
    return Maintenance(row["enabled"], row["message"], row["updated_at"], _person(row))


async def set_maintenance(pool: Any, enabled: bool, message: str | None, by: AuditRow) -> Maintenance:
    """Close the platform for all but administrators, or open it."""
    async with transaction(pool) as connection:
        await connection.execute(
            "UPDATE maintenance SET enabled = $1, message = $2, updated_by_id = $3, updated_at = now()",
            enabled,
            message,
            by.user_id,
        )
        found = await maintenance(connection)
        await audit.record(connection, by)
        await control_log.append(connection, ControlEvent(ControlKind.MAINTENANCE_CHANGED, ""))
    return found


def _person(row: Any) -> Person | None:
    return None if row["by_id"] is None else Person(row["by_id"], row["by_name"])
