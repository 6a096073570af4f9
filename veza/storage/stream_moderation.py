"""Moderators and sanctions of live streams as rows. What is appointed, imposed and lifted is the stream's shard's."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import msgspec

from veza.errors import PermissionDenied, StreamNotFound
from veza.realtime.events import Person
from veza.storage.database import Connection
from veza.storage.room_log import NOBODY

StreamAction = Literal["mute", "ban"]


class StreamModerator(msgspec.Struct, frozen=True):
    """Somebody who moderates a stream's chat, and since when."""

    user: Person
    created_at: datetime


class StreamSanction(msgspec.Struct, frozen=True):
    """`active`: it holds now. Without `until` it lasts until it is lifted."""

    id: UUID
    user: Person
    action: StreamAction
    reason: str
    by: Person
    created_at: datetime
    until: datetime | None
    lifted_at: datetime | None
    active: bool


class SanctionPosition(msgspec.Struct, frozen=True):
    """Where the next page begins: behind this sanction."""

    created_at: datetime
    id: UUID


_IN_FORCE = "lifted_at IS NULL AND (until IS NULL OR until > now())"


async def require_visible(connection: Connection, stream_id: UUID, viewer_id: UUID, *, by_admin: bool) -> None:
    """Raises StreamNotFound for who cannot see it."""
    await _moderates(connection, stream_id, viewer_id, by_admin=by_admin)


async def require_moderator(connection: Connection, stream_id: UUID, viewer_id: UUID, *, by_admin: bool) -> None:
    """Raises StreamNotFound for who cannot see it, PermissionDenied for who does not moderate it."""
    if not await _moderates(connection, stream_id, viewer_id, by_admin=by_admin):
        raise PermissionDenied


async def _moderates(connection: Connection, stream_id: UUID, viewer_id: UUID, *, by_admin: bool) -> bool:
    row = await connection.fetchrow(
        """
        SELECT user_id = $2 AS owned, is_private,
               EXISTS (SELECT FROM stream_moderators WHERE stream_id = $1 AND user_id = $2) AS appointed
        FROM streams WHERE id = $1
        """,
        stream_id,
        viewer_id,
    )
    # A private stream is its owner's alone, whoever else was appointed.
    if row is None or (row["is_private"] and not (row["owned"] or by_admin)):
        raise StreamNotFound
    return bool(row["owned"] or row["appointed"] or by_admin)


async def moderators(
    connection: Connection, stream_id: UUID, limit: int, offset: int
) -> tuple[list[StreamModerator], int]:
    """Part of a stream's moderators, latest first, and how many they are."""
    rows = await connection.fetch(
        """
        SELECT m.user_id, u.username, m.created_at
        FROM stream_moderators m JOIN users u ON u.id = m.user_id
        WHERE m.stream_id = $1
        ORDER BY m.created_at DESC, m.user_id DESC LIMIT $2 OFFSET $3
        """,
        stream_id,
        limit,
        offset,
    )
    total = await connection.fetchval("SELECT count(*) FROM stream_moderators WHERE stream_id = $1", stream_id)
    return [StreamModerator(Person(row["user_id"], row["username"]), row["created_at"]) for row in rows], total


async def sanctions(
    connection: Connection, stream_id: UUID, *, ended: bool, after: SanctionPosition | None, limit: int
) -> tuple[list[StreamSanction], int]:
    """Part of a stream's sanctions, newest first, and how many there are: in force, or with `ended` all there were."""
    only = "" if ended else f"AND {_IN_FORCE}"
    rows = await connection.fetch(
        f"""
        SELECT s.id, s.user_id, u.username, s.action, s.reason, s.by_id, b.username AS by_name, s.created_at, s.until,
               s.lifted_at, s.active
        FROM (SELECT *, {_IN_FORCE} AS active FROM stream_sanctions
              WHERE stream_id = $1 {only}
                AND (created_at, id) < (coalesce($2, 'infinity'::timestamptz),
                                        coalesce($3, 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid))
              ORDER BY created_at DESC, id DESC LIMIT $4) s
        JOIN users u ON u.id = s.user_id
        LEFT JOIN users b ON b.id = s.by_id
        ORDER BY s.created_at DESC, s.id DESC
        """,  # noqa: S608 - constants
        stream_id,
        after.created_at if after else None,
        after.id if after else None,
        limit,
    )
    total = await connection.fetchval(
        f"SELECT count(*) FROM stream_sanctions WHERE stream_id = $1 {only}",  # noqa: S608 - constants
        stream_id,
    )
    return [_sanction(row) for row in rows], total


def _sanction(row: Any) -> StreamSanction:
    return StreamSanction(
        row["id"],
        Person(row["user_id"], row["username"]),
        row["action"],
        row["reason"],
        NOBODY if row["by_name"] is None else Person(row["by_id"], row["by_name"]),
        row["created_at"],
        row["until"],
        row["lifted_at"],
        row["active"],
    )
