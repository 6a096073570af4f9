"""Attachments as rows: what was uploaded to a room, and which message carries it. The bytes are in the object store.

A row goes with its message (triggers), and its object goes with the row (`loose_objects`).
"""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

import msgspec

from veza.errors import AttachmentNotFound, RoomNotFound, TooMuchUnsent
from veza.storage import loose_objects
from veza.storage.database import Connection, transaction

_COLUMNS = "id, room_id, user_id, message_id, name, mime_type, size_bytes, sha256, object_key"
# Those of a deleted room that are removed in one statement.
BATCH = 1000


class Attachment(msgspec.Struct, frozen=True):
    """`message_id` is None until a message carries it. `sha256` is of the content, `object_key` its place."""

    id: UUID
    room_id: UUID
    user_id: UUID
    message_id: UUID | None
    name: str
    mime_type: str
    size_bytes: int
    sha256: bytes
    object_key: str


async def unsent_bytes(connection: Connection, user_id: UUID) -> int:
    """What a person's files take, together, that no message carries and the sweep has not taken yet."""
    found: int = await connection.fetchval(
        "SELECT coalesce(sum(size_bytes), 0)::bigint FROM attachments WHERE user_id = $1 AND message_id IS NULL",
        user_id,
    )
    return found


async def add(pool: Any, attachment: Attachment, allowed: int) -> None:
    """Give an uploaded object its row. Raises TooMuchUnsent when its uploader has more than `allowed` bytes unsent
    then, RoomNotFound when they are no longer in the room, and Unavailable when the upload was given up meanwhile.
    """
    async with transaction(pool) as connection:
        # One at a time for a person, or two that fit alone would both be let in.
        await connection.execute("SELECT FROM users WHERE id = $1 FOR NO KEY UPDATE", attachment.user_id)
        if await unsent_bytes(connection, attachment.user_id) + attachment.size_bytes > allowed:
            raise TooMuchUnsent
        await loose_objects.claim(connection, attachment.object_key)
        done = await connection.execute(
            """
            INSERT INTO attachments (id, room_id, user_id, name, mime_type, size_bytes, sha256, object_key)
            SELECT $1, r.id, m.user_id, $4, $5, $6, $7, $8
            FROM rooms r JOIN room_members m ON m.room_id = r.id AND m.user_id = $3
            WHERE r.id = $2 AND r.deleted_at IS NULL
            """,
            attachment.id,
            attachment.room_id,
            attachment.user_id,
            attachment.name,
            attachment.mime_type,
            attachment.size_bytes,
            attachment.sha256,
            attachment.object_key,
        )
        if done == "INSERT 0 0":
            raise RoomNotFound


async def get(connection: Connection, room_id: UUID, attachment_id: UUID) -> Attachment:
    """One attachment of a room. Raises AttachmentNotFound."""
    row = await connection.fetchrow(
        f"SELECT {_COLUMNS} FROM attachments WHERE id = $1 AND room_id = $2",  # noqa: S608 - a constant
        attachment_id,
        room_id,
    )
    if row is None:
        raise AttachmentNotFound
    return _attachment(row)


async def find(connection: Connection, attachment_ids: Iterable[UUID]) -> list[Attachment]:
    """Those of the attachments that exist, in no order. One that nobody used for a day is as good as gone: the sweep
    may take it at any moment.
    """
    rows = await connection.fetch(
        f"""
        SELECT {_COLUMNS} FROM attachments
        WHERE id = ANY ($1::uuid[]) AND (message_id IS NOT NULL OR created_at > now() - interval '1 day')
        """,  # noqa: S608 - a constant
        list(attachment_ids),
    )
    return [_attachment(row) for row in rows]


async def sweep_deleted_rooms(pool: Any) -> int:
    """Remove the attachments of deleted rooms; returns how many."""
    removed = 0
    while True:
        done = await pool.execute(
            """
            DELETE FROM attachments WHERE id = ANY (ARRAY(
                SELECT a.id FROM attachments a JOIN rooms r ON r.id = a.room_id
                WHERE r.deleted_at IS NOT NULL LIMIT $1
            ))
            """,
            BATCH,
        )
        count = int(done.rpartition(" ")[2])
        removed += count
        if count < BATCH:
            return removed


def _attachment(row: Any) -> Attachment:
    return Attachment(**row)
