"""The database of a running system: for what no client could make in a reasonable time, and to count what is stored."""

import json
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg


def database_url(home: Path) -> str:
    """Where the database is of the system whose data is below `home`."""
    url: str = json.loads((home / "data" / "run" / "state.json").read_bytes())["database_url"]
    return url


@asynccontextmanager
async def connected(home: Path) -> AsyncIterator[Any]:
    """A connection to the database of the system whose data is below `home`."""
    connection = await asyncpg.connect(database_url(home), timeout=10)
    try:
        yield connection
    finally:
        await connection.close()


async def count_events(home: Path) -> int:
    """How many events the rooms hold."""
    async with connected(home) as connection:
        found: int = await connection.fetchval("SELECT count(*) FROM room_events", timeout=60)
        return found


async def fill(home: Path, room_id: str, sender_id: str, events: int) -> None:
    """Write so many messages into a room's log, as its shard would have; it must not be in any shard's memory."""
    async with connected(home) as connection:
        await connection.execute(
            """
            INSERT INTO room_events (room_id, seq, id, kind, sender_id, client_msg_id, body, created_at)
            SELECT $1, number, gen_random_uuid(), 'message', $2, NULL,
                   jsonb_build_object('content', repeat(md5(number::text) || ' ', 6)),
                   now() - make_interval(secs => $3 - number)
            FROM generate_series(1, $3::int) number
            """,
            uuid.UUID(room_id),
            uuid.UUID(sender_id),
            events,
            timeout=300,
        )
        await connection.execute("ANALYZE room_events", timeout=60)
