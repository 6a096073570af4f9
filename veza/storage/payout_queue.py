"""The queue of what is to be sent to sellers and taken back from them, worked off by any number of processors.

A processor leases lanes, so that one seller's money is in one pair of hands. What is about to be sent is written down
by the claim itself, before anything goes out; what came of it is written down only while the lease still holds.
"""

from collections import defaultdict
from datetime import timedelta
from typing import Any
from uuid import UUID

import msgspec

from veza.realtime.transfer import Attempt, Step, payable, step
from veza.storage import wakeups
from veza.storage.database import Connection, sql, transaction

LEASE = timedelta(seconds=60)


class Due(msgspec.Struct, frozen=True):
    """Something leased, to be done at the provider. `attempt` is how it stood before the claim, which has written
    down that it is sent. With `ask` the provider is asked first whether it was done before; where it was not, and the
    provider may have `forgotten` the key, it is done under a new one.
    """

    id: UUID
    seller_id: UUID
    lease: int
    amount_cents: int
    currency: str
    attempt: Attempt
    ask: bool
    forgotten: bool


class Payout(Due, frozen=True):
    """A transfer; without an amount there is nothing to be sent, for a debt takes it all."""

    order_id: UUID
    account_id: str


class Takeback(Due, frozen=True):
    """A reversal of what was sent as `provider_id`."""

    transfer_id: UUID
    provider_id: str


class Claim(msgspec.Struct, frozen=True):
    """What one processor leased at once. `lanes` are leases by seller."""

    lanes: dict[UUID, int]
    payouts: list[Payout]
    takebacks: list[Takeback]


async def claim(pool: Any, processor: str, *, lanes: int, a_lane: int) -> Claim:
    """Lease up to so many lanes that are due, with up to so many transfers of each."""
    async with transaction(pool) as connection:
        rows = await connection.fetch(sql("claim_lanes"), lanes, LEASE, processor)
        leases = {row["seller_id"]: row["lease"] for row in rows}
        if not leases:
            return Claim({}, [], [])
        return Claim(
            leases, await _payouts(connection, leases, a_lane), await _takebacks(connection, leases, a_lane * lanes)
        )


async def _payouts(connection: Any, leases: dict[UUID, int], a_lane: int) -> list[Payout]:
    rows = await connection.fetch(sql("due_transfers"), list(leases), a_lane)
    fresh = list({row["seller_id"] for row in rows if row["sent_at"] is None})
    debts: dict[tuple[UUID, str], int] = defaultdict(int)
    for debt in await connection.fetch(sql("seller_debts"), fresh) if fresh else ():
        debts[debt["seller_id"], debt["currency"]] = debt["cents"]
    found = []
    for row in rows:
        whole = row["amount_cents"] - row["returned_cents"] - row["noted_cents"]
        cents = row["sent_cents"]
        if row["sent_at"] is None:
            owner = row["seller_id"], row["currency"]
            cents = payable(whole, debts[owner])
            debts[owner] -= whole - cents
        found.append(_payout(row, leases[row["seller_id"]], cents))
    await connection.execute(
        """
        UPDATE transfers t SET status = 'processing', lease = p.lease, account_id = p.account_id, updated_at = now(),
            sent_cents = p.sent_cents, sent_at = CASE WHEN p.sent_cents > 0 THEN coalesce(t.sent_at, now()) END
        FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::bigint[]) AS p (id, lease, account_id, sent_cents)
        WHERE t.id = p.id
        """,
        [each.id for each in found],
        [each.lease for each in found],
        [each.account_id for each in found],
        [each.amount_cents for each in found],
    )
    return found


def _payout(row: Any, lease: int, cents: int) -> Payout:
    attempt = Attempt(row["number"], row["sent_at"], row["retry_count"], row["answered"])
    return Payout(
        id=row["id"],
        seller_id=row["seller_id"],
        lease=lease,
        amount_cents=cents,
        currency=row["currency"],
        attempt=attempt,
        ask=_ask(attempt),
        forgotten=step(attempt, row["now"]) is Step.ASK,
        order_id=row["order_id"],
        account_id=row["account_id"],
    )


