"""Announcements: something for everybody to read, for a time."""

import enum
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg
import msgspec

from veza.errors import AnnouncementNotFound, InvalidArgument
from veza.ids import new_id
from veza.storage import audit, control_log
from veza.storage.audit import AuditRow
from veza.storage.control_log import ControlEvent, ControlKind
from veza.storage.database import Connection, transaction

# More than a page has room for at once.
MOST_ACTIVE = 100


class AnnouncementType(enum.StrEnum):
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class Announcement(msgspec.Struct, frozen=True):
    """Shown from `starts_at` until `ends_at`; null: until it is deleted."""

    id: UUID
    title: str
    content: str
    type: AnnouncementType
    starts_at: datetime
    ends_at: datetime | None
    created_at: datetime


_COLUMNS = "id, title, content, type, starts_at, ends_at, created_at"


async def active(connection: Connection) -> list[Announcement]:
    """What is to be shown now, newest first."""
    rows = await connection.fetch(
        f"""
        SELECT {_COLUMNS} FROM announcements
        WHERE starts_at <= now() AND (ends_at IS NULL OR ends_at > now())
        ORDER BY starts_at DESC, id DESC
        LIMIT {MOST_ACTIVE}
        """  # noqa: S608 - constants
    )
    return [_announcement(row) for row in rows]


async def page(connection: Connection, limit: int, offset: int) -> tuple[list[Announcement], int]:
    """Part of all announcements, those that start last first, and how many there are."""
    rows = await connection.fetch(
        f"SELECT {_COLUMNS} FROM announcements ORDER BY starts_at DESC, id DESC LIMIT $1 OFFSET $2",  # noqa: S608
        limit,
        offset,
    )
    return [_announcement(row) for row in rows], await connection.fetchval("SELECT count(*) FROM announcements")


async def find_active(connection: Connection, announcement_id: UUID) -> Announcement | None:
    """One announcement, if it is to be shown now."""
    row = await connection.fetchrow(
        f"""
        SELECT {_COLUMNS} FROM announcements
        WHERE id = $1 AND starts_at <= now() AND (ends_at IS NULL OR ends_at > now())
        """,  # noqa: S608 - a constant
        announcement_id,
    )
    return None if row is None else _announcement(row)


async def create(
    pool: Any,
    by: AuditRow,
    *,
    title: str,
    content: str,
    kind: AnnouncementType,
    starts_at: datetime | None,
    ends_at: datetime | None,
) -> Announcement:
    """Announce something, from `starts_at` (None: now). Raises InvalidArgument when it would end before it starts."""
    async with transaction(pool) as connection:
        try:
            row = await connection.fetchrow(
                f"""
                INSERT INTO announcements (id, title, content, type, starts_at, ends_at, created_by_id)
                VALUES ($1, $2, $3, $4, coalesce($5, now()), $6, $7)
                RETURNING {_COLUMNS}
                """,  # noqa: S608 - a constant
                new_id(),
                title,
                content,
                kind.value,
                starts_at,
                ends_at,
                by.user_id,
            )
        except asyncpg.CheckViolationError as error:
            raise InvalidArgument("ends_at must come after the start.", (("ends_at", "is not after"),)) from error
        await audit.record(connection, by)
        await control_log.append(connection, ControlEvent(ControlKind.ANNOUNCED, str(row["id"])))
    return _announcement(row)


async def delete(pool: Any, announcement_id: UUID, by: AuditRow) -> None:
    """Take an announcement back. Raises AnnouncementNotFound."""
    async with transaction(pool) as connection:
        if not await connection.fetchval("DELETE FROM announcements WHERE id = $1 RETURNING true", announcement_id):
            raise AnnouncementNotFound
        await audit.record(connection, by)


async def unwilling(connection: Connection, user_ids: list[UUID]) -> set[UUID]:
    """Which of these people turned notifications of announcements off."""
    rows = await connection.fetch(
        """
        SELECT user_id FROM notification_preferences
        WHERE user_id = ANY ($1) AND kind = 'announcement' AND NOT enabled
        """,
        user_ids,
    )
    return {row["user_id"] for row in rows}


def _announcement(row: Any) -> Announcement:
    return Announcement(
        row["id"],
        row["title"],
        row["content"],
        AnnouncementType(row["type"]),
        row["starts_at"],
        row["ends_at"],
        row["created_at"],
    )
