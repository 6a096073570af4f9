"""The ledger as it is stored: movements are only ever added, and balances are sums of their entries."""

from collections import defaultdict
from typing import Any

from veza.realtime.ledger import Account, Movement
from veza.storage.database import Connection, sql, transaction


async def record(connection: Connection, *movements: Movement) -> None:
    """Book what happened, in the caller's transaction: it and the booking are one.

    A movement that is booked already breaks a constraint, and with it the transaction: whoever calls has looked
    before, under a lock.
    """
    entries = [
        (index, place, entry) for index, each in enumerate(movements) for place, entry in enumerate(each.entries)
    ]
    # Ids are taken first, so that any number of movements is one statement.
    await connection.execute(
        """
        WITH numbered AS MATERIALIZED (
            SELECT nextval(pg_get_serial_sequence('ledger_movements', 'id')) AS id, m.*
            FROM unnest($1::int[], $2::text[], $3::uuid[], $4::text[]) AS m (index, kind, reference, currency)
        ), booked AS (
            INSERT INTO ledger_movements (id, kind, reference, currency) OVERRIDING SYSTEM VALUE
            SELECT id, kind, reference, currency FROM numbered
        )
        INSERT INTO ledger_entries (movement_id, position, account, seller_id, currency, amount_cents)
        SELECT n.id, e.position, e.account, e.seller_id, n.currency, e.amount_cents
        FROM unnest($5::int[], $6::smallint[], $7::text[], $8::uuid[], $9::bigint[])
            AS e (index, position, account, seller_id, amount_cents)
        JOIN numbered n USING (index)
        """,
        list(range(len(movements))),
        [each.kind.value for each in movements],
        [each.reference for each in movements],
        [each.currency for each in movements],
        [index for index, _, _ in entries],
        [place for _, place, _ in entries],
        [entry.account.value for _, _, entry in entries],
        [entry.seller_id for _, _, entry in entries],
        [entry.amount_cents for _, _, entry in entries],
    )


async def close(pool: Any) -> int:
    """Add up what sellers' entries sum to until an hour ago; returns how many balances changed."""
    async with transaction(pool) as connection:
        # One at a time, or two would add the same up.
        await connection.execute("LOCK TABLE ledger_closings IN SHARE ROW EXCLUSIVE MODE")
        done = await connection.execute(sql("close_ledger"))
    return int(done.rpartition(" ")[2])


async def balances(connection: Connection) -> dict[str, dict[Account, int]]:
    """What is on each account, by currency; debits are positive."""
    rows = await connection.fetch(
        "SELECT currency, account, sum(amount_cents)::bigint AS cents FROM ledger_entries GROUP BY currency, account"
    )
    found: dict[str, dict[Account, int]] = defaultdict(dict)
    for row in rows:
        found[row["currency"]][Account(row["account"])] = row["cents"]
    return dict(found)
