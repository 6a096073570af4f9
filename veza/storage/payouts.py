"""What sellers are owed on its way to them: transfers, and what is taken back of them.

A lane is a seller's place in the queue; its lock comes before that of the seller's transfers, everywhere.
"""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from veza.ids import new_id
from veza.realtime.money import Share
from veza.storage import wakeups
from veza.storage.database import Connection


async def owe(connection: Connection, cause_id: UUID, order_id: UUID, currency: str, shares: Iterable[Share]) -> None:
    """Begin a transfer of each share: for a sale, or to make good what a failed refund took. In the transaction that
    books it.
    """
    owed = [share for share in shares if share.net_cents > 0]
    await connection.execute(
        """
        INSERT INTO transfers (id, order_id, cause_id, seller_id, currency, amount_cents, platform_fee_cents)
        SELECT t.id, $1, $2, t.seller_id, $3, t.amount_cents, t.fee_cents
        FROM unnest($4::uuid[], $5::uuid[], $6::bigint[], $7::bigint[]) AS t (id, seller_id, amount_cents, fee_cents)
        """,
        order_id,
        cause_id,
        currency,
        [new_id() for _ in owed],
        [share.seller_id for share in owed],
        [share.net_cents for share in owed],
        [share.fee_cents for share in owed],
    )
    await make_due(connection, [share.seller_id for share in owed])


async def make_due(connection: Connection, seller_ids: Iterable[UUID]) -> None:
    """There is something to be done for these sellers, at once. Locks their lanes."""
    await connection.execute(
        """
        WITH made AS (
            INSERT INTO payout_lanes AS l (seller_id, due_at)
            SELECT seller_id, now() FROM unnest($1::uuid[]) AS s (seller_id) ORDER BY seller_id
            ON CONFLICT (seller_id) DO UPDATE SET due_at = least(l.due_at, now())
        )
        SELECT pg_notify($2, '')
        """,
        sorted(set(seller_ids)),
        wakeups.TRANSFERS,
    )


async def take_back(connection: Connection, order_id: UUID, shares: Iterable[Share]) -> None:
    """Keep what goes back of an order from its sellers: not sent yet, it is not sent; sent, it is reversed; under
    way, it is noted, and reversed once it has arrived.
    """
    back = {share.seller_id: share.net_cents for share in shares if share.net_cents > 0}
    await make_due(connection, back)
    rows = await connection.fetch(
        """
        SELECT * FROM transfers WHERE order_id = $1 AND seller_id = ANY ($2::uuid[]) AND status <> 'reversed'
        ORDER BY id FOR UPDATE
        """,
        order_id,
        list(back),
    )
    for row in rows:
        cents = min(back[row["seller_id"]], row["amount_cents"] - row["returned_cents"] - row["noted_cents"])
        if cents > 0:
            back[row["seller_id"]] -= cents
            await _take_back(connection, row, cents)


async def _take_back(connection: Connection, row: Any, cents: int) -> None:
    if row["sent_at"] is not None:
        await connection.execute("UPDATE transfers SET noted_cents = noted_cents + $2 WHERE id = $1", row["id"], cents)
        return
    await connection.execute(
        """
        UPDATE transfers SET returned_cents = returned_cents + $2, updated_at = now(),
            status = CASE WHEN status <> 'completed' AND returned_cents + $2 = amount_cents THEN 'reversed'
                          ELSE status END
        WHERE id = $1
        """,
        row["id"],
        cents,
    )
    if row["status"] == "completed":
        # Read now: under the lock nobody else begins a reversal of it.
        reversing = await connection.fetchval(
            """
            SELECT coalesce(sum(amount_cents), 0)::bigint FROM reversals WHERE transfer_id = $1 AND status = 'pending'
            """,
            row["id"],
        )
        left = row["sent_cents"] - row["reversed_cents"] - reversing
        await reverse(connection, row["id"], row["seller_id"], min(cents, left))


async def reverse(connection: Connection, transfer_id: UUID, seller_id: UUID, cents: int) -> None:
    """Take so much of a completed transfer back. What was never sent, because of a debt, is still one."""
    if cents > 0:
        await connection.execute(
            "INSERT INTO reversals (id, transfer_id, seller_id, amount_cents) VALUES ($1, $2, $3, $4)",
            new_id(),
            transfer_id,
            seller_id,
            cents,
        )
