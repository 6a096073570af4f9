"""What becomes of refunds at the provider, and of disputes beside them; booked as it happens."""

from collections import Counter
from collections.abc import Collection
from datetime import timedelta
from typing import Any
from uuid import UUID

import msgspec

from veza.realtime import ledger as movements
from veza.realtime import order as rules
from veza.realtime.dispute import given_up
from veza.realtime.money import Share
from veza.storage import invoices, ledger, notifications, orders, payouts, wakeups
from veza.storage.database import Connection, transaction
from veza.storage.notifications import NotificationKind
from veza.storage.refunds import before, refund_id_of


class DueRefund(msgspec.Struct, frozen=True):
    """A refund to be asked of the provider; asking twice refunds once."""

    id: UUID
    payment_id: str
    amount_cents: int
    retry_count: int

    @property
    def refund_id(self) -> str:
        return refund_id_of(self.id)


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


async def find(connection: Connection, payment_id: str, refund_id: str) -> UUID | None:
    """The refund of a payment that has this name, which we gave it."""
    rows = await connection.fetch(
        "SELECT r.id FROM refunds r JOIN payments p ON p.order_id = r.order_id WHERE p.payment_id = $1", payment_id
    )
    return next((row["id"] for row in rows if refund_id_of(row["id"]) == refund_id), None)


async def has_failed(connection: Connection, refund_id: UUID) -> bool:
    found: bool = await connection.fetchval("SELECT status = 'failed' FROM refunds WHERE id = $1", refund_id)
    return found


async def hurry(pool: Any, payment_id: str) -> bool:
    """Ask for the pending refunds of a payment now; whether it has any refund at all."""
    async with transaction(pool) as connection:
        found: bool = await connection.fetchval(
            """
            WITH hurried AS (
                UPDATE refunds r SET next_at = now() FROM payments p
                WHERE p.payment_id = $1 AND r.order_id = p.order_id AND r.status = 'pending'
            )
            SELECT EXISTS (SELECT FROM refunds r JOIN payments p ON p.order_id = r.order_id WHERE p.payment_id = $1)
            """,
            payment_id,
        )
        await wakeups.wake(connection, wakeups.REFUNDS)
        return found


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
            await ledger.record(connection, movements.refund_failed(refund_id, refund.currency, refund.shares))
            await payouts.owe(connection, refund_id, refund.order_id, refund.currency, refund.shares)
            await _share_disputes_anew(connection, refund_id, refund)
            await count_returned(connection, refund.order_id)
        await _tell(connection, refund_id, refund, "failed")
        return True


async def _close(connection: Connection, refund_id: UUID, status: str, error: str | None) -> None:
    await connection.execute(
        "UPDATE refunds SET status = $2, error = $3, next_at = NULL, done_at = now() WHERE id = $1",
        refund_id,
        status,
        error,
    )


async def count_returned(connection: Connection, order_id: UUID) -> None:
    """What goes back of an order, with what is disputed, though never more than was charged."""
    gone = await before(connection, order_id)
    await connection.execute(
        "UPDATE orders SET returned_cents = least(total_cents, $2) WHERE id = $1", order_id, sum(gone.cents.values())
    )


async def _share_disputes_anew(connection: Connection, refund_id: UUID, refund: _Pending) -> None:
    """What a bank took while the refund was pending was the platform's loss as far as the refund had emptied the
    sellers' shares. Now these are full again, and the loss is the sellers'.
    """
    shares = await orders.shares_of(connection, refund.order_id)
    moved: Counter[UUID] = Counter()
    disputes = await connection.fetch(
        "SELECT id, amount_cents FROM disputes WHERE order_id = $1 AND status <> 'won' ORDER BY created_at, id",
        refund.order_id,
    )
    for dispute in disputes:
        rows = await connection.fetch(
            "DELETE FROM dispute_shares WHERE dispute_id = $1 RETURNING seller_id, amount_cents, fee_cents",
            dispute["id"],
        )
        gone = await before(connection, refund.order_id)
        lost = given_up(shares, gone.cents, dispute["amount_cents"])
        await add_dispute_shares(connection, dispute["id"], lost)
        moved.update({share.seller_id: share.net_cents for share in lost})
        moved.subtract({row["seller_id"]: row["amount_cents"] - row["fee_cents"] for row in rows})
    more = [Share(seller_id, cents, 0) for seller_id, cents in moved.items() if cents > 0]
    if more:
        await ledger.record(connection, movements.dispute_moved(refund_id, refund.currency, more))
        await payouts.take_back(connection, refund.order_id, more)


async def add_dispute_shares(connection: Connection, dispute_id: UUID, lost: Collection[Share]) -> None:
    """Whose loss a dispute is."""
    await connection.execute(
        """
        INSERT INTO dispute_shares (dispute_id, seller_id, amount_cents, fee_cents)
        SELECT $1, * FROM unnest($2::uuid[], $3::bigint[], $4::bigint[])
        """,
        dispute_id,
        [share.seller_id for share in lost],
        [share.amount_cents for share in lost],
        [share.fee_cents for share in lost],
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
