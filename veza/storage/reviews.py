"""Reviews: what buyers think of what they paid for. A product's sums follow by triggers."""

from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg
import msgspec

from veza.errors import Conflict, PermissionDenied
from veza.ids import new_id
from veza.storage import products
from veza.storage.database import Connection, transaction

COMMENT_CHARS = 2000
_COLUMNS = "id, product_id, buyer_id, order_id, rating, comment, created_at"


class Review(msgspec.Struct, frozen=True):
    """One a buyer a product. `order_id` is what they bought it by."""

    id: UUID
    product_id: UUID
    buyer_id: UUID
    order_id: UUID
    rating: int
    comment: str
    created_at: datetime


async def page(connection: Connection, product_id: UUID, limit: int, offset: int) -> tuple[list[Review], int]:
    """Part of a product's reviews, newest first, and how many there are."""
    rows = await connection.fetch(
        f"""
        SELECT {_COLUMNS} FROM reviews WHERE product_id = $1
        ORDER BY created_at DESC, id DESC LIMIT $2 OFFSET $3
        """,  # noqa: S608 - a constant
        product_id,
        limit,
        offset,
    )
    total = await connection.fetchval("SELECT count(*) FROM reviews WHERE product_id = $1", product_id)
    return [Review(**row) for row in rows], total


async def create(pool: Any, product_id: UUID, buyer_id: UUID, rating: int, comment: str) -> Review:
    """Raises ProductNotFound, PermissionDenied for who has not paid for it, Conflict for a second one."""
    async with transaction(pool) as connection:
        product = await products.require_visible(connection, product_id, buyer_id)
        if product.seller_id == buyer_id:
            raise PermissionDenied("Nobody reviews what they sell.")
        order_id = await products.purchase_of(connection, product_id, buyer_id)
        if order_id is None:
            raise PermissionDenied("Only who bought it may review it.")
        try:
            row = await connection.fetchrow(
                f"""
                INSERT INTO reviews (id, product_id, buyer_id, order_id, rating, comment)
                VALUES ($1, $2, $3, $4, $5, $6) RETURNING {_COLUMNS}
                """,  # noqa: S608 - a constant
                new_id(),
                product_id,
                buyer_id,
                order_id,
                rating,
                comment,
            )
        except asyncpg.UniqueViolationError as error:
            raise Conflict("You have reviewed this product.") from error
    return Review(**row)
