"""Who blocked whom. What follows from it in a direct room is the room's shard's."""

from datetime import datetime
from uuid import UUID

import msgspec

from veza.errors import InvalidArgument, UserNotFound
from veza.realtime.events import Person
from veza.storage.database import Connection


class Block(msgspec.Struct, frozen=True):
    """A person blocked by the asker, and since when."""

    user: Person
    created_at: datetime


async def block(connection: Connection, blocker_id: UUID, blocked_id: UUID) -> None:
    """Block a person: neither follows the other any more. Again is harmless.

    Raises InvalidArgument for oneself, UserNotFound.
    """
    if blocker_id == blocked_id:
        raise InvalidArgument("You cannot block yourself.")
    known = await connection.fetchval(
        """
        WITH known AS (
            SELECT id FROM users WHERE id = $2 AND deleted_at IS NULL
        ), blocked AS (
            INSERT INTO blocks (blocker_id, blocked_id) SELECT $1, id FROM known ON CONFLICT DO NOTHING
        ), unfollowed AS (
            DELETE FROM follows
            WHERE follower_id = $1 AND followed_id = $2 OR follower_id = $2 AND followed_id = $1
        )
        SELECT EXISTS (SELECT FROM known)
        """,
        blocker_id,
        blocked_id,
    )
    if not known:
        raise UserNotFound


async def unblock(connection: Connection, blocker_id: UUID, blocked_id: UUID) -> None:
    """Take a block back; without one it is harmless."""
    await connection.execute("DELETE FROM blocks WHERE blocker_id = $1 AND blocked_id = $2", blocker_id, blocked_id)


async def has_blocked(connection: Connection, blocker_id: UUID, blocked_id: UUID) -> bool:
    """Whether the first has blocked the second."""
    found: bool = await connection.fetchval(
        "SELECT EXISTS (SELECT FROM blocks WHERE blocker_id = $1 AND blocked_id = $2)", blocker_id, blocked_id
    )
    return found


async def blocked_between(connection: Connection, one: UUID, other: UUID) -> bool:
    """Whether either of two people has blocked the other."""
    found: bool = await connection.fetchval(
        """
        SELECT EXISTS (SELECT FROM blocks WHERE blocker_id = $1 AND blocked_id = $2)
            OR EXISTS (SELECT FROM blocks WHERE blocker_id = $2 AND blocked_id = $1)
        """,
        one,
        other,
    )
    return found


async def list_of(connection: Connection, blocker_id: UUID, limit: int, offset: int) -> tuple[list[Block], int]:
    """A page of those whom a person blocked, latest first, and how many there are in all."""
    rows = await connection.fetch(
        """
        SELECT b.blocked_id, u.username, b.created_at
        FROM blocks b JOIN users u ON u.id = b.blocked_id
        WHERE b.blocker_id = $1
        ORDER BY b.created_at DESC, b.blocked_id
        LIMIT $2 OFFSET $3
        """,
        blocker_id,
        limit,
        offset,
    )
    total = await connection.fetchval("SELECT count(*) FROM blocks WHERE blocker_id = $1", blocker_id)
    return [Block(Person(row["blocked_id"], row["username"]), row["created_at"]) for row in rows], total
