"""What becomes of refunds at the provider; booked as it happens."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import msgspec

from veza.realtime import ledger as movements
from veza.realtime.money import Share
from veza.storage import invoices, ledger, notifications, payouts, returns, wakeups
from veza.storage.database import Connection, transaction
from veza.storage.notifications import NotificationKind
from veza.storage.refunds import refund_id_of


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
        "SELECT kind, amount_cents FROM refunds WHERE id = $1 AND status = 'pending'", refund_id
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
            await returns.settle_status(connection, refund.order_id)
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
            await returns.share_disputes_anew(connection, refund.order_id, refund_id, refund.currency)
            await returns.count_returned(connection, refund.order_id)
        await _tell(connection, refund_id, refund, "failed")
        return True


async def _close(connection: Connection, refund_id: UUID, status: str, error: str | None) -> None:
    await connection.execute(
        "UPDATE refunds SET status = $2, error = $3, next_at = NULL, done_at = now() WHERE id = $1",
        refund_id,
        status,
        error,
    )


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
