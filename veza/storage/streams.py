"""Live streams as they are made, found, changed and deleted. How they go on the air and off it is their shard's.

Everybody sees a public stream, drafts too; a private one is seen by its owner alone.
"""

import enum
import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec

from veza.errors import Conflict, InvalidArgument, PermissionDenied, StreamNotFound, UserNotFound
from veza.ids import base32, new_id
from veza.realtime.events import Person
from veza.realtime.streams.life import StreamStatus
from veza.realtime.streams.view import Stream, StreamCategory
from veza.storage.database import Connection, sql, transaction
from veza.storage.words import tsquery

TITLE_CHARS = 200
DESCRIPTION_CHARS = 5000
MOST_TAGS = 10
TAG_CHARS = 50
MOST_SLOW_S = 3600
# A search finds no more.
MOST_FOUND = 1_000
# Where its pictures are to be had, at the address that answered.
PLAYBACK_URL = "/api/v1/live/hls/{}/index.m3u8"


class StreamSort(enum.StrEnum):
    VIEWERS = "viewers"
    NEWEST = "newest"


_ORDERS: Mapping[StreamSort, str] = {
    StreamSort.VIEWERS: "is_live DESC, viewer_count DESC, created_at DESC, id DESC",
    StreamSort.NEWEST: "coalesce(started_at, created_at) DESC, id DESC",
}


class StreamMessage(msgspec.Struct, frozen=True):
    """Something written in a stream's chat. `content` is null once it was deleted."""

    stream_id: UUID
    seq: int
    id: UUID
    sender: Person
    content: str | None
    client_msg_id: str | None
    created_at: datetime
    deleted_at: datetime | None


class Narrowing(msgspec.Struct, frozen=True):
    """Only streams on the air or off it, of a category, with a tag, of somebody; None: whatever they are."""

    is_live: bool | None = None
    category: StreamCategory | None = None
    tag: str | None = None
    user_id: UUID | None = None


# -- reading -----------------------------------------------------------------------------------------------------


async def shown(connection: Connection, stream_ids: Sequence[UUID]) -> list[Stream]:
    """Streams in the order of the ids, private ones too."""
    return [_stream(row) for row in await connection.fetch(sql("read_streams"), list(stream_ids))]


async def get(connection: Connection, stream_id: UUID, viewer_id: UUID | None) -> Stream:
    """Raises StreamNotFound for who cannot see it."""
    for stream in await shown(connection, [stream_id]):
        if not stream.is_private or stream.user.id == viewer_id:
            return stream
    raise StreamNotFound


async def list_public(
    connection: Connection, *, search: str, sort: StreamSort, narrowing: Narrowing, limit: int, offset: int
) -> tuple[list[Stream], int]:
    """Part of the public streams, and how many there are; a search finds MOST_FOUND at most."""
    where, arguments, query = "NOT is_private", list[object](), tsquery(search)
    for condition, value in (
        ("is_live = ${}", narrowing.is_live),
        ("category = ${}", narrowing.category),
        ("tags @> ARRAY[${}::text]", narrowing.tag),
        ("user_id = ${}", narrowing.user_id),
        ("search @@ to_tsquery('veza', ${})", query or None),
    ):
        if value is not None:
            arguments.append(value)
            where += f" AND {condition.format(len(arguments))}"
    bound = f"LIMIT {MOST_FOUND}" if query else ""
    total = await connection.fetchval(
        f"SELECT count(*) FROM (SELECT FROM streams WHERE {where} {bound}) found",  # noqa: S608 - constants
        *arguments,
    )
    place = len(arguments)
    rows = await connection.fetch(
        f"""
        SELECT id FROM streams WHERE {where} ORDER BY {_ORDERS[sort]} LIMIT ${place + 1} OFFSET ${place + 2}
        """,  # noqa: S608 - constants
        *arguments,
        max(0, min(limit, total - offset)),
        offset,
    )
    return await shown(connection, [row["id"] for row in rows]), total


