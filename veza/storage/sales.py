"""What becomes of an order when the provider says what became of its payment.

Locks are taken in one order everywhere: the order, its products, the sellers' lanes, their transfers.
"""

from typing import Any
from uuid import UUID

import msgspec

from veza.errors import Conflict
from veza.ids import new_id
from veza.realtime import ledger as movements
from veza.realtime.money import Share
from veza.realtime.order import BOUGHT, OrderStatus, Verdict, on_failure, on_success
from veza.storage import invoices, ledger, notifications, orders, payouts, stock, wakeups
from veza.storage.database import Connection, transaction
from veza.storage.notifications import Notice, NotificationKind


class PaymentUnknown(Exception):
    """There is no such payment, or not yet."""


class Locked(msgspec.Struct, frozen=True):
    """An order and its payment, under their lock."""

    id: UUID
    buyer_id: UUID
    status: OrderStatus
    currency: str
    total_cents: int
    payment_status: str


async def lock(connection: Connection, payment_id: str) -> Locked:
    """The order that a payment is of. Raises PaymentUnknown."""
    row = await connection.fetchrow(
        """
        SELECT o.id, o.buyer_id, o.status, o.currency, o.total_cents, p.status AS payment_status
        FROM payments p JOIN orders o ON o.id = p.order_id WHERE p.payment_id = $1 FOR UPDATE OF o, p
        """,
        payment_id,
    )
    if row is None:
        raise PaymentUnknown(payment_id)
    return Locked(**{**row, "status": OrderStatus(row["status"])})


async def answered(pool: Any, payment_id: str, *, client_secret: str | None, redirect_url: str | None) -> None:
    """The provider has taken a payment in; what becomes of it, its webhook tells."""
    await pool.execute(
        """
        UPDATE payments SET status = 'processing', client_secret = $2, redirect_url = $3
        WHERE payment_id = $1 AND status = 'creating'
        """,
        payment_id,
        client_secret,
        redirect_url,
    )


async def succeeded(pool: Any, payment_id: str, amount_cents: int | None, currency: str | None) -> Verdict:
    """The provider has a buyer's money, and says how much. Raises PaymentUnknown."""
    async with transaction(pool) as connection:
        order = await lock(connection, payment_id)
        verdict = on_success(
            order.status,
            received=order.payment_status == "succeeded",
            as_charged=(amount_cents, currency) == (order.total_cents, order.currency),
            in_stock=True,
        )
        if verdict is Verdict.SELL and not await _has_stock(connection, order):
            verdict = Verdict.GIVE_BACK
        match verdict:
            case Verdict.SELL:
                await _sell(connection, order)
            case Verdict.GIVE_BACK:
                await connection.execute(_RECEIVED, order.id)
                await _give_back(connection, order)
            case Verdict.IGNORE if order.payment_status == "succeeded" and order.status not in BOUGHT:
                await _give_back_again(connection, order)
            case Verdict.ALERT:
                await connection.execute(
                    "UPDATE payments SET alert = $2 WHERE payment_id = $1",
                    payment_id,
                    f"the provider took {amount_cents} {currency} for {order.total_cents} {order.currency}",
                )
        return verdict


async def failed(pool: Any, payment_id: str, error: str | None) -> Verdict:
    """The provider has not got the money, and will not. Raises PaymentUnknown."""
    async with transaction(pool) as connection:
        order = await lock(connection, payment_id)
        verdict = on_failure(order.status)
        if verdict is Verdict.FAIL:
            await _end(connection, order.id, OrderStatus.FAILED)
        await connection.execute(
            """
            UPDATE payments SET status = 'failed', error = $2
            WHERE payment_id = $1 AND status IN ('creating', 'processing')
            """,
            payment_id,
            error or "The payment was declined.",
        )
        return verdict


async def expire(pool: Any, most: int) -> int:
    """End pending orders that had their time; returns how many. A payment that comes after all still counts."""
    for done in range(most):
        # One at a time: the products of several would be locked in no order.
        async with transaction(pool) as connection:
            order_id = await connection.fetchval(
                """
                SELECT id FROM orders WHERE status = 'pending' AND expires_at <= now()
                ORDER BY expires_at LIMIT 1 FOR UPDATE SKIP LOCKED
                """
            )
            if order_id is None:
                return done
            await _end(connection, order_id, OrderStatus.EXPIRED)
    return most


