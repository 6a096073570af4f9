"""Orders: what somebody buys, at the prices of that moment, and the one payment of it."""

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from veza.errors import OrderNotFound
from veza.ids import base32
from veza.realtime import money
from veza.realtime.order import OrderStatus
from veza.storage.database import Connection


class OrderItem(msgspec.Struct, frozen=True):
    """A product as it was when it was ordered. `refunded` is true when it went back, or is about to."""

    id: UUID
    product_id: UUID
    seller_id: UUID
    title: str
    product_type: str
    unit_cents: int
    quantity: int
    refunded: bool

    @property
    def line(self) -> money.Line:
        return money.Line(self.id, self.seller_id, self.unit_cents, self.quantity)


class OrderPayment(msgspec.Struct, frozen=True):
    """With `client_secret` the provider's own form takes the buyer's card. `error` says why nothing was paid."""

    provider: str
    payment_id: str
    status: str
    client_secret: str | None
    redirect_url: str | None
    error: str | None


class Order(msgspec.Struct, frozen=True):
    """`refunded_cents` of the total went back, or are about to. Pending, it expires at `expires_at`."""

    id: UUID
    buyer_id: UUID
    status: OrderStatus
    items: list[OrderItem]
    total_cents: int
    refunded_cents: int
    currency: str
    payment_method: str
    payment: OrderPayment
    created_at: datetime
    expires_at: datetime
    paid_at: datetime | None


class Sale(msgspec.Struct, frozen=True):
    """What an order brought a seller: `items` are theirs alone, `amount_cents` less `fee_cents` is for them."""

    order_id: UUID
    buyer_id: UUID
    status: OrderStatus
    items: list[OrderItem]
    amount_cents: int
    fee_cents: int
    refunded_cents: int
    currency: str
    sold_at: datetime


def payment_id_of(order_id: UUID) -> str:
    """The name of an order's payment at the provider: ours, so that asking twice charges once.

    Hyperswitch takes 30 characters at most (https://api-reference.hyperswitch.io/v1/payments/payments--create).
    """
    return f"pay_{base32(order_id)}"


# -- reading -----------------------------------------------------------------------------------------------------

_SELECT = """
    SELECT o.id, o.buyer_id, o.status, o.total_cents, o.returned_cents AS refunded_cents, o.currency,
           o.payment_method, o.created_at, o.expires_at, o.paid_at,
           p.provider, p.payment_id, p.status AS payment_status, p.client_secret, p.redirect_url, p.error
    FROM orders o JOIN payments p ON p.order_id = o.id
    """


async def get(connection: Connection, order_id: UUID, buyer_id: UUID | None = None) -> Order:
    """An order, for its buyer only when one is named. Raises OrderNotFound."""
    rows = await connection.fetch(
        f"{_SELECT} WHERE o.id = $1 AND ($2::uuid IS NULL OR o.buyer_id = $2)", order_id, buyer_id
    )
    if not rows:
        raise OrderNotFound
    [found] = await _orders(connection, rows)
    return found


async def page(
    connection: Connection, buyer_id: UUID, status: OrderStatus | None, limit: int, offset: int
) -> tuple[list[Order], int]:
    """Part of what somebody ordered, newest first, and how much that is."""
    rows = await connection.fetch(
        f"""{_SELECT} WHERE o.buyer_id = $1 AND ($2::text IS NULL OR o.status = $2)
        ORDER BY o.created_at DESC, o.id DESC LIMIT $3 OFFSET $4""",
        buyer_id,
        status,
        limit,
        offset,
    )
    total = await connection.fetchval(
        "SELECT count(*) FROM orders WHERE buyer_id = $1 AND ($2::text IS NULL OR status = $2)", buyer_id, status
    )
    return await _orders(connection, rows), total


_SALES = """
    SELECT s.order_id, o.buyer_id, o.status, s.amount_cents, s.fee_cents, o.currency, s.sold_at,
           (SELECT coalesce(sum(x.amount_cents), 0)::bigint
            FROM refund_shares x JOIN refunds r ON r.id = x.refund_id
            WHERE r.order_id = o.id AND x.seller_id = $1 AND r.status <> 'failed') AS refunded_cents
    FROM order_shares s JOIN orders o ON o.id = s.order_id
    WHERE s.seller_id = $1 AND s.sold_at IS NOT NULL
    """


async def sales(connection: Connection, seller_id: UUID, limit: int, offset: int) -> tuple[list[Sale], int]:
    """Part of what somebody sold, newest first, and how many sales that are."""
    rows = await connection.fetch(
        f"{_SALES} ORDER BY s.sold_at DESC, s.order_id DESC LIMIT $2 OFFSET $3", seller_id, limit, offset
    )
    total = await connection.fetchval(
        "SELECT count(*) FROM order_shares WHERE seller_id = $1 AND sold_at IS NOT NULL", seller_id
    )
    return await _sales(connection, seller_id, rows), total


async def sale(connection: Connection, seller_id: UUID, order_id: UUID) -> Sale:
    """What one order brought a seller. Raises OrderNotFound."""
    rows = await connection.fetch(f"{_SALES} AND s.order_id = $2", seller_id, order_id)
    if not rows:
        raise OrderNotFound
    [found] = await _sales(connection, seller_id, rows)
    return found


async def _sales(connection: Connection, seller_id: UUID, rows: list[Any]) -> list[Sale]:
    items = await items_of(connection, [row["order_id"] for row in rows])
    return [
        Sale(**row, items=[item for item in items[row["order_id"]] if item.seller_id == seller_id])
        for row in map(_with_status, rows)
    ]


async def items_of(connection: Connection, order_ids: list[UUID]) -> dict[UUID, list[OrderItem]]:
    """What is in each of these orders, in its order."""
    rows = await connection.fetch(
        """
        SELECT i.order_id, i.id, i.product_id, i.seller_id, i.title, i.product_type, i.unit_cents, i.quantity,
               EXISTS (SELECT FROM refund_items r WHERE r.item_id = i.id AND r.active) AS refunded
        FROM order_items i WHERE i.order_id = ANY ($1::uuid[]) ORDER BY i.order_id, i.position
        """,
        order_ids,
    )
    found: dict[UUID, list[OrderItem]] = {order_id: [] for order_id in order_ids}
    for row in rows:
        values = dict(row)
        found[values.pop("order_id")].append(OrderItem(**values))
    return found


async def shares_of(connection: Connection, order_id: UUID) -> tuple[money.Share, ...]:
    """How an order is split, in one order always."""
    rows = await connection.fetch(
        "SELECT seller_id, amount_cents, fee_cents FROM order_shares WHERE order_id = $1 ORDER BY seller_id", order_id
    )
    return tuple(money.Share(**row) for row in rows)


async def _orders(connection: Connection, rows: list[Any]) -> list[Order]:
    items = await items_of(connection, [row["id"] for row in rows])
    return [_order(_with_status(row), items[row["id"]]) for row in rows]


def _with_status(row: Any) -> dict[str, Any]:
    return {**row, "status": OrderStatus(row["status"])}


def _order(values: dict[str, Any], items: list[OrderItem]) -> Order:
    payment = OrderPayment(
        provider=values.pop("provider"),
        payment_id=values.pop("payment_id"),
        status=values.pop("payment_status"),
        client_secret=values.pop("client_secret"),
        redirect_url=values.pop("redirect_url"),
        error=values.pop("error"),
    )
    return Order(**values, items=items, payment=payment)
