"""Sellers: their account at the payment provider, and what is theirs."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec

from veza.storage import payouts
from veza.storage.database import Connection, transaction


class SellerAccount(msgspec.Struct, frozen=True):
    """An account at the provider. It can be paid once `payouts_enabled`."""

    account_id: str
    details_submitted: bool
    payouts_enabled: bool
    checked_at: datetime


class Balance(msgspec.Struct, frozen=True):
    """In one currency: `available` was transferred, less what was taken back; `pending` is owed and not yet sent."""

    currency: str
    available: int
    pending: int


async def account(connection: Connection, seller_id: UUID) -> SellerAccount | None:
    row = await connection.fetchrow(
        """
        SELECT account_id, details_submitted, payouts_enabled, checked_at FROM seller_accounts WHERE seller_id = $1
        """,
        seller_id,
    )
    return None if row is None else SellerAccount(**row)


async def add_account(connection: Connection, seller_id: UUID, account_id: str) -> str:
    """Keep a new account; the one there was before, if there was."""
    await connection.execute(
        "INSERT INTO seller_accounts (seller_id, account_id) VALUES ($1, $2) ON CONFLICT DO NOTHING",
        seller_id,
        account_id,
    )
    found: str = await connection.fetchval("SELECT account_id FROM seller_accounts WHERE seller_id = $1", seller_id)
    return found


async def sent_to_provider(connection: Connection, seller_id: UUID) -> None:
    """The seller has a link to the provider, and is probably back soon."""
    await connection.execute("UPDATE seller_accounts SET onboarding_at = now() WHERE seller_id = $1", seller_id)


async def checked(pool: Any, account_id: str, *, details_submitted: bool, payouts_enabled: bool) -> None:
    """What the provider says of an account now. One that can be paid is, at once, what has waited for it."""
    async with transaction(pool) as connection:
        row = await connection.fetchrow(
            """
            UPDATE seller_accounts a SET details_submitted = $2, payouts_enabled = $3, checked_at = now()
            FROM (SELECT seller_id, payouts_enabled FROM seller_accounts WHERE account_id = $1 FOR UPDATE) o
            WHERE a.seller_id = o.seller_id RETURNING a.seller_id, o.payouts_enabled AS before
            """,
            account_id,
            details_submitted,
            payouts_enabled,
        )
        if row is not None and payouts_enabled and not row["before"]:
            await payouts.make_due(connection, [row["seller_id"]])


async def to_check(pool: Any, most: int, age: timedelta) -> list[str]:
    """Accounts that could not be paid when they were last looked at, `age` ago or more; the longer ago the seller was
    sent to the provider, the rarer, though once in an hour.
    """
    rows = await pool.fetch(
        """
        UPDATE seller_accounts SET checked_at = now() WHERE seller_id = ANY (ARRAY(
            SELECT seller_id FROM seller_accounts
            WHERE NOT payouts_enabled AND checked_at < now() - $2::interval
              AND checked_at < now() - least(interval '1 hour', (now() - onboarding_at) / 8)
            ORDER BY checked_at LIMIT $1 FOR UPDATE SKIP LOCKED))
        RETURNING account_id
        """,
        most,
        age,
    )
    return [row["account_id"] for row in rows]


async def balances(connection: Connection, seller_id: UUID) -> list[Balance]:
    """What is a seller's, currency by currency, from the ledger; what was sent is what its transfers say."""
    rows = await connection.fetch(
        """
        SELECT e.currency,
               coalesce(sum(e.amount_cents) FILTER (WHERE m.kind IN ('transfer', 'reversal')), 0)::bigint AS available,
               greatest(0, -sum(e.amount_cents))::bigint AS pending
        FROM ledger_entries e JOIN ledger_movements m ON m.id = e.movement_id
        WHERE e.seller_id = $1 GROUP BY e.currency ORDER BY e.currency
        """,
        seller_id,
    )
    return [Balance(**row) for row in rows]
