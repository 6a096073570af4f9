"""Refunds: decided under the order's lock, then asked of the provider, then booked as what it said."""

from collections import Counter
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
from veza.realtime.money import Share
from veza.storage import audit, invoices, ledger, notifications, orders, payouts, wakeups
from veza.storage.audit import AuditRow
from veza.storage.database import Connection, transaction
from veza.storage.notifications import NotificationKind
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


class DueRefund(msgspec.Struct, frozen=True):
    """A refund to be asked of the provider; asking twice refunds once."""

    id: UUID
    payment_id: str
    amount_cents: int
    retry_count: int

    @property
    def refund_id(self) -> str:
        return refund_id_of(self.id)


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
            [line.line for line in lines], shares, await before(connection, order_id), wanted, seller_id
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


async def before(connection: Connection, order_id: UUID) -> planning.Before:
    """What went back of an order, is about to, or is disputed."""
    items = await connection.fetch(
        """
        SELECT r.item_id FROM refund_items r JOIN order_items i ON i.id = r.item_id
        WHERE i.order_id = $1 AND r.active
        """,
        order_id,
    )
    rows = await connection.fetch(
        """
        SELECT s.seller_id, s.amount_cents FROM refund_shares s JOIN refunds r ON r.id = s.refund_id
        WHERE r.order_id = $1 AND r.status <> 'failed'
        UNION ALL
        SELECT s.seller_id, s.amount_cents FROM dispute_shares s JOIN disputes d ON d.id = s.dispute_id
        WHERE d.order_id = $1 AND d.status <> 'won'
        """,
        order_id,
    )
    cents: Counter[UUID] = Counter()
    for row in rows:
        cents[row["seller_id"]] += row["amount_cents"]
    return planning.Before(frozenset(row["item_id"] for row in items), cents)


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


# -- at the provider ---------------------------------------------------------------------------------------------


async def claim(pool: Any, most: int, lease: timedelta) -> list[DueRefund]:
    """Refunds to be asked for now, by whoever gets them; they are due again after `lease`."""
    rows = await pool.fetch(
        """
        UPDATE refunds r SET next_at = now() + $2::interval
        FROM payments p
        WHERE p.order_id = r.order_id AND r.id = ANY (ARRAY(
            SELECT id FROM refunds WHERE status = 'pending' AND next_at <= now()
            ORDER BY next_at LIMIT $1 FOR UPDATE SKIP LOCKED))
        RETURNING r.id, p.payment_id, r.amount_cents, r.retry_count
        """,
        most,
        lease,
    )
    return [DueRefund(**row) for row in rows]


async def take_over(pool: Any) -> None:
    """What somebody has begun to ask for who is no more is due. Asked for twice, it is done once."""
    await pool.execute(
        "UPDATE refunds SET next_at = now() WHERE status = 'pending' AND retry_count = 0 AND next_at > now()"
    )


async def postpone(pool: Any, refund_id: UUID, wait_seconds: float, error: str | None) -> None:
    """Ask again later."""
    await pool.execute(
        """
        UPDATE refunds SET retry_count = retry_count + 1, next_at = now() + $2::interval, error = $3
        WHERE id = $1 AND status = 'pending'
        """,
        refund_id,
        timedelta(seconds=wait_seconds),
        error,
    )


async def find(connection: Connection, payment_id: str, refund_id: str | None, amount_cents: int | None) -> UUID | None:
    """The refund that an event is of: by the name that we gave it, else the only one it can be."""
    rows = await connection.fetch(
        """
        SELECT r.id, r.amount_cents, r.status FROM refunds r JOIN payments p ON p.order_id = r.order_id
        WHERE p.payment_id = $1 ORDER BY r.status = 'pending' DESC, r.created_at
        """,
        payment_id,
    )
    if refund_id is not None:
        return next((row["id"] for row in rows if refund_id_of(row["id"]) == refund_id), None)
    return next((row["id"] for row in rows if row["amount_cents"] == amount_cents), None)


class _Pending(msgspec.Struct, frozen=True):
    order_id: UUID
    buyer_id: UUID
    kind: str
    currency: str
    amount_cents: int
    requested_by: UUID | None
    shares: tuple[Share, ...]


