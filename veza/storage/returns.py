"""What went back of an order, whichever way: refunded, or taken by a bank. Under the order's lock."""

from collections import Counter
from collections.abc import Collection
from uuid import UUID

from veza.realtime import ledger as movements
from veza.realtime import order as rules
from veza.realtime import refund as planning
from veza.realtime.dispute import given_up
from veza.realtime.money import Share
from veza.storage import ledger, orders, payouts
from veza.storage.database import Connection


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


async def count_returned(connection: Connection, order_id: UUID) -> None:
    """What goes back of an order, with what is disputed, though never more than was charged."""
    gone = await before(connection, order_id)
    await connection.execute(
        "UPDATE orders SET returned_cents = least(total_cents, $2) WHERE id = $1", order_id, sum(gone.cents.values())
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


async def share_disputes_anew(connection: Connection, order_id: UUID, refund_id: UUID, currency: str) -> None:
    """A refund has failed. What a bank took while it was pending was the platform's loss as far as the refund had
    emptied the sellers' shares; now these are full again, and the loss is the sellers'.
    """
    shares = await orders.shares_of(connection, order_id)
    moved: Counter[UUID] = Counter()
    disputes = await connection.fetch(
        "SELECT id, amount_cents FROM disputes WHERE order_id = $1 AND status <> 'won' ORDER BY created_at, id",
        order_id,
    )
    for dispute in disputes:
        rows = await connection.fetch(
            "DELETE FROM dispute_shares WHERE dispute_id = $1 RETURNING seller_id, amount_cents, fee_cents",
            dispute["id"],
        )
        gone = await before(connection, order_id)
        lost = given_up(shares, gone.cents, dispute["amount_cents"])
        await add_dispute_shares(connection, dispute["id"], lost)
        moved.update({share.seller_id: share.net_cents for share in lost})
        moved.subtract({row["seller_id"]: row["amount_cents"] - row["fee_cents"] for row in rows})
    more = [Share(seller_id, cents, 0) for seller_id, cents in moved.items() if cents > 0]
    if more:
        await ledger.record(connection, movements.dispute_moved(refund_id, currency, more))
        await payouts.take_back(connection, order_id, more)