async def list_mine(connection: Connection, user_id: UUID, limit: int, offset: int) -> tuple[list[Stream], int]:
    """Part of somebody's streams, newest first, and how many there are."""
    rows = await connection.fetch(
        "SELECT id FROM streams WHERE user_id = $1 ORDER BY created_at DESC, id DESC LIMIT $2 OFFSET $3",
        user_id,
        limit,
        offset,
    )
    total = await connection.fetchval("SELECT count(*) FROM streams WHERE user_id = $1", user_id)
    return await shown(connection, [row["id"] for row in rows]), total


async def messages(
    connection: Connection, stream_id: UUID, *, after: int | None, oldest_first: bool, limit: int
) -> list[StreamMessage]:
    """Part of a stream's chat, from one end of it, or from the message `after` on."""
    beyond, order = (">", "ASC") if oldest_first else ("<", "DESC")
    rows = await connection.fetch(
        f"""
        SELECT m.stream_id, m.seq, m.id, m.sender_id, u.username, m.client_msg_id, m.created_at, m.deleted_at,
               CASE WHEN m.deleted_at IS NULL THEN m.content END AS content
        FROM stream_messages m JOIN users u ON u.id = m.sender_id
        WHERE m.stream_id = $1 AND ($2::bigint IS NULL OR m.seq {beyond} $2)
        ORDER BY m.seq {order} LIMIT $3
        """,  # noqa: S608 - constants
        stream_id,
        after,
        limit,
    )
    return [
        StreamMessage(
            row["stream_id"],
            row["seq"],
            row["id"],
            Person(row["sender_id"], row["username"]),
            row["content"],
            row["client_msg_id"],
            row["created_at"],
            row["deleted_at"],
        )
        for row in rows
    ]


async def fed_by(connection: Connection, ingest: str) -> list[tuple[UUID, UUID]]:
    """Streams that a source of this Ingest feeds, as far as is stored, with the source's id."""
    rows = await connection.fetch(
        "SELECT id, source_id FROM streams WHERE ingest = $1 AND source_id IS NOT NULL AND status = 'live'", ingest
    )
    return [(row["id"], row["source_id"]) for row in rows]


# -- writing -----------------------------------------------------------------------------------------------------

# What an owner says of a stream.
_COLUMNS = (
    "title",
    "description",
    "category",
    "tags",
    "is_private",
    "is_recorded",
    "slow_mode_seconds",
    "scheduled_at",
)


async def create(pool: Any, user_id: UUID, fields: Mapping[str, Any]) -> Stream:
    """Make a stream; `fields` are by name. Raises InvalidArgument for a time that is past."""
    _require_future(fields.get("scheduled_at"))
    stream_id = new_id()
    async with transaction(pool) as connection:
        await connection.execute(
            """
            INSERT INTO streams (id, user_id, playback_id, title, description, category, tags, is_private,
                                 is_recorded, slow_mode_seconds, scheduled_at, status)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11,
                    CASE WHEN $11::timestamptz IS NULL THEN 'draft' ELSE 'scheduled' END)
            """,
            stream_id,
            user_id,
            _playback_id(),
            *(fields[name] for name in _COLUMNS),
        )
        return await get(connection, stream_id, user_id)


async def update(pool: Any, stream_id: UUID, user_id: UUID, changes: Mapping[str, Any]) -> Stream:
    """Change these fields.

    Raises StreamNotFound, PermissionDenied, InvalidArgument for a time that is past, and Conflict for the time of a
    stream that has started.
    """
    async with transaction(pool) as connection:
        status = await _own(connection, stream_id, user_id)
        _require_future(changes.get("scheduled_at"))
        names = [name for name in _COLUMNS if name in changes]
        settings = "".join(f", {name} = ${place}" for place, name in enumerate(names, 2))
        if "scheduled_at" in changes:
            if status not in {StreamStatus.DRAFT, StreamStatus.SCHEDULED}:
                raise Conflict("The stream has started already.", (("scheduled_at", "the stream has started"),))
            settings += f", status = '{'draft' if changes['scheduled_at'] is None else 'scheduled'}'"
        await connection.execute(
            f"UPDATE streams SET updated_at = now(){settings} WHERE id = $1",  # noqa: S608 - names of columns
            stream_id,
            *(changes[name] for name in names),
        )
        return await get(connection, stream_id, user_id)


