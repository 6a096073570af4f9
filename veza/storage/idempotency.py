"""Idempotency keys: the same request sent again gets the first answer, and does nothing again.

A key belongs to its user and to one request (method, path and body, as a fingerprint). Kept 24 h.
"""

import hashlib
from datetime import timedelta
from uuid import UUID

import msgspec

from veza.errors import Conflict, Unavailable
from veza.storage.database import Connection

# A request that has not answered for this long has died with its process: its retry takes the key over.
ABANDONED = timedelta(seconds=60)


class StoredAnswer(msgspec.Struct, frozen=True):
    """The first answer, as it was sent."""

    status: int
    body: bytes


def fingerprint(method: str, path: str, body: bytes) -> bytes:
    return hashlib.sha256(b"\0".join((method.encode(), path.encode(), body))).digest()


async def begin(connection: Connection, user_id: UUID, key: str, print_: bytes) -> StoredAnswer | None:
    """Claim the key: None means the caller does the work and then calls `finish` or `release`.

    Raises Conflict when the key was used for another request, Unavailable while the first one is at work.
    """
    row = await connection.fetchrow(
        """
        INSERT INTO idempotency_keys (user_id, key, fingerprint) VALUES ($1, $2, $3)
        ON CONFLICT (user_id, key) DO UPDATE SET started_at = now()
            WHERE idempotency_keys.status IS NULL AND idempotency_keys.fingerprint = $3
              AND idempotency_keys.started_at < now() - $4::interval
        RETURNING key
        """,
        user_id,
        key,
        print_,
        ABANDONED,
    )
    if row is not None:
        return None
    known = await connection.fetchrow(
        "SELECT fingerprint, status, body FROM idempotency_keys WHERE user_id = $1 AND key = $2", user_id, key
    )
    if known is None or (known["status"] is None and known["fingerprint"] == print_):
        raise Unavailable("The first request with this Idempotency-Key is still at work; try again.", 1.0)
    if known["fingerprint"] != print_:
        raise Conflict("This Idempotency-Key was used for another request.")
    return StoredAnswer(known["status"], known["body"])


async def finish(connection: Connection, user_id: UUID, key: str, answer: StoredAnswer) -> None:
    """Keep the answer for retries."""
    await connection.execute(
        "UPDATE idempotency_keys SET status = $3, body = $4 WHERE user_id = $1 AND key = $2",
        user_id,
        key,
        answer.status,
        answer.body,
    )


async def release(connection: Connection, user_id: UUID, key: str) -> None:
    """The request failed in a way that a retry may mend: forget the key."""
    await connection.execute(
        "DELETE FROM idempotency_keys WHERE user_id = $1 AND key = $2 AND status IS NULL", user_id, key
    )