async def _takebacks(connection: Any, leases: dict[UUID, int], most: int) -> list[Takeback]:
    rows = await connection.fetch(
        """
        WITH due AS MATERIALIZED (
            SELECT id, sent_at FROM reversals
            WHERE seller_id = ANY ($1::uuid[]) AND status = 'pending'
              AND (next_retry_at IS NULL OR next_retry_at <= now())
            ORDER BY created_at, id LIMIT $2 FOR UPDATE
        )
        UPDATE reversals r SET sent_at = coalesce(r.sent_at, now())
        FROM due JOIN reversals o ON o.id = due.id JOIN transfers t ON t.id = o.transfer_id
        WHERE r.id = due.id
        RETURNING r.id, r.seller_id, r.transfer_id, r.amount_cents, r.number, r.retry_count, r.answered,
                  t.provider_id, t.currency,
                  extract(epoch FROM due.sent_at)::float8 AS sent_at, extract(epoch FROM now())::float8 AS now
        """,
        list(leases),
        most,
    )
    return [_takeback(row, leases[row["seller_id"]]) for row in rows]


def _takeback(row: Any, lease: int) -> Takeback:
    attempt = Attempt(row["number"], row["sent_at"], row["retry_count"], row["answered"])
    return Takeback(
        id=row["id"],
        seller_id=row["seller_id"],
        lease=lease,
        amount_cents=row["amount_cents"],
        currency=row["currency"],
        attempt=attempt,
        ask=_ask(attempt),
        forgotten=step(attempt, row["now"]) is Step.ASK,
        transfer_id=row["transfer_id"],
        provider_id=row["provider_id"],
    )


def _ask(attempt: Attempt) -> bool:
    """Before anything is sent a second time the provider is asked: it repeats a failure under the same key, though the
    money may have gone out.
    """
    return attempt.sent_at is not None or attempt.number > 1


async def renew(pool: Any, leases: dict[UUID, int]) -> set[UUID]:
    """Hold leases for longer; returns the sellers whose lease still holds."""
    async with transaction(pool) as connection:
        held = await _lock(connection, leases)
        await connection.execute(
            "UPDATE payout_lanes SET lease_until = now() + $2::interval WHERE seller_id = ANY ($1::uuid[])", held, LEASE
        )
        return set(held)


async def _lock(connection: Connection, leases: dict[UUID, int]) -> list[UUID]:
    """Lock the lanes whose lease still holds, in one order for all; in a statement of its own, for the next must see
    what whoever held these locks has committed.
    """
    rows = await connection.fetch(
        """
        SELECT l.seller_id FROM payout_lanes l
        JOIN unnest($1::uuid[], $2::bigint[]) AS m (seller_id, lease) ON l.seller_id = m.seller_id AND l.lease = m.lease
        ORDER BY l.seller_id FOR UPDATE OF l
        """,
        list(leases),
        list(leases.values()),
    )
    return [row["seller_id"] for row in rows]


async def release(pool: Any, leases: dict[UUID, int]) -> None:
    """Give leases back; each lane is due when the next of its transfers or reversals is."""
    async with transaction(pool) as connection:
        await connection.execute(sql("release_lanes"), await _lock(connection, leases))


async def end(connection: Any, processor: str) -> None:
    """End the leases of a processor that is dead: whoever is next goes on where it was."""
    async with connection.transaction():
        rows = await connection.fetch("SELECT seller_id, lease FROM payout_lanes WHERE leased_by = $1", processor)
        held = await _lock(connection, {row["seller_id"]: row["lease"] for row in rows})
        await connection.execute(
            """
            UPDATE payout_lanes SET lease_until = now(), due_at = least(due_at, now())
            WHERE seller_id = ANY ($1::uuid[])
            """,
            held,
        )
        await wakeups.wake(connection, wakeups.TRANSFERS)


async def next_due(pool: Any) -> float | None:
    """Seconds until a lane that nobody has is due; None when none will be."""
    found: float | None = await pool.fetchval(
        """
        SELECT extract(epoch FROM min(greatest(due_at, coalesce(lease_until, due_at))) - now())::float8
        FROM payout_lanes WHERE due_at IS NOT NULL
        """
    )
    return found


async def due(pool: Any) -> int:
    """How many transfers could be sent now and are not: due, and not with a processor. Counted up to a thousand."""
    found: int = await pool.fetchval(
        """
        SELECT count(*) FROM (
            SELECT FROM payout_lanes l
            JOIN transfers t ON t.seller_id = l.seller_id
            WHERE l.due_at <= now() AND (l.lease_until IS NULL OR l.lease_until < now())
              AND t.status IN ('pending', 'processing', 'failed') AND coalesce(t.next_retry_at, now()) <= now()
            LIMIT 1000) due
        """
    )
    return found
