"""What came of transfers and reversals, written down by whoever still has their lease."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import msgspec

from veza.ids import new_id
from veza.realtime import ledger as movements
from veza.realtime.transfer import Attempt, TransferStatus
from veza.storage import ledger, notifications
from veza.storage.database import Connection, transaction
from veza.storage.notifications import Notice, NotificationKind
from veza.storage.payout_queue import Payout, Takeback


class Paid(msgspec.Struct, frozen=True):
    """A transfer of `amount_cents` arrived. `provider_id` is None where there was nothing to be sent."""

    payout: Payout
    provider_id: str | None
    amount_cents: int


class Unpaid(msgspec.Struct, frozen=True):
    """A transfer did not arrive, or nobody knows: how it stands now, and in how many seconds it is tried again (None:
    not by itself).
    """

    payout: Payout
    attempt: Attempt
    status: TransferStatus
    wait_seconds: float | None
    error: str | None


async def paid(pool: Any, results: Sequence[Paid]) -> int:
    """Complete transfers: book them, reverse what was refunded meanwhile, tell their sellers. Returns how many; for
    the others the lease was lost.
    """
    async with transaction(pool) as connection:
        rows = await connection.fetch(
            """
            SELECT t.id, t.seller_id, t.order_id, t.currency, t.noted_cents, p.sent_cents, p.provider_id
            FROM unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::text[]) AS p (id, lease, sent_cents, provider_id)
            JOIN transfers t ON t.id = p.id AND t.lease = p.lease AND t.status = 'processing'
            ORDER BY t.id FOR UPDATE OF t
            """,
            [each.payout.id for each in results],
            [each.payout.lease for each in results],
            [each.amount_cents for each in results],
            [each.provider_id for each in results],
        )
        await connection.execute(
            """
            UPDATE transfers t SET status = 'completed', provider_id = p.provider_id, sent_cents = p.sent_cents,
                sent_at = NULL, answered = false, error = NULL, next_retry_at = NULL, lease = NULL,
                returned_cents = t.returned_cents + t.noted_cents, noted_cents = 0,
                completed_at = now(), updated_at = now()
            FROM unnest($1::uuid[], $2::text[], $3::bigint[]) AS p (id, provider_id, sent_cents) WHERE t.id = p.id
            """,
            [row["id"] for row in rows],
            [row["provider_id"] for row in rows],
            [row["sent_cents"] for row in rows],
        )
        await _reverse_noted(connection, rows)
        sent = [row for row in rows if row["sent_cents"]]
        booked = [movements.transfer(r["id"], r["currency"], r["seller_id"], r["sent_cents"]) for r in sent]
        await ledger.record(connection, *booked)
        notices = [_notice(row, NotificationKind.TRANSFER_COMPLETED, row["sent_cents"]) for row in sent]
        await notifications.add_each(connection, notices)
        return len(rows)


async def _reverse_noted(connection: Any, rows: list[Any]) -> None:
    noted = [row for row in rows if row["noted_cents"] and row["sent_cents"]]
    if noted:
        await connection.execute(
            """
            INSERT INTO reversals (id, transfer_id, seller_id, amount_cents)
            SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::bigint[])
            """,
            [new_id() for _ in noted],
            [row["id"] for row in noted],
            [row["seller_id"] for row in noted],
            [min(row["noted_cents"], row["sent_cents"]) for row in noted],
        )


def _notice(row: Any, kind: NotificationKind, cents: int) -> Notice:
    data = {"transfer_id": row["id"], "order_id": row["order_id"], "amount_cents": cents, "currency": row["currency"]}
    return Notice(row["seller_id"], kind, data)


async def unpaid(pool: Any, result: Unpaid) -> bool:
    """Put a transfer back into the queue, or among the dead; False when the lease was lost.

    Where nothing can have been sent any more, what was noted meanwhile is settled by never being sent.
    """
    sure = result.attempt.sent_at is None
    async with transaction(pool) as connection:
        row = await connection.fetchrow(
            """
            UPDATE transfers SET
                status = CASE WHEN $8 AND returned_cents + noted_cents = amount_cents THEN 'reversed' ELSE $3 END,
                number = $4, sent_at = to_timestamp($5::float8), retry_count = $6, answered = $10,
                next_retry_at = now() + $7::interval, error = $9, lease = NULL, updated_at = now(),
                returned_cents = returned_cents + CASE WHEN $8 THEN noted_cents ELSE 0 END,
                noted_cents = CASE WHEN $8 THEN 0 ELSE noted_cents END,
                sent_cents = CASE WHEN $8 THEN NULL ELSE sent_cents END,
                account_id = CASE WHEN $8 THEN NULL ELSE account_id END
            WHERE id = $1 AND lease = $2 AND status = 'processing'
            RETURNING id, seller_id, order_id, amount_cents, currency, status
            """,
            result.payout.id,
            result.payout.lease,
            result.status.value,
            result.attempt.number,
            result.attempt.sent_at,
            result.attempt.retry_count,
            None if result.wait_seconds is None else timedelta(seconds=result.wait_seconds),
            sure,
            result.error,
            result.attempt.answered,
        )
        if row is not None and row["status"] == TransferStatus.DEAD:
            notice = _notice(row, NotificationKind.TRANSFER_FAILED, row["amount_cents"])
            await notifications.add_each(connection, [notice])
        return row is not None


# -- reversals ---------------------------------------------------------------------------------------------------


async def _held(connection: Connection, takeback: Takeback) -> bool:
    """Whether the lease holds, and will until the transaction ends; the reversal is locked after its lane."""
    lease = await connection.fetchval(
        "SELECT lease FROM payout_lanes WHERE seller_id = $1 FOR SHARE", takeback.seller_id
    )
    row = await connection.fetchrow(
        "SELECT FROM reversals WHERE id = $1 AND status = 'pending' FOR UPDATE", takeback.id
    )
    return lease == takeback.lease and row is not None


async def taken_back(pool: Any, takeback: Takeback, provider_id: str) -> bool:
    """A reversal was made; False when the lease was lost, or it is done."""
    async with transaction(pool) as connection:
        if not await _held(connection, takeback):
            return False
        await connection.execute(
            """
            UPDATE reversals SET status = 'completed', provider_id = $2, sent_at = NULL, next_retry_at = NULL,
                error = NULL, done_at = now() WHERE id = $1
            """,
            takeback.id,
            provider_id,
        )
        await connection.execute(
            """
            UPDATE transfers SET reversed_cents = reversed_cents + $2, updated_at = now(),
                status = CASE WHEN reversed_cents + $2 = sent_cents AND returned_cents = amount_cents THEN 'reversed'
                              ELSE status END
            WHERE id = $1
            """,
            takeback.transfer_id,
            takeback.amount_cents,
        )
        booked = movements.reversal(takeback.id, takeback.currency, takeback.seller_id, takeback.amount_cents)
        await ledger.record(connection, booked)
        return True


async def not_taken_back(pool: Any, takeback: Takeback, error: str) -> bool:
    """The provider will not reverse it: what is missing is the seller's debt. False when the lease was lost."""
    async with transaction(pool) as connection:
        if not await _held(connection, takeback):
            return False
        await connection.execute(
            """
            UPDATE reversals SET status = 'refused', sent_at = NULL, next_retry_at = NULL, error = $2, done_at = now()
            WHERE id = $1
            """,
            takeback.id,
            error,
        )
        return True


async def postponed(pool: Any, takeback: Takeback, attempt: Attempt, wait_seconds: float, error: str | None) -> bool:
    """A reversal is tried again later; False when the lease was lost."""
    async with transaction(pool) as connection:
        if not await _held(connection, takeback):
            return False
        await connection.execute(
            """
            UPDATE reversals SET number = $2, sent_at = to_timestamp($3::float8), retry_count = $4,
                next_retry_at = now() + $5::interval, error = $6, answered = $7 WHERE id = $1
            """,
            takeback.id,
            attempt.number,
            attempt.sent_at,
            attempt.retry_count,
            timedelta(seconds=wait_seconds),
            error,
            attempt.answered,
        )
        return True
