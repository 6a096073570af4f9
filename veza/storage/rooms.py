"""Rooms as rows: creating them, listing them, who is in them. What changes a room later is its shard's."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg
import msgspec

from veza.errors import InvalidArgument, NotAMember, RoomNotFound, UserBlocked, UserNotFound
from veza.ids import new_id
from veza.realtime.events import EventKind, Person, RoomEvent
from veza.realtime.names import clean_name
from veza.realtime.room import MAX_MEMBERS, RoomRole, RoomType
from veza.storage import blocks
from veza.storage.database import Connection, sql, transaction
from veza.storage.room_log import NOBODY


class MemberInfo(msgspec.Struct, frozen=True):
    user: Person
    role: str
    last_read_seq: int


class Conversation(msgspec.Struct, frozen=True):
    """A room as one of its members sees it. `other` is the second person of a direct one."""

    id: UUID
    type: str
    name: str | None
    owner_id: UUID
    created_at: datetime
    last_seq: int
    last_read_seq: int
    role: str
    unread_count: int
    last_message: RoomEvent | None
    first_seq: int
    retention_days: int | None
    other: Person | None


class Membership(msgspec.Struct, frozen=True):
    """`first_seq` is the lowest seq that the room still keeps."""

    role: str
    first_seq: int


class PublicRoom(msgspec.Struct, frozen=True):
    """A room that anyone may join. `joined` says whether the asker has."""

    id: UUID
    name: str | None
    created_at: datetime
    member_count: int
    joined: bool


async def create(
    pool: Any, owner_id: UUID, room_type: RoomType, name: str | None, member_ids: Sequence[UUID]
) -> tuple[UUID, bool]:
    """Make a room with its first members. Returns its id and whether it is new: a direct one is made once a pair.

    Raises InvalidArgument, UserNotFound, and UserBlocked for a direct one with who blocked the owner.
    """
    others = list(dict.fromkeys(user_id for user_id in member_ids if user_id != owner_id))
    direct_key = _check(room_type, name, owner_id, others)
    if room_type is not RoomType.DIRECT and name is not None:
        name = clean_name(name)
    async with transaction(pool) as connection:
        known = await connection.fetchval(
            "SELECT count(*) FROM users WHERE id = ANY($1::uuid[]) AND deleted_at IS NULL", others
        )
        if known != len(others):
            raise UserNotFound("One of the members does not exist.")
        if room_type is RoomType.DIRECT and await blocks.has_blocked(connection, others[0], owner_id):
            raise UserBlocked
        room_id = await connection.fetchval(
            """
            INSERT INTO rooms (id, type, name, owner_id, direct_key) VALUES ($1, $2, $3, $4, $5)
            ON CONFLICT (direct_key) DO NOTHING RETURNING id
            """,
            new_id(),
            room_type.value,
            name,
            owner_id,
            direct_key,
        )
        if room_id is None:
            return await connection.fetchval("SELECT id FROM rooms WHERE direct_key = $1", direct_key), False
        await connection.executemany(
            "INSERT INTO room_members (room_id, user_id, role) VALUES ($1, $2, $3)",
            [
                (room_id, owner_id, (RoomRole.MEMBER if direct_key else RoomRole.OWNER).value),
                *((room_id, user_id, RoomRole.MEMBER.value) for user_id in others),
            ],
        )
    return room_id, True


def _check(room_type: RoomType, name: str | None, owner_id: UUID, others: list[UUID]) -> str | None:
    """The key of a direct room, None for others. Raises InvalidArgument."""
    if room_type is RoomType.DIRECT:
        if len(others) != 1:
            raise InvalidArgument("A direct conversation has one other member.", (("member_ids", "exactly one"),))
        if name is not None:
            raise InvalidArgument("A direct conversation has no name.", (("name", "not for direct"),))
        return _direct_key(owner_id, others[0])
    if name is None:
        raise InvalidArgument("A name is required.", (("name", "is required"),))
    if len(others) >= MAX_MEMBERS:
        raise InvalidArgument(f"A room has at most {MAX_MEMBERS} members.", (("member_ids", "too many"),))
    return None


def _direct_key(one: UUID, other: UUID) -> str:
    low, high = sorted((one, other))
    return f"{low}:{high}"


async def direct_room(connection: Connection, one: UUID, other: UUID) -> UUID | None:
    """The direct room of two people, None where there is none."""
    found: UUID | None = await connection.fetchval(
        "SELECT id FROM rooms WHERE direct_key = $1", _direct_key(one, other)
    )
    return found


async def require_member(connection: Connection, room_id: UUID, user_id: UUID) -> Membership:
    """Raises RoomNotFound, or NotAMember for a public room."""
    row = await connection.fetchrow(
        """
        SELECT r.type, r.first_seq, m.role
        FROM rooms r LEFT JOIN room_members m ON m.room_id = r.id AND m.user_id = $2
        WHERE r.id = $1 AND r.deleted_at IS NULL
        """,
        room_id,
        user_id,
    )
    if row is None or (row["role"] is None and row["type"] != RoomType.PUBLIC):
        raise RoomNotFound()
    if row["role"] is None:
        raise NotAMember()
    return Membership(row["role"], row["first_seq"])


async def members(connection: Connection, room_id: UUID) -> list[MemberInfo]:
    """Everyone in the room, owner first, then by name."""
    rows = await connection.fetch(
        """
        SELECT m.user_id, u.username, m.role, m.last_read_seq
        FROM room_members m JOIN users u ON u.id = m.user_id
        WHERE m.room_id = $1
        ORDER BY array_position(ARRAY['owner', 'moderator', 'member'], m.role), lower(u.username)
        """,
        room_id,
    )
    return [MemberInfo(Person(row["user_id"], row["username"]), row["role"], row["last_read_seq"]) for row in rows]


async def conversations(
    connection: Connection, user_id: UUID, limit: int, offset: int
) -> tuple[list[Conversation], int]:
    """A page of the user's rooms, latest activity first, and how many there are in all."""
    rows = await connection.fetch(sql("conversations"), user_id, None, limit, offset)
    if rows or not offset:
        return [_conversation(row) for row in rows], rows[0]["total"] if rows else 0
    total = await connection.fetchval(
        """
        SELECT count(*) FROM room_members m JOIN rooms r ON r.id = m.room_id
        WHERE m.user_id = $1 AND r.deleted_at IS NULL
        """,
        user_id,
    )
    return [], total


