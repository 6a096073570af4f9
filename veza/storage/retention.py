"""Deletes what rooms do not keep any longer, by their own settings."""

from datetime import datetime, timedelta
from typing import Any

from veza.storage.database import sql

# Commits of the room's partition wait for a batch, so it is over in milliseconds.
BATCH = 200


async def prune(pool: Any, now: datetime) -> int:
    """Delete events older than their room keeps them; returns how many. Running twice, or in two places, is harmless.

    The newest event's number stays known by `rooms.first_seq`, also when nothing is left.
    """
    rooms = await pool.fetch(
        "SELECT id, retention_days FROM rooms WHERE retention_days IS NOT NULL AND deleted_at IS NULL ORDER BY id"
    )
    removed = 0
    for room in rooms:
        oldest_kept = now - timedelta(days=room["retention_days"])
        while (count := await pool.fetchval(sql("prune_room"), room["id"], oldest_kept, BATCH)) == BATCH:
            removed += count
        removed += count
    return removed
