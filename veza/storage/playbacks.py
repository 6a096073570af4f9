"""What is asked of a stream before its pictures are served: whose it is, who may see it, who has them."""

from collections.abc import Collection
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from veza.realtime.streams.life import StreamStatus
from veza.storage.database import Connection

# Players read the rest of an ended stream for a minute; an Ingest keeps it for a little longer.
_PLAYED = "(status IN ('live', 'interrupted') OR ended_at > now() - interval '60 seconds')"
_COLUMNS = f"""
    playback_id, id, user_id, is_private, status, is_recorded, ended_at, source_id IS NOT NULL AS is_fed,
    CASE WHEN {_PLAYED} THEN ingest END AS ingest
    """


class Playback(msgspec.Struct, frozen=True):
    """A stream by the address of its pictures. `ingest` is the actor that has them, None where none has; `is_fed` says
    whether a source sends more.
    """

    stream_id: UUID
    owner_id: UUID
    is_private: bool
    status: StreamStatus
    ingest: str | None
    is_fed: bool
    is_recorded: bool
    ended_at: datetime | None

    @property
    def is_over(self) -> bool:
        """Whether it is off the air for longer than players read the rest of it."""
        return self.status is StreamStatus.ENDED and self.ingest is None


async def find(connection: Connection, playback_id: str) -> Playback | None:
    """None where no stream has that address."""
    return (await find_all(connection, [playback_id])).get(playback_id)


async def find_all(connection: Connection, playback_ids: Collection[str]) -> dict[str, Playback]:
    """Those that there are, by address."""
    rows = await connection.fetch(
        f"SELECT {_COLUMNS} FROM streams WHERE playback_id = ANY ($1::text[])",  # noqa: S608 - constants
        list(playback_ids),
    )
    return {row["playback_id"]: _playback(row) for row in rows}


async def of_stream(connection: Connection, stream_id: UUID) -> tuple[str, Playback] | None:
    """A stream's address, and what `find` says of it; None where there is no such stream."""
    row = await connection.fetchrow(f"SELECT {_COLUMNS} FROM streams WHERE id = $1", stream_id)  # noqa: S608 - constants
    return None if row is None else (row["playback_id"], _playback(row))


def _playback(row: Any) -> Playback:
    return Playback(
        stream_id=row["id"],
        owner_id=row["user_id"],
        is_private=row["is_private"],
        status=StreamStatus(row["status"]),
        ingest=row["ingest"],
        is_fed=row["is_fed"],
        is_recorded=row["is_recorded"],
        ended_at=row["ended_at"],
    )


async def adopt(
    connection: Connection, playback_ids: Collection[str], ingest: str, others: Collection[str]
) -> dict[str, bool]:
    """Take over those on the air that an Ingest had which is gone: of no living node but this one, `others` being the
    keys of the rest. Says of each if it is recorded.
    """
    rows = await connection.fetch(
        """
        UPDATE streams SET ingest = $2
        WHERE playback_id = ANY ($1::text[]) AND status IN ('live', 'interrupted') AND ingest <> $2
          AND split_part(ingest, '-', 2) <> ALL ($3::text[])
        RETURNING playback_id, is_recorded
        """,
        list(playback_ids),
        ingest,
        list(others),
    )
    return {row["playback_id"]: row["is_recorded"] for row in rows}


async def still_played(connection: Connection, playback_ids: Collection[str]) -> set[str]:
    """Those of them that players may still ask for."""
    rows = await connection.fetch(
        """
        SELECT playback_id FROM streams
        WHERE playback_id = ANY ($1::text[])
          AND (status IN ('live', 'interrupted') OR ended_at > now() - interval '2 minutes')
        """,
        list(playback_ids),
    )
    return {row["playback_id"] for row in rows}
