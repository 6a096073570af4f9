"""Sanctions of a room as rows. What is imposed and lifted is its shard's."""

from typing import Any
from uuid import UUID

from veza.realtime.events import Person
from veza.storage.database import Connection
from veza.storage.room_log import NOBODY


async def of_room(connection: Connection, room_id: UUID, limit: int, offset: int) -> tuple[list[dict[str, Any]], int]:
    """A page of what was ever imposed in a room, newest first, and how many there are in all."""
    rows = await connection.fetch(
        """
        SELECT s.id, s.action, s.reason, s.until, s.created_at, s.lifted_at, s.user_id, u.username, s.by_id,
               b.username AS by_name, count(*) OVER () AS total,
               s.lifted_at IS NULL AND (s.action = 'warn' OR (s.action IN ('mute', 'ban')
                   AND (s.until IS NULL OR s.until > now()))) AS active
        FROM room_sanctions s
        JOIN users u ON u.id = s.user_id
        LEFT JOIN users b ON b.id = s.by_id
        WHERE s.room_id = $1
        ORDER BY s.created_at DESC, s.id
        LIMIT $2 OFFSET $3
        """,
        room_id,
        limit,
        offset,
    )
    found = [
        {
            "id": row["id"],
            "user": Person(row["user_id"], row["username"]),
            "action": row["action"],
            "reason": row["reason"],
            "by": Person(row["by_id"], row["by_name"]) if row["by_name"] else NOBODY,
            "until": row["until"],
            "created_at": row["created_at"],
            "lifted_at": row["lifted_at"],
            "active": row["active"],
        }
        for row in rows
    ]
    if rows or not offset:
        return found, rows[0]["total"] if rows else 0
    return [], await connection.fetchval("SELECT count(*) FROM room_sanctions WHERE room_id = $1", room_id)
