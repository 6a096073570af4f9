"""The ledger as it is stored: movements are only ever added, and balances are sums of their entries."""

from collections import defaultdict
from uuid import UUID

from veza.realtime.ledger import Account, Movement
from veza.storage.database import Connection


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


async def balances(connection: Connection) -> dict[str, dict[Account, int]]:
    """What is on each account, by currency; debits are positive."""
    rows = await connection.fetch(
        "SELECT currency, account, sum(amount_cents)::bigint AS cents FROM ledger_entries GROUP BY currency, account"
    )
    found: dict[str, dict[Account, int]] = defaultdict(dict)
    for row in rows:
        found[row["currency"]][Account(row["account"])] = row["cents"]
    return dict(found)


async def owed(connection: Connection, seller_id: UUID) -> dict[str, int]:
    """What we owe a seller, by currency; below zero it is the seller who owes."""
    rows = await connection.fetch(
        """
        SELECT currency, -sum(amount_cents)::bigint AS cents FROM ledger_entries
        WHERE seller_id = $1 GROUP BY currency ORDER BY currency
        """,
        seller_id,
    )
    return {row["currency"]: row["cents"] for row in rows}
