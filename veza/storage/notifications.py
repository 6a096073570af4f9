"""Notifications: what happened to a person, stored, pushed to their sockets by the owner of their partition, and read
over REST.

Whatever happened and its notification are one transaction: call `add` inside it.
"""

import enum
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec

from veza.ids import new_id
from veza.storage.database import Connection

CHANNEL = "veza_notifications"
# How long one is kept after it was read, and one that nobody reads after it came.
KEPT_READ = timedelta(days=30)
KEPT_UNREAD = timedelta(days=180)


class NotificationKind(enum.StrEnum):
    EXPORT_READY = "export_ready"
    ORDER_PAID = "order_paid"
    SALE = "sale"
    REFUND = "refund"
    TRANSFER_COMPLETED = "transfer_completed"
    TRANSFER_FAILED = "transfer_failed"
    COMMENT = "comment"
    LIKE = "like"
    FOLLOW = "follow"
    MENTION = "mention"
    STREAM_STARTED = "stream_started"
    MODERATION = "moderation"
    ANNOUNCEMENT = "announcement"


class Notification(msgspec.Struct, frozen=True):
    """`data` depends on the kind. `read_at` is null until the person marks it read."""

    id: UUID
    kind: NotificationKind
    data: dict[str, Any]
    created_at: datetime
    read_at: datetime | None


class Unpushed(msgspec.Struct, frozen=True):
    """A notification on its way to a person's sockets."""

    id: UUID
    user_id: UUID
    kind: str
    data: dict[str, Any]
    created_at: datetime


class Position(msgspec.Struct, frozen=True):
    """Where a page of the list begins: after this notification."""

    created_at: datetime
    id: UUID


class Counts(msgspec.Struct, frozen=True):
    total: int
    unread: int


class Notice(msgspec.Struct, frozen=True):
    """What one person is told, when many are told different things."""

    user_id: UUID
    kind: NotificationKind
    data: dict[str, Any]


async def add(
    connection: Connection,
    user_ids: Iterable[UUID],
    kind: NotificationKind,
    data: Mapping[str, Any],
    *,
    actor_id: UUID | None = None,
) -> None:
    """Notify people; it becomes true with the caller's transaction.

    Skips who turned the kind off and whose account is deleted. `actor_id` is who did it: they are not told of it
    themselves, nor is who blocked them, moderation apart.
    """
    recipients = list(dict.fromkeys(user_ids))
    await connection.execute(
        """
        INSERT INTO notifications (id, user_id, kind, data)
        SELECT n.id, n.user_id, $3, $4
        FROM unnest($1::uuid[], $2::uuid[]) AS n (id, user_id)
        JOIN users u ON u.id = n.user_id AND u.deleted_at IS NULL
        WHERE n.user_id IS DISTINCT FROM $5::uuid
          AND NOT EXISTS (SELECT FROM notification_preferences p
                          WHERE p.user_id = n.user_id AND p.kind = $3 AND NOT p.enabled)
          AND ($3 = 'moderation'
               OR NOT EXISTS (SELECT FROM blocks b WHERE b.blocker_id = n.user_id AND b.blocked_id = $5))
        """,
        [new_id() for _ in recipients],
        recipients,
        kind.value,
        dict(data),
        actor_id,
    )


async def add_each(connection: Connection, notices: Iterable[Notice]) -> None:
    """Notify many people, each of something else that nobody else did; as `add`."""
    told = list(notices)
    await connection.execute(
        """
        INSERT INTO notifications (id, user_id, kind, data)
        SELECT n.id, n.user_id, n.kind, n.data
        FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::jsonb[]) AS n (id, user_id, kind, data)
        JOIN users u ON u.id = n.user_id AND u.deleted_at IS NULL
        WHERE NOT EXISTS (SELECT FROM notification_preferences p
                          WHERE p.user_id = n.user_id AND p.kind = n.kind AND NOT p.enabled)
        """,
        [new_id() for _ in told],
        [each.user_id for each in told],
        [each.kind.value for each in told],
        [each.data for each in told],
    )


# -- reading -----------------------------------------------------------------------------------------------------