async def _lock(connection: Connection, refund_id: UUID) -> _Pending | None:
    """A pending refund under its order's lock; None when it is done."""
    row = await connection.fetchrow(
        """
        SELECT o.id AS order_id, o.buyer_id, o.currency FROM orders o
        WHERE o.id = (SELECT order_id FROM refunds WHERE id = $1) FOR UPDATE
        """,
        refund_id,
    )
    more = await connection.fetchrow(
        "SELECT kind, amount_cents, requested_by FROM refunds WHERE id = $1 AND status = 'pending'", refund_id
    )
    if more is None:
        return None
    shares = await connection.fetch(
        "SELECT seller_id, amount_cents, fee_cents FROM refund_shares WHERE refund_id = $1 ORDER BY seller_id",
        refund_id,
    )
    return _Pending(**row, **more, shares=tuple(Share(**share) for share in shares))


async def succeeded(pool: Any, refund_id: UUID) -> bool:
    """The provider gave the money to the buyer. False when that was known."""
    async with transaction(pool) as connection:
        refund = await _lock(connection, refund_id)
        if refund is None:
            return False
        await _close(connection, refund_id, "succeeded", None)
        if refund.kind == "give_back":
            await ledger.record(connection, movements.give_back(refund_id, refund.currency, refund.amount_cents))
        else:
            await ledger.record(connection, movements.refund_paid(refund_id, refund.currency, refund.amount_cents))
            await settle_status(connection, refund.order_id)
        await _tell(connection, refund_id, refund, "succeeded")
        if refund.kind == "refund":
            await invoices.credit(connection, refund.order_id, refund_id)
        return True


async def failed(pool: Any, refund_id: UUID, error: str) -> bool:
    """The provider will not give the money back: sellers and platform get their parts again. False when that was
    known.
    """
    async with transaction(pool) as connection:
        refund = await _lock(connection, refund_id)
        if refund is None:
            return False
        await _close(connection, refund_id, "failed", error)
        if refund.kind == "refund":
            await connection.execute("UPDATE refund_items SET active = false WHERE refund_id = $1", refund_id)
            await connection.execute(
                "UPDATE orders SET returned_cents = returned_cents - $2 WHERE id = $1",
                refund.order_id,
                refund.amount_cents,
            )
            await ledger.record(connection, movements.refund_failed(refund_id, refund.currency, refund.shares))
            await payouts.owe(connection, refund_id, refund.order_id, refund.currency, refund.shares)
        await _tell(connection, refund_id, refund, "failed")
        return True


async def _close(connection: Connection, refund_id: UUID, status: str, error: str | None) -> None:
    await connection.execute(
        "UPDATE refunds SET status = $2, error = $3, next_at = NULL, done_at = now() WHERE id = $1",
        refund_id,
        status,
        error,
    )


async def settle_status(connection: Connection, order_id: UUID) -> None:
    """The status of a bought order by what went back of it, refunded or lost to a bank."""
    row = await connection.fetchrow(
        """
        SELECT o.total_cents,
               (SELECT coalesce(sum(amount_cents), 0)::bigint FROM refunds
                WHERE order_id = o.id AND kind = 'refund' AND status = 'succeeded')
             + (SELECT coalesce(sum(amount_cents), 0)::bigint FROM disputes
                WHERE order_id = o.id AND status <> 'won') AS returned_cents
        FROM orders o WHERE o.id = $1
        """,
        order_id,
    )
    status = rules.after_refunds(row["total_cents"], min(row["total_cents"], row["returned_cents"]))
    await connection.execute("UPDATE orders SET status = $2 WHERE id = $1", order_id, status.value)


async def _tell(connection: Connection, refund_id: UUID, refund: _Pending, status: str) -> None:
    parts = {refund.buyer_id: refund.amount_cents, **{share.seller_id: share.amount_cents for share in refund.shares}}
    for person, cents in parts.items():
        told = {
            "order_id": refund.order_id,
            "refund_id": refund_id,
            "status": status,
            "amount_cents": cents,
            "currency": refund.currency,
        }
        await notifications.add(connection, [person], NotificationKind.REFUND, told)