async def delete(pool: Any, stream_id: UUID, user_id: UUID) -> None:
    """Delete a stream and its chat. Raises StreamNotFound, PermissionDenied, and Conflict while it is on the air."""
    async with transaction(pool) as connection:
        if await _own(connection, stream_id, user_id) in {StreamStatus.LIVE, StreamStatus.INTERRUPTED}:
            raise Conflict("The stream is on the air; stop it first.")
        await connection.execute("DELETE FROM stream_messages WHERE stream_id = $1", stream_id)
        await connection.execute("DELETE FROM streams WHERE id = $1", stream_id)


async def require_own(connection: Connection, stream_id: UUID, user_id: UUID) -> StreamStatus:
    """Where a stream of one's own stands. Raises StreamNotFound for who cannot see it, PermissionDenied."""
    return await _own(connection, stream_id, user_id)


async def on_air_of(connection: Connection, user_id: UUID) -> list[UUID]:
    """The streams of a user that are on the air."""
    rows = await connection.fetch(
        "SELECT id FROM streams WHERE user_id = $1 AND status IN ('live', 'interrupted')", user_id
    )
    return [row["id"] for row in rows]


async def newest_open_or_create(pool: Any, user_id: UUID) -> UUID:
    """The newest of a user's streams that has not ended; a new draft where there is none. Raises UserNotFound."""
    newest = """
        SELECT id FROM streams WHERE user_id = $1 AND status <> 'ended' ORDER BY created_at DESC, id DESC LIMIT 1
        """
    found: UUID | None = await pool.fetchval(newest, user_id)
    if found is not None:
        return found
    async with transaction(pool) as connection:
        # Of two at once the second finds what the first made.
        username = await connection.fetchval(
            "SELECT username FROM users WHERE id = $1 AND deleted_at IS NULL FOR NO KEY UPDATE", user_id
        )
        if username is None:
            raise UserNotFound
        found = await connection.fetchval(newest, user_id)
        if found is None:
            found = new_id()
            await connection.execute(
                "INSERT INTO streams (id, user_id, playback_id, title) VALUES ($1, $2, $3, $4)",
                found,
                user_id,
                _playback_id(),
                f"{username}'s stream",
            )
        return found


async def _own(connection: Connection, stream_id: UUID, user_id: UUID) -> StreamStatus:
    """Where a stream of one's own stands, held so. Raises StreamNotFound for who cannot see it, PermissionDenied."""
    row = await connection.fetchrow(
        "SELECT user_id, status, is_private FROM streams WHERE id = $1 FOR NO KEY UPDATE", stream_id
    )
    if row is None or (row["is_private"] and row["user_id"] != user_id):
        raise StreamNotFound
    if row["user_id"] != user_id:
        raise PermissionDenied("Only its owner may do that.")
    return StreamStatus(row["status"])


def _require_future(moment: datetime | None) -> None:
    if moment is not None and moment <= datetime.now(UTC):
        raise InvalidArgument("A stream is scheduled for a time to come.", (("scheduled_at", "is in the past"),))


def _playback_id() -> str:
    return base32(UUID(bytes=os.urandom(16)))


def _stream(row: Any) -> Stream:
    fields = dict(row)
    user = Person(fields.pop("user_id"), fields.pop("username"))
    fields["category"], fields["status"] = StreamCategory(fields["category"]), StreamStatus(fields["status"])
    return Stream(user=user, playback_url=PLAYBACK_URL.format(fields["playback_id"]), **fields)