async def _end(connection: Connection, order_id: UUID, status: OrderStatus) -> None:
    await connection.execute("UPDATE orders SET status = $2 WHERE id = $1", order_id, status.value)
    await stock.give_back(connection, order_id)


async def _has_stock(connection: Any, order: Locked) -> bool:
    """Whether the pieces are kept for the order, as while it is pending, or could be taken again now."""
    if order.status is OrderStatus.PENDING:
        return True
    [items] = (await orders.items_of(connection, [order.id])).values()
    try:
        async with connection.transaction():
            await stock.take(connection, {item.product_id: item.quantity for item in items})
    except Conflict:
        return False
    return True


# What the provider has, is ours to sell for or to give back.
_RECEIVED = """
    UPDATE payments SET status = 'succeeded', received_at = now(), error = NULL, alert = NULL,
        asked_at = NULL
    WHERE order_id = $1
    """


async def _sell(connection: Connection, order: Locked) -> None:
    shares = await orders.shares_of(connection, order.id)
    await ledger.record(connection, _payment(order), movements.sale(order.id, order.currency, shares))
    await stock.lock_products(connection, order.id)
    await connection.execute(
        f"""
        WITH received AS ({_RECEIVED}), paid AS (
            UPDATE orders SET status = 'paid', paid_at = now() WHERE id = $1
        ), shared AS (
            UPDATE order_shares SET sold_at = now() WHERE order_id = $1
        )
        UPDATE products p SET sold_count = p.sold_count + i.quantity FROM order_items i
        WHERE i.order_id = $1 AND p.id = i.product_id
        """,  # noqa: S608 - a constant
        order.id,
    )
    await payouts.owe(connection, order.id, order.id, order.currency, shares)
    await _tell(connection, order, shares)
    # Last, for it holds the year's counter until the commit.
    await invoices.issue(connection, order.id)


def _payment(order: Locked) -> movements.Movement:
    return movements.payment(order.id, order.currency, order.total_cents)


async def _tell(connection: Connection, order: Locked, shares: tuple[Share, ...]) -> None:
    bought = {"order_id": order.id, "total_cents": order.total_cents, "currency": order.currency}
    notices = [Notice(order.buyer_id, NotificationKind.ORDER_PAID, bought)]
    for share in shares:
        sold = {
            "order_id": order.id,
            "amount_cents": share.amount_cents,
            "platform_fee_cents": share.fee_cents,
            "currency": order.currency,
        }
        notices.append(Notice(share.seller_id, NotificationKind.SALE, sold))
    await notifications.add_each(connection, notices)


async def _give_back(connection: Connection, order: Locked) -> None:
    """A payment that comes too late for the last piece: all of it goes back."""
    await ledger.record(connection, _payment(order))
    await _give_back_again(connection, order)


async def _give_back_again(connection: Connection, order: Locked) -> None:
    """Ask for it, unless that is done or under way: replaying the webhook mends what a provider has refused."""
    await connection.execute(
        """
        INSERT INTO refunds (id, order_id, kind, amount_cents, reason)
        VALUES ($1, $2, 'give_back', $3, 'What was ordered is sold out.')
        ON CONFLICT (order_id) WHERE kind = 'give_back' AND status <> 'failed' DO NOTHING
        """,
        new_id(),
        order.id,
        order.total_cents,
    )
    await wakeups.wake(connection, wakeups.REFUNDS)


# -- reconciliation ----------------------------------------------------------------------------------------------


async def unheard(pool: Any, most: int) -> list[str]:
    """Payments of which nothing good was heard for two minutes, by name; asked for now, they are left alone a while.

    The older, the rarer: at most once an hour. After a week nothing comes any more, nor a day after a failure, when the
    buyer may still try again with the same payment: then `asked_at` is null.
    """
    async with transaction(pool) as connection:
        await connection.execute(
            """
            UPDATE payments SET asked_at = NULL WHERE asked_at IS NOT NULL
              AND created_at < now() - CASE status WHEN 'failed' THEN interval '1 day' ELSE interval '7 days' END
            """
        )
        rows = await connection.fetch(
            """
            UPDATE payments SET asked_at = now()
            WHERE order_id = ANY (ARRAY(
                SELECT order_id FROM payments
                WHERE asked_at < now() - interval '2 minutes'
                  AND asked_at < now() - least(interval '1 hour', (now() - created_at) / 4)
                ORDER BY asked_at LIMIT $1 FOR UPDATE SKIP LOCKED
            ))
            RETURNING payment_id
            """,
            most,
        )
        return [row["payment_id"] for row in rows]
