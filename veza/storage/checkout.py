"""Checkout: an order at the prices of that moment, with the pieces it needs taken, and a payment to be asked for."""

from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from veza.errors import Conflict, InvalidArgument, PermissionDenied, ProductNotFound
from veza.ids import new_id
from veza.realtime import money
from veza.realtime.order import EXPIRES_SECONDS, OrderStatus
from veza.storage import stock
from veza.storage.database import sql, transaction
from veza.storage.orders import Order, OrderItem, OrderPayment, payment_id_of

MOST_ITEMS = 50
MOST_PIECES = 100
# Pending orders hold stock, so nobody has any number of them.
MOST_WAITING = 100
# What payment providers take at once (https://docs.stripe.com/currencies#minimum-and-maximum-charge-amounts).
MOST_CENTS = 99_999_999


async def create(
    pool: Any, buyer_id: UUID, wanted: Mapping[UUID, int], *, method: str, fee_rate: Decimal, provider: str
) -> Order:
    """An order of so many pieces of each product.

    Raises InvalidArgument, ProductNotFound, PermissionDenied for one's own, Conflict where the stock does not suffice.
    """
    async with transaction(pool) as connection:
        rows = await connection.fetch(
            """
            SELECT id, seller_id, title, product_type, price_cents, currency, stock,
                   (SELECT count(*) FROM orders WHERE buyer_id = $2 AND status = 'pending') AS waiting
            FROM products WHERE id = ANY ($1::uuid[]) AND status = 'published' AND deleted_at IS NULL
            """,
            list(wanted),
            buyer_id,
        )
        products = {row["id"]: row for row in rows}
        _check(buyer_id, wanted, products)
        await stock.take(connection, {i: n for i, n in wanted.items() if products[i]["stock"] is not None})
        items = [_item(products[product_id], quantity) for product_id, quantity in wanted.items()]
        return await _place(connection, buyer_id, items, products, method=method, fee_rate=fee_rate, provider=provider)


def _check(buyer_id: UUID, wanted: Mapping[UUID, int], products: Mapping[UUID, Any]) -> None:
    if len(products) < len(wanted):
        raise ProductNotFound
    if any(row["seller_id"] == buyer_id for row in products.values()):
        raise PermissionDenied("You cannot buy what is your own.")
    if len({row["currency"] for row in products.values()}) > 1:
        raise InvalidArgument("One order has one currency.", (("items", "several currencies"),))
    if any(row["waiting"] >= MOST_WAITING for row in products.values()):
        raise Conflict("Too many orders wait for their payment.")


def _item(product: Any, quantity: int) -> OrderItem:
    return OrderItem(
        id=new_id(),
        product_id=product["id"],
        seller_id=product["seller_id"],
        title=product["title"],
        product_type=product["product_type"],
        unit_cents=product["price_cents"],
        quantity=quantity,
        refunded=False,
    )


async def _place(
    connection: Any,
    buyer_id: UUID,
    items: list[OrderItem],
    products: Mapping[UUID, Any],
    *,
    method: str,
    fee_rate: Decimal,
    provider: str,
) -> Order:
    total = sum(item.line.amount_cents for item in items)
    if total > MOST_CENTS:
        raise InvalidArgument("An order of so much cannot be paid at once.", (("items", "too much"),))
    shares = money.shares([item.line for item in items], fee_rate)
    order_id, currency = new_id(), products[items[0].product_id]["currency"]
    row = await connection.fetchrow(
        sql("place_order"),
        order_id,
        buyer_id,
        currency,
        total,
        sum(share.fee_cents for share in shares),
        method,
        timedelta(seconds=EXPIRES_SECONDS),
        [item.id for item in items],
        [item.product_id for item in items],
        [item.seller_id for item in items],
        [item.title for item in items],
        [item.product_type for item in items],
        [item.unit_cents for item in items],
        [item.quantity for item in items],
        [products[item.product_id]["stock"] is not None for item in items],
        [share.seller_id for share in shares],
        [share.amount_cents for share in shares],
        [share.fee_cents for share in shares],
        provider,
        payment_id_of(order_id),
    )
    return Order(
        id=order_id,
        buyer_id=buyer_id,
        status=OrderStatus.PENDING,
        items=items,
        total_cents=total,
        refunded_cents=0,
        currency=currency,
        payment_method=method,
        payment=OrderPayment(provider, payment_id_of(order_id), "creating", None, None, None),
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        paid_at=None,
    )
