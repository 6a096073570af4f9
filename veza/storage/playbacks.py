"""What is asked of a stream before its pictures are served: whose it is, who may see it, who has them."""

from datetime import datetime
from uuid import UUID

import msgspec

from veza.realtime.streams.life import StreamStatus
from veza.storage.database import Connection


class Playback(msgspec.Struct, frozen=True):
    """A stream by the address of its pictures. `ingest` is the actor that has its source, None for one off the air."""

    stream_id: UUID
    owner_id: UUID
    is_private: bool
    status: StreamStatus
    ingest: str | None
    is_recorded: bool
    ended_at: datetime | None


async def find(connection: Connection, playback_id: str) -> Playback | None:
    """None where no stream has that address."""
    row = await connection.fetchrow(
        "SELECT id, user_id, is_private, status, ingest, is_recorded, ended_at FROM streams WHERE playback_id = $1",
        playback_id,
    )
    if row is None:
        return None
    return Playback(
        stream_id=row["id"],
        owner_id=row["user_id"],
        is_private=row["is_private"],
        status=StreamStatus(row["status"]),
        ingest=row["ingest"],
        is_recorded=row["is_recorded"],
        ended_at=row["ended_at"],
    )