async def page(
    connection: Connection, user_id: UUID, *, unread: bool, after: Position | None, limit: int, offset: int
) -> list[Notification]:
    """Part of a person's notifications, newest first."""
    only_unread = "AND read_at IS NULL" if unread else ""
    rows = await connection.fetch(
        f"""
        SELECT id, kind, data, created_at, read_at FROM notifications
        WHERE user_id = $1 {only_unread}
          AND (created_at, id) < (coalesce($2, 'infinity'::timestamptz),
                                  coalesce($3, 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid))
        ORDER BY created_at DESC, id DESC
        LIMIT $4 OFFSET $5
        """,  # noqa: S608 - a constant
        user_id,
        after.created_at if after else None,
        after.id if after else None,
        limit,
        offset,
    )
    return [
        Notification(row["id"], NotificationKind(row["kind"]), row["data"], row["created_at"], row["read_at"])
        for row in rows
    ]


async def counts(connection: Connection, user_id: UUID) -> Counts:
    """How many notifications a person has."""
    row = await connection.fetchrow(
        """
        SELECT (SELECT count(*) FROM notifications WHERE user_id = $1) AS total,
               (SELECT count(*) FROM notifications WHERE user_id = $1 AND read_at IS NULL) AS unread
        """,
        user_id,
    )
    return Counts(row["total"], row["unread"])


async def mark_read(connection: Connection, user_id: UUID, ids: Iterable[UUID] | None) -> int:
    """Mark these notifications of a person read, all of theirs for None. Returns how many were not read before."""
    if ids is None:
        done = await connection.execute(
            "UPDATE notifications SET read_at = now() WHERE user_id = $1 AND read_at IS NULL", user_id
        )
    else:
        done = await connection.execute(
            "UPDATE notifications SET read_at = now() WHERE id = ANY ($2::uuid[]) AND user_id = $1 AND read_at IS NULL",
            user_id,
            list(ids),
        )
    return int(done.rpartition(" ")[2])


# -- preferences -------------------------------------------------------------------------------------------------


async def preferences(connection: Connection, user_id: UUID) -> dict[NotificationKind, bool]:
    """Which kinds a person wants: every kind, true unless turned off."""
    rows = await connection.fetch("SELECT kind, enabled FROM notification_preferences WHERE user_id = $1", user_id)
    chosen = {row["kind"]: row["enabled"] for row in rows}
    return {kind: chosen.get(kind.value, True) for kind in NotificationKind}


async def set_preferences(connection: Connection, user_id: UUID, wanted: Mapping[NotificationKind, bool]) -> None:
    """Turn kinds on or off; others stay as they are."""
    await connection.execute(
        """
        INSERT INTO notification_preferences (user_id, kind, enabled)
        SELECT $1, w.kind, w.enabled FROM unnest($2::text[], $3::boolean[]) AS w (kind, enabled)
        ORDER BY w.kind
        ON CONFLICT (user_id, kind) DO UPDATE SET enabled = excluded.enabled
        """,
        user_id,
        [kind.value for kind in wanted],
        list(wanted.values()),
    )


# -- pushing -----------------------------------------------------------------------------------------------------


async def unpushed(connection: Connection, epochs: Mapping[int, int], limit: int) -> list[Unpushed]:
    """The oldest notifications that nobody pushed yet, of the partitions that are still owned under these epochs."""
    rows = await connection.fetch(
        """
        SELECT n.id, n.user_id, n.kind, n.data, n.created_at
        FROM unnest($1::int[], $2::bigint[]) AS mine (partition, epoch)
        JOIN partition_owner USING (partition, epoch)
        CROSS JOIN LATERAL (
            SELECT * FROM notifications n
            WHERE n.partition = mine.partition AND NOT n.pushed
            ORDER BY n.created_at, n.id
            LIMIT $3
        ) n
        LIMIT $3
        """,
        list(epochs.keys()),
        list(epochs.values()),
        limit,
    )
    return [Unpushed(**row) for row in rows]


async def mark_pushed(connection: Connection, ids: Iterable[UUID]) -> None:
    await connection.execute("UPDATE notifications SET pushed = true WHERE id = ANY ($1::uuid[])", list(ids))
