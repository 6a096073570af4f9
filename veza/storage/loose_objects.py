"""Objects in the store that no row owns: uploads under way, and what was removed.

An object's key is noted here before its first byte is written, and taken out in the transaction that gives it an
owner; a row that goes puts its object's key back (triggers). So whatever dies between, the sweep finds what is left.
"""

import asyncio
import logging
from datetime import timedelta
from typing import Any

from veza.errors import Unavailable
from veza.storage.database import FAILURES, Connection
from veza.storage.objects import ObjectStore

log = logging.getLogger(__name__)

# Longer than any upload may take.
PATIENCE = timedelta(days=1)
# A request to the store that was cut off may still arrive there: what is due is removed this much later.
SETTLE = timedelta(minutes=1)
BATCH = 100
SWEEP_EVERY_S = 600.0


async def note(connection: Connection, key: str) -> None:
    """An upload begins."""
    await connection.execute(
        "INSERT INTO loose_objects (object_key, due_at) VALUES ($1, now() + $2::interval)", key, PATIENCE
    )


async def claim(connection: Connection, key: str) -> None:
    """The object gets an owner: call it in the transaction that makes the owner's row.

    Raises Unavailable when the upload was given up meanwhile.
    """
    mine = await connection.fetchval(
        "DELETE FROM loose_objects WHERE object_key = $1 AND due_at > now() RETURNING true", key
    )
    if not mine:
        raise Unavailable("The upload was given up; try again.")


async def discard(pool: Any, store: ObjectStore, key: str) -> None:
    """Give an upload up, unless it has found its owner. Raises Unavailable; the sweep goes after it in any case."""
    # From here on nobody can claim it.
    loose = await pool.fetchval("UPDATE loose_objects SET due_at = now() WHERE object_key = $1 RETURNING true", key)
    if loose:
        await store.remove(key)


async def sweep(pool: Any, store: ObjectStore) -> int:
    """Remove what is due from the store; returns how many objects. In two places at once it is harmless.

    Raises Unavailable; what is left is for the next time.
    """
    removed = 0
    while True:
        rows = await pool.fetch(
            "SELECT object_key FROM loose_objects WHERE due_at < now() - $1::interval ORDER BY due_at LIMIT $2",
            SETTLE,
            BATCH,
        )
        keys = [row["object_key"] for row in rows]
        for key in keys:
            await store.remove(key)
        if keys:
            # What is due stays so: nobody can have claimed one of them meanwhile.
            await pool.execute("DELETE FROM loose_objects WHERE object_key = ANY ($1::text[])", keys)
        removed += len(keys)
        if len(keys) < BATCH:
            return removed


async def sweep_forever(pool: Any, store: ObjectStore) -> None:
    """Sweep now and then, whatever happens to the database and the store."""
    while True:
        await asyncio.sleep(SWEEP_EVERY_S)
        try:
            removed = await sweep(pool, store)
        except FAILURES as error:
            log.warning("objects not swept", extra={"reason": type(error).__name__})
        else:
            log.debug("objects swept", extra={"removed": removed})
