"""Disputes: money that a buyer's bank takes back, and sometimes returns."""

from typing import Any

from veza.ids import new_id
from veza.realtime import dispute as rules
from veza.realtime import ledger as movements
from veza.realtime.money import Share
from veza.realtime.order import BOUGHT
from veza.storage import ledger, notifications, orders, payouts, returns, sales
from veza.storage.database import Connection, transaction
from veza.storage.notifications import NotificationKind


class PaymentNotBooked(Exception):
    """The payment is not booked yet: what happened to it later waits."""


class NotAsCharged(Exception):
    """More is disputed than was charged, nothing, or another currency: a person has to look at it."""


async def opened(
    pool: Any, payment_id: str, reference: str, amount_cents: int | None, currency: str | None = None
) -> bool:
    """A bank took money of a payment: booked, and taken from the sellers' transfers. False when that was known.

    Raises PaymentUnknown, PaymentNotBooked and NotAsCharged.
    """
    async with transaction(pool) as connection:
        order = await sales.lock(connection, payment_id)
        if order.status not in BOUGHT:
            raise PaymentNotBooked(payment_id)
        amount = order.total_cents if amount_cents is None else amount_cents
        if not 0 < amount <= order.total_cents or currency not in {None, order.currency}:
            raise NotAsCharged(payment_id)
        dispute_id = await connection.fetchval(
            """
            INSERT INTO disputes (id, order_id, reference, status, amount_cents) VALUES ($1, $2, $3, 'opened', $4)
            ON CONFLICT (reference) DO NOTHING RETURNING id
            """,
            new_id(),
            order.id,
            reference,
            amount,
        )
        if dispute_id is None:
            return False
        gone = await returns.before(connection, order.id)
        lost = rules.given_up(await orders.shares_of(connection, order.id), gone.cents, amount)
        await returns.add_dispute_shares(connection, dispute_id, lost)
        await ledger.record(connection, movements.dispute(dispute_id, order.currency, lost))
        await returns.count_returned(connection, order.id)
        await returns.settle_status(connection, order.id)
        await payouts.take_back(connection, order.id, lost)
        await _tell(connection, order, lost, "disputed")
        return True


async def closed(pool: Any, payment_id: str, reference: str, *, won: bool) -> bool:
    """A bank has decided; won, the money is back. False when that was known.

    Raises PaymentUnknown, and PaymentNotBooked for a dispute that was not opened yet.
    """
    async with transaction(pool) as connection:
        order = await sales.lock(connection, payment_id)
        row = await connection.fetchrow(
            "SELECT id, status FROM disputes WHERE reference = $1 AND order_id = $2", reference, order.id
        )
        if row is None:
            raise PaymentNotBooked(payment_id)
        if row["status"] != "opened":
            return False
        await connection.execute(
            "UPDATE disputes SET status = $2, closed_at = now() WHERE id = $1", row["id"], "won" if won else "lost"
        )
        shares = await connection.fetch(
            "SELECT seller_id, amount_cents, fee_cents FROM dispute_shares WHERE dispute_id = $1 ORDER BY seller_id",
            row["id"],
        )
        lost = tuple(Share(**share) for share in shares)
        if won:
            await ledger.record(connection, movements.dispute_won(row["id"], order.currency, lost))
            await returns.count_returned(connection, order.id)
            await returns.settle_status(connection, order.id)
            await payouts.owe(connection, row["id"], order.id, order.currency, lost)
        await _tell(connection, order, lost, "won" if won else "lost")
        return True


async def _tell(connection: Connection, order: sales.Locked, lost: tuple[Share, ...], status: str) -> None:
    for share in lost:
        told = {
            "order_id": order.id,
            "status": status,
            "amount_cents": share.amount_cents,
            "currency": order.currency,
        }
        await notifications.add(connection, [share.seller_id], NotificationKind.REFUND, told)
