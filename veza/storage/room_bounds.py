"""Where the log of a room begins: what retention has removed lies below."""

from uuid import UUID

from veza.storage.database import Connection


async def first_seq(connection: Connection, room_id: UUID) -> int:
    """The lowest seq that the log has kept, or the next one when it has kept none; 1 of a room that is not there."""
    found: int | None = await connection.fetchval("SELECT first_seq FROM rooms WHERE id = $1", room_id)
    return found or 1
