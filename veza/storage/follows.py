"""Who follows whom."""

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from veza.errors import InvalidArgument, UserBlocked, UserNotFound
from veza.realtime.events import Person
from veza.storage import blocks, notifications
from veza.storage.database import Connection, transaction
from veza.storage.notifications import NotificationKind


class Follow(msgspec.Struct, frozen=True):
    """A person who follows or is followed, and since when."""

    user: Person
    created_at: datetime


async def follow(pool: Any, follower: Person, followed_id: UUID) -> None:
    """Follow a person, who is told of it, within a day once; again is harmless.

    Raises InvalidArgument for oneself, UserNotFound, and UserBlocked where either has blocked the other.
    """
    if follower.id == followed_id:
        raise InvalidArgument("You cannot follow yourself.")
    async with transaction(pool) as connection:
        if not await connection.fetchval(
            "SELECT EXISTS (SELECT FROM users WHERE id = $1 AND deleted_at IS NULL)", followed_id
        ):
            raise UserNotFound
        if await blocks.blocked_between(connection, follower.id, followed_id):
            raise UserBlocked("You cannot follow this person.")
        new = await connection.fetchval(
            "INSERT INTO follows (follower_id, followed_id) VALUES ($1, $2) ON CONFLICT DO NOTHING RETURNING true",
            follower.id,
            followed_id,
        )
        if new and not await _told_lately(connection, follower.id, followed_id):
            told = {"user_id": str(follower.id), "username": follower.username}
            await notifications.add(connection, [followed_id], NotificationKind.FOLLOW, told, actor_id=follower.id)


async def _told_lately(connection: Connection, follower_id: UUID, followed_id: UUID) -> bool:
    """Whoever follows and unfollows all day long is mentioned once."""
    found: bool = await connection.fetchval(
        """
        SELECT EXISTS (SELECT FROM notifications
                       WHERE user_id = $1 AND kind = 'follow' AND created_at > now() - interval '1 day'
                         AND data ->> 'user_id' = $2)
        """,
        followed_id,
        str(follower_id),
    )
    return found


async def unfollow(connection: Connection, follower_id: UUID, followed_id: UUID) -> None:
    """Follow a person no more; whoever does not is not hurt by it."""
    await connection.execute(
        "DELETE FROM follows WHERE follower_id = $1 AND followed_id = $2", follower_id, followed_id
    )


async def follower_count(connection: Connection, user_id: UUID) -> int:
    found: int = await connection.fetchval("SELECT count(*) FROM follows WHERE followed_id = $1", user_id)
    return found


async def followers(connection: Connection, user_id: UUID, limit: int, offset: int) -> tuple[list[Follow], int]:
    """Part of those who follow a person, latest first, and how many they are."""
    rows = await connection.fetch(
        """
        SELECT f.follower_id AS id, u.username, f.created_at
        FROM follows f JOIN users u ON u.id = f.follower_id
        WHERE f.followed_id = $1
        ORDER BY f.created_at DESC, f.follower_id DESC LIMIT $2 OFFSET $3
        """,
        user_id,
        limit,
        offset,
    )
    return _follows(rows), await follower_count(connection, user_id)


async def following(connection: Connection, user_id: UUID, limit: int, offset: int) -> tuple[list[Follow], int]:
    """Part of those whom a person follows, latest first, and how many they are."""
    rows = await connection.fetch(
        """
        SELECT f.followed_id AS id, u.username, f.created_at
        FROM follows f JOIN users u ON u.id = f.followed_id
        WHERE f.follower_id = $1
        ORDER BY f.created_at DESC, f.followed_id DESC LIMIT $2 OFFSET $3
        """,
        user_id,
        limit,
        offset,
    )
    total = await connection.fetchval("SELECT count(*) FROM follows WHERE follower_id = $1", user_id)
    return _follows(rows), total


def _follows(rows: list[Any]) -> list[Follow]:
    return [Follow(Person(row["id"], row["username"]), row["created_at"]) for row in rows]
