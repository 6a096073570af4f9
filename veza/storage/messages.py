"""Messages as they are now: what history, threads, search and pins show, and what commands on them need."""

from collections.abc import Collection, Iterable
from uuid import UUID

import msgspec

from veza.realtime.events import RoomEvent
from veza.realtime.messages import Attachment, MessageState, Supplies, Wants
from veza.storage import attachments
from veza.storage.database import Connection, sql
from veza.storage.room_log import event_of
from veza.storage.words import tsquery


class Details(msgspec.Struct, frozen=True):
    """What is shown with a message besides itself. A reaction is `{emoji, count, me}`."""

    pinned: bool = False
    reactions: list[dict[str, object]] = []
    reply_count: int = 0


async def details(connection: Connection, message_ids: Collection[UUID], user_id: UUID) -> dict[UUID, Details]:
    """For each message what `user_id` sees with it."""
    if not message_ids:
        return {}
    rows = await connection.fetch(sql("message_details"), list(message_ids), user_id)
    return {row["id"]: Details(row["pinned"], row["reactions"], row["reply_count"]) for row in rows}


async def thread(connection: Connection, room_id: UUID, parent_id: UUID, after_seq: int, limit: int) -> list[RoomEvent]:
    """Replies to a message, oldest first."""
    return [event_of(row) for row in await connection.fetch(sql("read_thread"), room_id, parent_id, after_seq, limit)]


async def pinned(connection: Connection, room_id: UUID) -> list[RoomEvent]:
    """Newest first; a room has at most `realtime.messages.PINS`."""
    return [event_of(row) for row in await connection.fetch(sql("read_pinned"), room_id)]


async def search(connection: Connection, room_id: UUID, text: str, before_seq: int, limit: int) -> list[RoomEvent]:
    """Messages that have all words of `text`, whatever their case and accents, newest first. The last word may be the
    beginning of one.
    """
    query = tsquery(text)
    if not query:
        return []
    return [event_of(row) for row in await connection.fetch(sql("search_messages"), room_id, query, before_seq, limit)]


async def exists(connection: Connection, room_id: UUID, message_id: UUID) -> bool:
    found: bool = await connection.fetchval(
        "SELECT EXISTS (SELECT FROM room_events WHERE id = $2 AND room_id = $1 AND kind = 'message')",
        room_id,
        message_id,
    )
    return found


async def read_wanted(connection: Connection, wants: Wants) -> Supplies:
    """What a shard must know before it decides a batch."""
    supplies = Supplies()
    if wants.messages:
        supplies.messages = await _find(connection, wants.messages)
    if wants.names:
        supplies.names = await _ids_of(connection, wants.names)
    if wants.attachments:
        supplies.attachments = {
            a.id: Attachment(a.id, a.room_id, a.user_id, a.message_id, a.name, a.mime_type, a.size_bytes)
            for a in await attachments.find(connection, wants.attachments)
        }
    if wants.blocks:
        supplies.blocked = await _blocked_in(connection, wants.blocks)
    if wants.pins:
        supplies.pins = await _count_pins(connection, wants.pins)
    return supplies


async def _find(connection: Connection, wanted: Iterable[tuple[UUID, UUID, UUID]]) -> list[MessageState]:
    room_ids, message_ids, user_ids = zip(*wanted, strict=True)
    rows = await connection.fetch(sql("find_messages"), room_ids, message_ids, user_ids)
    return [
        MessageState(
            room_id=row["room_id"],
            id=row["id"],
            seq=row["seq"],
            author=row["sender_id"],
            created_at=row["created_at"],
            deleted=row["deleted"],
            pinned=row["pinned"],
            reactions={row["user_id"]: set(row["emoji"])},
        )
        for row in rows
    ]


async def _ids_of(connection: Connection, names: Iterable[str]) -> dict[str, UUID]:
    rows = await connection.fetch(
        "SELECT lower(username) AS name, id FROM users WHERE lower(username) = ANY ($1::text[]) AND deleted_at IS NULL",
        list(names),
    )
    return {row["name"]: row["id"] for row in rows}


async def _blocked_in(connection: Connection, room_ids: Iterable[UUID]) -> dict[UUID, set[UUID]]:
    """For each direct room, whom the other one has blocked."""
    wanted = list(room_ids)
    rows = await connection.fetch(
        """
        SELECT r.id, b.blocked_id
        FROM rooms r
        JOIN room_members m ON m.room_id = r.id
        JOIN room_members o ON o.room_id = r.id AND o.user_id <> m.user_id
        JOIN blocks b ON b.blocker_id = m.user_id AND b.blocked_id = o.user_id
        WHERE r.id = ANY ($1::uuid[]) AND r.type = 'direct'
        """,
        wanted,
    )
    blocked: dict[UUID, set[UUID]] = {room_id: set() for room_id in wanted}
    for row in rows:
        blocked[row["id"]].add(row["blocked_id"])
    return blocked


async def _count_pins(connection: Connection, room_ids: Iterable[UUID]) -> dict[UUID, int]:
    rows = await connection.fetch(
        """
        SELECT r.id, (SELECT count(*) FROM room_events e WHERE e.room_id = r.id AND e.pinned_at IS NOT NULL) AS count
        FROM unnest($1::uuid[]) AS r (id)
        """,
        list(room_ids),
    )
    return {row["id"]: row["count"] for row in rows}
