"""Recordings of streams: rows for the files that are in the object store, and what is shown of them."""

from collections.abc import Collection
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from veza.errors import NotFound
from veza.ids import new_id
from veza.realtime.events import Person
from veza.realtime.streams.chat import StreamMessage
from veza.storage import loose_objects
from veza.storage.database import Connection, transaction
from veza.storage.objects import ObjectStore

NONE = "There is no recording of this stream."


class Recording(msgspec.Struct, frozen=True):
    """What there is of it. `finished_at` is None while more is to come."""

    stream_id: UUID
    multivariant: str
    duration_ms: int
    size_bytes: int
    created_at: datetime
    finished_at: datetime | None


class Segment(msgspec.Struct, frozen=True):
    """`began_at` is when its first picture came."""

    name: str
    sequence: int
    init: int
    duration_ms: int
    discontinuity: bool
    began_at: datetime


class RecordedFile(msgspec.Struct, frozen=True):
    """One object."""

    object_key: str
    size_bytes: int


# -- writing -----------------------------------------------------------------------------------------------------


async def stored_names(connection: Connection, stream_id: UUID, names: Collection[str]) -> set[str]:
    """Those of them that are in the store already."""
    rows = await connection.fetch(
        "SELECT name FROM recording_files WHERE stream_id = $1 AND name = ANY ($2::text[])", stream_id, list(names)
    )
    return {row["name"] for row in rows}


async def store(
    pool: Any, objects: ObjectStore, stream_id: UUID, name: str, data: bytes, *, segment: Segment | None = None
) -> None:
    """Put a file into the store; one that is there already stays as it is. Raises Unavailable and FAILURES."""
    key = f"recordings/{stream_id}/{new_id()}"
    await loose_objects.note(pool, key)
    writer = objects.writer(key, "video/mp4")
    await writer.write(data)
    await writer.finish()
    async with transaction(pool) as connection:
        added = await _add(connection, stream_id, RecordedFile(key, len(data)), name, segment)
        if added:
            await loose_objects.claim(connection, key)
    if not added:
        await loose_objects.discard(pool, objects, key)


async def _add(connection: Connection, stream_id: UUID, file: RecordedFile, name: str, segment: Segment | None) -> bool:
    await connection.execute("INSERT INTO recordings (stream_id) VALUES ($1) ON CONFLICT DO NOTHING", stream_id)
    added = await connection.fetchval(
        """
        INSERT INTO recording_files
            (stream_id, name, object_key, size_bytes, sequence, init, duration_ms, discontinuity, began_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING RETURNING true
        """,
        stream_id,
        name,
        file.object_key,
        file.size_bytes,
        *(
            (None,) * 5
            if segment is None
            else (segment.sequence, segment.init, segment.duration_ms, segment.discontinuity, segment.began_at)
        ),
    )
    if added:
        await connection.execute(
            "UPDATE recordings SET duration_ms = duration_ms + $2, size_bytes = size_bytes + $3 WHERE stream_id = $1",
            stream_id,
            0 if segment is None else segment.duration_ms,
            file.size_bytes,
        )
    return bool(added)


async def finish(connection: Connection, stream_id: UUID, multivariant: str) -> None:
    """All of it is in the store."""
    await connection.execute(
        "UPDATE recordings SET finished_at = now(), multivariant = $2 WHERE stream_id = $1 AND finished_at IS NULL",
        stream_id,
        multivariant,
    )


async def delete(pool: Any, stream_id: UUID) -> None:
    """Its objects go with the next sweep, and what an Ingest still has of it is not taken. Raises NotFound."""
    async with transaction(pool) as connection:
        deleted = await connection.fetchval("DELETE FROM recordings WHERE stream_id = $1 RETURNING true", stream_id)
        if not deleted:
            raise NotFound(NONE)
        await connection.execute("UPDATE streams SET is_recorded = false WHERE id = $1", stream_id)


# -- reading -----------------------------------------------------------------------------------------------------


async def find(connection: Connection, stream_id: UUID) -> Recording | None:
    row = await connection.fetchrow("SELECT * FROM recordings WHERE stream_id = $1", stream_id)
    return None if row is None else Recording(**row)


async def segments(connection: Connection, stream_id: UUID) -> list[Segment]:
    """In the order in which they are played."""
    rows = await connection.fetch(
        """
        SELECT name, sequence, init, duration_ms, discontinuity, began_at FROM recording_files
        WHERE stream_id = $1 AND sequence IS NOT NULL ORDER BY sequence
        """,
        stream_id,
    )
    return [Segment(**row) for row in rows]


async def file(connection: Connection, stream_id: UUID, name: str) -> RecordedFile | None:
    row = await connection.fetchrow(
        """
        SELECT f.object_key, f.size_bytes FROM recording_files f
        JOIN recordings r ON r.stream_id = f.stream_id AND r.finished_at IS NOT NULL
        WHERE f.stream_id = $1 AND f.name = $2
        """,
        stream_id,
        name,
    )
    return None if row is None else RecordedFile(**row)


async def first_since(connection: Connection, stream_id: UUID, moment: datetime) -> int | None:
    """The seq of the first message that was written from a moment on."""
    found: int | None = await connection.fetchval(
        """
        SELECT seq FROM stream_messages WHERE stream_id = $1 AND created_at >= $2 ORDER BY created_at, seq LIMIT 1
        """,
        stream_id,
        moment,
    )
    return found


async def messages(connection: Connection, stream_id: UUID, first: int, limit: int) -> list[StreamMessage]:
    """What was written from the seq `first` on and not deleted since, the oldest first."""
    rows = await connection.fetch(
        """
        SELECT m.stream_id, m.seq, m.id, m.sender_id, u.username, m.created_at, m.content
        FROM stream_messages m JOIN users u ON u.id = m.sender_id
        WHERE m.stream_id = $1 AND m.deleted_at IS NULL AND m.seq >= $2
        ORDER BY m.seq LIMIT $3
        """,
        stream_id,
        first,
        limit,
    )
    return [
        StreamMessage(
            row["stream_id"],
            row["seq"],
            row["id"],
            Person(row["sender_id"], row["username"]),
            row["content"],
            created_at=row["created_at"],
        )
        for row in rows
    ]
