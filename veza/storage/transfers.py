"""Transfers as sellers and administrators see them."""

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from veza.errors import Conflict, TransferNotFound
from veza.realtime.transfer import TransferStatus
from veza.storage import audit, payouts
from veza.storage.audit import AuditRow
from veza.storage.database import Connection, transaction


class Transfer(msgspec.Struct, frozen=True):
    """A seller's share of an order. `sent_cents` is less than `amount_cents` where a refund or a debt was kept of it;
    `reversed_cents` came back. `next_retry_at` is null when nothing is tried by itself.
    """

    id: UUID
    seller_id: UUID
    order_id: UUID
    amount_cents: int
    platform_fee_cents: int
    returned_cents: int
    sent_cents: int | None
    reversed_cents: int
    currency: str
    status: TransferStatus
    retry_count: int
    next_retry_at: datetime | None
    error: str | None
    created_at: datetime
    completed_at: datetime | None


_COLUMNS = (
    "id, seller_id, order_id, amount_cents, platform_fee_cents, returned_cents, "
    "CASE WHEN status IN ('completed', 'reversed') THEN sent_cents END AS sent_cents, reversed_cents, "
    "currency, status, retry_count, next_retry_at, error, created_at, completed_at"
)


class Filter(msgspec.Struct, frozen=True):
    """Which transfers; made from `since` on and before `until`."""

    status: TransferStatus | None = None
    seller_id: UUID | None = None
    since: datetime | None = None
    until: datetime | None = None


async def page(connection: Connection, wanted: Filter, limit: int, offset: int) -> tuple[list[Transfer], int]:
    """Part of the transfers, newest first, and how many there are."""
    conditions, arguments = [], []
    for condition, value in (
        ("status = ", None if wanted.status is None else wanted.status.value),
        ("seller_id = ", wanted.seller_id),
        ("created_at >= ", wanted.since),
        ("created_at < ", wanted.until),
    ):
        if value is not None:
            arguments.append(value)
            conditions.append(f"{condition}${len(arguments)}")
    where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
    total = await connection.fetchval(f"SELECT count(*) FROM transfers {where}", *arguments)  # noqa: S608 - constants
    rows = await connection.fetch(
        f"SELECT {_COLUMNS} FROM transfers {where} "  # noqa: S608 - constants
        f"ORDER BY created_at DESC, id DESC LIMIT ${len(arguments) + 1} OFFSET ${len(arguments) + 2}",
        *arguments,
        limit,
        offset,
    )
    return [_transfer(row) for row in rows], total


async def get(connection: Connection, transfer_id: UUID) -> Transfer:
    """Raises TransferNotFound."""
    row = await connection.fetchrow(
        f"SELECT {_COLUMNS} FROM transfers WHERE id = $1",  # noqa: S608 - constants
        transfer_id,
    )
    if row is None:
        raise TransferNotFound
    return _transfer(row)


async def retry(pool: Any, transfer_id: UUID, by: AuditRow) -> None:
    """Try a failed or dead transfer again, at once. Raises TransferNotFound, and Conflict for any other."""
    async with transaction(pool) as connection:
        seller_id = await connection.fetchval("SELECT seller_id FROM transfers WHERE id = $1", transfer_id)
        if seller_id is None:
            raise TransferNotFound
        # The lane before its transfer.
        await payouts.make_due(connection, [seller_id])
        done = await connection.execute(
            """
            UPDATE transfers SET status = 'pending', next_retry_at = NULL, retry_count = retry_count + 1,
                updated_at = now() WHERE id = $1 AND status IN ('failed', 'dead')
            """,
            transfer_id,
        )
        if done == "UPDATE 0":
            raise Conflict("Only a transfer that failed can be tried again.")
        await audit.record(connection, by)


def _transfer(row: Any) -> Transfer:
    return Transfer(**{**row, "status": TransferStatus(row["status"])})
