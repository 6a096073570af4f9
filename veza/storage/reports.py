"""Reports: what people find amiss, and what administrators do about it."""

import enum
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from veza.errors import Conflict, InvalidArgument, NotFound, ReportNotFound, UserNotFound
from veza.ids import new_id
from veza.realtime.events import Person
from veza.storage import account_admin, audit, notifications, reportable
from veza.storage.audit import AuditRow
from veza.storage.control_log import ControlEvent
from veza.storage.database import Connection, transaction
from veza.storage.notifications import NotificationKind
from veza.storage.reportable import ContentType


class Status(enum.StrEnum):
    PENDING = "pending"
    RESOLVED = "resolved"
    DISMISSED = "dismissed"


class Action(enum.StrEnum):
    """`ban` and `warn` are about the author of what was reported."""

    RESOLVE = "resolve"
    DISMISS = "dismiss"
    BAN = "ban"
    WARN = "warn"


class Filed(msgspec.Struct, frozen=True):
    """A report as whoever made it sees it."""

    id: UUID
    content_type: ContentType
    content_id: UUID
    reason: str
    status: Status
    created_at: datetime


class Report(msgspec.Struct, frozen=True):
    """A report as administrators see it. `excerpt` is how the content begins now, null when it is gone."""

    id: UUID
    content_type: ContentType
    content_id: UUID
    excerpt: str | None
    reason: str
    status: Status
    action: Action | None
    reporter: Person
    author: Person
    resolved_by: Person | None
    resolved_at: datetime | None
    created_at: datetime


async def file(
    connection: Connection, reporter_id: UUID, kind: ContentType, content_id: UUID, reason: str
) -> tuple[Filed, bool]:
    """Report something; whether the report is new. While one waits, the same person's next about it is that one.

    Raises NotFound for content that is unknown or that they cannot see, InvalidArgument for their own.
    """
    content = (await reportable.find(connection, kind, [content_id], reporter_id)).get(content_id)
    if content is None:
        raise NotFound
    if content.author_id == reporter_id:
        raise InvalidArgument("You cannot report what is your own.", (("content_id", "is your own"),))
    report_id = new_id()
    row = await connection.fetchrow(
        """
        INSERT INTO reports (id, reporter_id, content_type, content_id, author_id, reason)
        VALUES ($1, $2, $3, $4, $5, $6)
        ON CONFLICT (reporter_id, content_type, content_id) WHERE status = 'pending'
        DO UPDATE SET reason = reports.reason
        RETURNING id, content_type, content_id, reason, status, created_at
        """,
        report_id,
        reporter_id,
        kind.value,
        content_id,
        content.author_id,
        reason,
    )
    return msgspec.convert(dict(row), Filed), row["id"] == report_id


_SELECT = """
    SELECT r.id, r.content_type, r.content_id, r.reason, r.status, r.action, r.resolved_at, r.created_at,
           r.reporter_id, reporter.username AS reporter_name, r.author_id, author.username AS author_name,
           r.resolved_by_id, resolver.username AS resolver_name
    FROM reports r
    JOIN users reporter ON reporter.id = r.reporter_id
    JOIN users author ON author.id = r.author_id
    LEFT JOIN users resolver ON resolver.id = r.resolved_by_id
    """


async def page(connection: Connection, status: Status | None, limit: int, offset: int) -> tuple[list[Report], int]:
    """Part of the reports with a status (None: of all), newest first, and how many those are."""
    where, arguments = ("", []) if status is None else ("WHERE r.status = $3", [status.value])
    rows = await connection.fetch(
        f"{_SELECT} {where} ORDER BY r.created_at DESC, r.id DESC LIMIT $1 OFFSET $2", limit, offset, *arguments
    )
    return await _reports(connection, rows), await _count(connection, status)


async def _count(connection: Connection, status: Status | None) -> int:
    if status is None:
        return int(await connection.fetchval("SELECT count(*) FROM reports"))
    return int(await connection.fetchval("SELECT count(*) FROM reports WHERE status = $1", status.value))


async def resolve(pool: Any, report_id: UUID, action: Action, by: AuditRow) -> tuple[Report, tuple[ControlEvent, ...]]:
    """Close a report, with what that does to the author. Of several at once one wins.

    Raises ReportNotFound; Conflict when it is closed already, or when the author cannot be banned.
    """
    async with transaction(pool) as connection:
        row = await connection.fetchrow(
            "SELECT status, author_id, content_type, content_id FROM reports WHERE id = $1 FOR UPDATE", report_id
        )
        if row is None:
            raise ReportNotFound
        if row["status"] != Status.PENDING:
            raise Conflict("This report was closed before.")
        events = await _act(connection, report_id, row, action, by)
        await connection.execute(
            "UPDATE reports SET status = $2, action = $3, resolved_by_id = $4, resolved_at = now() WHERE id = $1",
            report_id,
            (Status.DISMISSED if action is Action.DISMISS else Status.RESOLVED).value,
            action.value,
            by.user_id,
        )
        await audit.record(connection, by)
        [report] = await _reports(connection, await connection.fetch(f"{_SELECT} WHERE r.id = $1", report_id))
    return report, events


async def _act(
    connection: Connection, report_id: UUID, row: Any, action: Action, by: AuditRow
) -> tuple[ControlEvent, ...]:
    if action is Action.BAN:
        try:
            return await account_admin.shut_out(connection, row["author_id"], None, by)
        except UserNotFound as error:
            raise Conflict("The author's account is deleted.") from error
    if action is Action.WARN:
        told = {
            "action": "warn",
            "report_id": report_id,
            "content_type": row["content_type"],
            "content_id": row["content_id"],
        }
        await notifications.add(connection, [row["author_id"]], NotificationKind.MODERATION, told)
    return ()


async def _reports(connection: Connection, rows: list[Any]) -> list[Report]:
    """Rows as reports; what they are about is read once a kind."""
    found = {
        kind: await reportable.find(
            connection, kind, [row["content_id"] for row in rows if row["content_type"] == kind]
        )
        for kind in {ContentType(row["content_type"]) for row in rows}
    }
    return [_report(row, found[ContentType(row["content_type"])].get(row["content_id"])) for row in rows]


def _report(row: Any, content: reportable.Content | None) -> Report:
    return Report(
        id=row["id"],
        content_type=ContentType(row["content_type"]),
        content_id=row["content_id"],
        excerpt=None if content is None else content.excerpt,
        reason=row["reason"],
        status=Status(row["status"]),
        action=None if row["action"] is None else Action(row["action"]),
        reporter=Person(row["reporter_id"], row["reporter_name"]),
        author=Person(row["author_id"], row["author_name"]),
        resolved_by=None if row["resolver_name"] is None else Person(row["resolved_by_id"], row["resolver_name"]),
        resolved_at=row["resolved_at"],
        created_at=row["created_at"],
    )