async def conversation(connection: Connection, user_id: UUID, room_id: UUID) -> Conversation:
    """One room of the user's. Raises RoomNotFound or NotAMember."""
    row = await connection.fetchrow(sql("conversations"), user_id, room_id, 1, 0)
    if row is None:
        await require_member(connection, room_id, user_id)
        raise RoomNotFound()
    return _conversation(row)


async def public_rooms(
    connection: Connection, user_id: UUID, search: str, limit: int, offset: int
) -> tuple[list[PublicRoom], int]:
    """Rooms to discover, newest first. `search` is part of a name, taken literally."""
    pattern = search.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    rows = await connection.fetch(sql("public_rooms"), user_id, pattern, limit, offset)
    found = [PublicRoom(row["id"], row["name"], row["created_at"], row["member_count"], row["joined"]) for row in rows]
    return found, rows[0]["total"] if rows else 0


async def person(connection: Connection, user_id: UUID) -> Person:
    """Raises UserNotFound."""
    try:
        username = await connection.fetchval("SELECT username FROM users WHERE id = $1 AND deleted_at IS NULL", user_id)
    except asyncpg.DataError as error:
        raise UserNotFound() from error
    if username is None:
        raise UserNotFound()
    return Person(user_id, username)


def _conversation(row: Any) -> Conversation:
    last = None
    if row["message_id"] is not None:
        sender = Person(row["sender_id"], row["sender_name"]) if row["sender_name"] else NOBODY
        last = RoomEvent(
            row["id"],
            row["message_seq"],
            row["message_id"],
            EventKind.MESSAGE,
            sender,
            row["message_at"],
            row["message_body"],
            row["client_msg_id"],
            edited_at=row["message_edited_at"],
            deleted_at=row["message_deleted_at"],
        )
    return Conversation(
        id=row["id"],
        type=row["type"],
        name=row["name"],
        owner_id=row["owner_id"],
        created_at=row["created_at"],
        last_seq=row["last_seq"],
        last_read_seq=row["last_read_seq"],
        role=row["role"],
        unread_count=row["unread_count"],
        last_message=last,
        first_seq=row["first_seq"],
        retention_days=row["retention_days"],
        other=Person(row["other_id"], row["other_name"]) if row["other_id"] else None,
    )
