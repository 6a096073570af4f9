"""What products deliver, as rows; the bytes are in the object store.

A file is its seller's. One that no product names goes after a day, and its object with the row (`loose_objects`).
"""

from typing import Any
from uuid import UUID

import msgspec

from veza.errors import TooMuchUnsent
from veza.storage import loose_objects
from veza.storage.database import Connection, transaction

# What one seller may have uploaded that no product names.
MOST_UNUSED_BYTES = 1024 * 1024 * 1024


class ProductFile(msgspec.Struct, frozen=True):
    """A file that a product delivers, as its seller sees it."""

    id: UUID
    name: str
    size_bytes: int
    mime_type: str


class StoredFile(msgspec.Struct, frozen=True):
    """Where a file is, and what is in it. `sha256` is of the content."""

    object_key: str
    name: str
    mime_type: str
    size_bytes: int
    sha256: bytes


async def unused_bytes(connection: Connection, seller_id: UUID) -> int:
    """What a seller's files take, together, that no product names and the sweep has not taken yet."""
    found: int = await connection.fetchval(
        """
        SELECT coalesce(sum(size_bytes), 0)::bigint FROM product_files f
        WHERE seller_id = $1 AND NOT EXISTS (SELECT FROM products p WHERE p.file_id = f.id)
        """,
        seller_id,
    )
    return found


async def add(pool: Any, file_id: UUID, seller_id: UUID, file: StoredFile) -> None:
    """Give an uploaded object its row. Raises TooMuchUnsent when its seller has more than MOST_UNUSED_BYTES unused
    then, and Unavailable when the upload was given up meanwhile.
    """
    async with transaction(pool) as connection:
        # One at a time for a seller, or two that fit alone would both be let in.
        await connection.execute("SELECT FROM users WHERE id = $1 FOR NO KEY UPDATE", seller_id)
        if await unused_bytes(connection, seller_id) + file.size_bytes > MOST_UNUSED_BYTES:
            raise TooMuchUnsent("Too much is uploaded that no product delivers.")
        await loose_objects.claim(connection, file.object_key)
        await connection.execute(
            """
            INSERT INTO product_files (id, seller_id, name, mime_type, size_bytes, sha256, object_key)
            VALUES ($1, $2, $3, $4, $5, $6, $7)
            """,
            file_id,
            seller_id,
            file.name,
            file.mime_type,
            file.size_bytes,
            file.sha256,
            file.object_key,
        )


async def usable(connection: Connection, file_id: UUID, seller_id: UUID) -> bool:
    """Whether a seller's product may name this file, which then stays until the transaction ends. One that was unused
    for a day is as good as gone: the sweep may take it at any moment.
    """
    found: bool | None = await connection.fetchval(
        """
        SELECT true FROM product_files f
        WHERE id = $1 AND seller_id = $2
          AND (created_at > now() - interval '1 day' OR EXISTS (SELECT FROM products p WHERE p.file_id = f.id))
        FOR KEY SHARE
        """,
        file_id,
        seller_id,
    )
    return bool(found)


async def of_product(connection: Connection, product_id: UUID) -> StoredFile | None:
    """What a product delivers."""
    row = await connection.fetchrow(
        """
        SELECT f.object_key, f.name, f.mime_type, f.size_bytes, f.sha256
        FROM products p JOIN product_files f ON f.id = p.file_id WHERE p.id = $1
        """,
        product_id,
    )
    return None if row is None else StoredFile(**row)
