"""Refunds: decided under the order's lock, then asked of the provider, then booked as what it said."""

from collections.abc import Collection, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec

from veza.errors import Conflict, OrderNotFound
from veza.ids import base32, new_id
from veza.realtime import ledger as movements
from veza.realtime import order as rules
from veza.realtime import refund as planning
from veza.storage import audit, ledger, orders, payouts, returns, wakeups
from veza.storage.audit import AuditRow
from veza.storage.database import Connection, transaction
from veza.storage.orders import OrderItem


class Refund(msgspec.Struct, frozen=True):
    """`items` are of the order. `credit_note` tells whether there is one to be read."""

    id: UUID
    order_id: UUID
    status: str
    amount_cents: int
    currency: str
    reason: str
    details: str | None
    items: list[UUID]
    credit_note: bool
    created_at: datetime
    done_at: datetime | None


def refund_id_of(refund_id: UUID) -> str:
    """The name of a refund at the provider: ours, of 30 characters."""
    return f"ref_{base32(refund_id)}"


# -- asking for one ----------------------------------------------------------------------------------------------


async def request(
    pool: Any,
    order_id: UUID,
    user_id: UUID,
    *,
    reason: str,
    details: str | None,
    items: Collection[UUID] | None,
    window: timedelta,
    by: AuditRow,
) -> UUID:
    """Refund items, by their ids or their products', or all that is left; a seller refunds only what they sold.

    Raises OrderNotFound for everybody but the buyer and the sellers; Conflict where nothing was paid, where it went
    back before, or where the buyer's time is over; InvalidArgument for other items.
    """
    async with transaction(pool) as connection:
        order = await connection.fetchrow(
            "SELECT buyer_id, status, currency, paid_at FROM orders WHERE id = $1 FOR UPDATE", order_id
        )
        shares = await orders.shares_of(connection, order_id)
        sold_by = {share.seller_id for share in shares}
        if order is None or user_id not in sold_by | {order["buyer_id"]}:
            raise OrderNotFound
        if order["status"] not in rules.BOUGHT:
            raise Conflict("Nothing was paid for this order.")
        seller_id = None if user_id == order["buyer_id"] else user_id
        if seller_id is None and datetime.now(UTC) - order["paid_at"] > window:
            raise Conflict(f"An order can be refunded for {window.days} days; ask its seller.")
        lines = (await orders.items_of(connection, [order_id]))[order_id]
        wanted = None if items is None else _named(lines, set(items))
        plan = planning.plan(
            [line.line for line in lines], shares, await returns.before(connection, order_id), wanted, seller_id
        )
        refund_id = new_id()
        await _insert(connection, refund_id, order_id, plan, user_id=user_id, reason=reason, details=details)
        await ledger.record(connection, movements.refund_owed(refund_id, order["currency"], plan.shares))
        await payouts.take_back(connection, order_id, plan.shares)
        await audit.record(connection, by)
        await wakeups.wake(connection, wakeups.REFUNDS)
        return refund_id


def _named(lines: Iterable[OrderItem], names: set[UUID]) -> set[UUID]:
    """The items that are meant; with what is not there, which is refused."""
    ids = {line.id for line in lines if names & {line.id, line.product_id}}
    return ids | names - {name for line in lines for name in (line.id, line.product_id)}


async def _insert(
    connection: Connection,
    refund_id: UUID,
    order_id: UUID,
    plan: planning.Plan,
    *,
    user_id: UUID,
    reason: str,
    details: str | None,
) -> None:
    await connection.execute(
        """
        INSERT INTO refunds (id, order_id, kind, amount_cents, requested_by, reason, details)
        VALUES ($1, $2, 'refund', $3, $4, $5, $6)
        """,
        refund_id,
        order_id,
        plan.amount_cents,
        user_id,
        reason,
        details,
    )
    await connection.execute(
        "INSERT INTO refund_items (refund_id, item_id) SELECT $1, * FROM unnest($2::uuid[])",
        refund_id,
        [line.item_id for line in plan.items],
    )
    await connection.execute(
        """
        INSERT INTO refund_shares (refund_id, seller_id, amount_cents, fee_cents)
        SELECT $1, * FROM unnest($2::uuid[], $3::bigint[], $4::bigint[])
        """,
        refund_id,
        [share.seller_id for share in plan.shares],
        [share.amount_cents for share in plan.shares],
        [share.fee_cents for share in plan.shares],
    )
    await connection.execute(
        "UPDATE orders SET returned_cents = returned_cents + $2 WHERE id = $1", order_id, plan.amount_cents
    )


async def page(connection: Connection, order_id: UUID, user_id: UUID) -> list[Refund]:
    """The refunds of an order, oldest first, for its buyer, and for a seller what is theirs of those.

    Raises OrderNotFound.
    """
    seen = await connection.fetchval(
        """
        SELECT o.buyer_id = $2 FROM orders o WHERE o.id = $1 AND (o.buyer_id = $2 OR EXISTS (
            SELECT FROM order_shares s WHERE s.order_id = o.id AND s.seller_id = $2 AND s.sold_at IS NOT NULL))
        """,
        order_id,
        user_id,
    )
    if seen is None:
        raise OrderNotFound
    rows = await connection.fetch(
        """
        SELECT r.id, r.order_id, r.status, CASE WHEN $3 THEN r.amount_cents ELSE s.amount_cents END AS amount_cents,
               o.currency, r.reason, r.details, r.created_at, r.done_at,
               ARRAY(SELECT i.item_id FROM refund_items i JOIN order_items t ON t.id = i.item_id
                     WHERE i.refund_id = r.id AND ($3 OR t.seller_id = $2) ORDER BY i.item_id) AS items,
               EXISTS (SELECT FROM invoices v WHERE v.refund_id = r.id) AS credit_note
        FROM refunds r JOIN orders o ON o.id = r.order_id
        LEFT JOIN refund_shares s ON s.refund_id = r.id AND s.seller_id = $2
        WHERE r.order_id = $1 AND ($3 OR s.seller_id IS NOT NULL)
        ORDER BY r.created_at, r.id
        """,
        order_id,
        user_id,
        seen,
    )
    return [Refund(**row) for row in rows]
