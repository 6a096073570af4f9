"""Stock: pieces of products that orders take, and give back when they come to nothing."""

from collections.abc import Mapping
from uuid import UUID

from veza.errors import Conflict
from veza.storage.database import Connection


async def take(connection: Connection, wanted: Mapping[UUID, int]) -> None:
    """Take pieces of products from their stock, where they have one. Raises Conflict, with some taken already."""
    # In one order for all, or two orders might wait for each other.
    for product_id in sorted(wanted):
        done = await connection.execute(
            "UPDATE products SET stock = stock - $2 WHERE id = $1 AND (stock IS NULL OR stock >= $2)",
            product_id,
            wanted[product_id],
        )
        if done == "UPDATE 0":
            raise Conflict("There is not enough of it left.", (("items", "sold out"),))


async def lock_products(connection: Connection, order_id: UUID) -> None:
    """Lock an order's products, in one order for all. In a statement of its own: one that also changes them would see
    them as they were before the lock, and wait for whoever waits for it.
    """
    await connection.execute(
        """
        SELECT FROM products WHERE id IN (SELECT product_id FROM order_items WHERE order_id = $1)
        ORDER BY id FOR NO KEY UPDATE
        """,
        order_id,
    )


async def give_back(connection: Connection, order_id: UUID) -> None:
    """Return what a pending order took. A product that has no stock any more, or had none then, gains nothing."""
    await lock_products(connection, order_id)
    await connection.execute(
        """
        UPDATE products p SET stock = least(p.stock + i.quantity, 1000000) FROM order_items i
        WHERE i.order_id = $1 AND i.stock_taken AND p.id = i.product_id AND p.stock IS NOT NULL
        """,
        order_id,
    )
