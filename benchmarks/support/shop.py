"""Rows of a shop that no client could make in a reasonable time: sellers, products, and orders that were paid.

They honour every constraint and book what the platform would have booked; only invoices and notifications are missing.
"""

import uuid
from typing import Any, NamedTuple
from uuid import UUID

# Nobody signs in with it.
NO_PASSWORD = "none"
# What is paid of an order: some cents, of which the platform keeps a tenth.
DEALS = """
    CREATE TEMP TABLE deals AS
    SELECT n, uuidv7() AS order_id, uuidv7() AS item_id, p.id AS product_id, p.seller_id, b.id AS buyer_id,
           1000 + 10 * (n % 90) AS cents, 100 + n % 90 AS fee
    FROM generate_series(0, {orders} - 1) n
    JOIN (SELECT id, seller_id, row_number() OVER (ORDER BY id) - 1 AS place FROM products) p
      ON p.place = n % {products}
    JOIN (SELECT id, row_number() OVER (ORDER BY id) - 1 AS place FROM users WHERE role = 'user') b
      ON b.place = n % {buyers}
"""
SALES = (
    """
    INSERT INTO orders (id, buyer_id, status, currency, total_cents, fee_cents, payment_method, expires_at,
                        paid_at)
    SELECT order_id, buyer_id, 'paid', 'EUR', cents, fee, 'card', now() + interval '30 minutes', now() FROM deals
    """,
    """
    INSERT INTO order_items (id, order_id, position, product_id, seller_id, title, product_type, unit_cents, quantity)
    SELECT item_id, order_id, 1, product_id, seller_id, 'Aria', 'track', cents, 1 FROM deals
    """,
    """
    INSERT INTO order_shares (order_id, seller_id, amount_cents, fee_cents, sold_at)
    SELECT order_id, seller_id, cents, fee, now() FROM deals
    """,
    """
    INSERT INTO payments (order_id, provider, payment_id, status, received_at)
    SELECT order_id, 'hyperswitch', 'pay_' || order_id, 'succeeded', now() FROM deals
    """,
    """
    WITH m AS (
        INSERT INTO ledger_movements (kind, reference, currency)
        SELECT kind, order_id, 'EUR' FROM deals CROSS JOIN (VALUES ('payment'), ('sale')) k (kind) ORDER BY n, kind
        RETURNING id, kind, reference
    )
    INSERT INTO ledger_entries (movement_id, position, account, seller_id, currency, amount_cents)
    SELECT m.id, e.position, e.account, e.seller_id, 'EUR', e.cents
    FROM deals d
    JOIN m ON m.reference = d.order_id
    CROSS JOIN LATERAL (VALUES
        ('payment', 0, 'provider', NULL::uuid, d.cents), ('payment', 1, 'buyer_clearing', NULL, -d.cents),
        ('sale', 0, 'buyer_clearing', NULL, d.cents), ('sale', 1, 'seller_payable', d.seller_id, d.fee - d.cents),
        ('sale', 2, 'platform_fee', NULL, -d.fee)) e (kind, position, account, seller_id, cents)
    WHERE e.kind = m.kind ORDER BY m.id, e.position
    """,
    """
    INSERT INTO transfers (id, order_id, cause_id, seller_id, currency, amount_cents, platform_fee_cents)
    SELECT uuidv7(), order_id, order_id, seller_id, 'EUR', cents - fee, fee FROM deals ORDER BY n
    """,
    "INSERT INTO payout_lanes (seller_id, due_at) SELECT DISTINCT seller_id, now() FROM deals",
    "DROP TABLE deals",
)


class Seller(NamedTuple):
    """Somebody who sells, with an account at the provider that can be paid."""

    id: UUID
    account_id: str


async def add_people(connection: Any, count: int, role: str) -> list[UUID]:
    """So many new people of one role, without sessions."""
    ids = [uuid.uuid4() for _ in range(count)]
    await connection.copy_records_to_table(
        "users",
        columns=("id", "username", "email", "password_hash", "role"),
        records=[(user, f"s{user.hex}", f"{user.hex}@example.com", NO_PASSWORD, role) for user in ids],
    )
    return ids


async def enable(connection: Any, sellers: list[Seller]) -> None:
    """Write down that these can be paid."""
    await connection.copy_records_to_table(
        "seller_accounts",
        columns=("seller_id", "account_id", "details_submitted", "payouts_enabled"),
        records=[(seller.id, seller.account_id, True, True) for seller in sellers],
    )


async def add_products(connection: Any, seller_ids: list[UUID], *, stock: int | None = None) -> list[UUID]:
    """One published product of each of these sellers; the `stock` is of every second, the others have no end."""
    rows = await connection.fetch(
        """
        INSERT INTO products (id, seller_id, title, price_cents, currency, product_type, status, published_at, stock)
        SELECT uuidv7(), seller_id, 'Aria ' || n, 1000 + n % 900, 'EUR', 'track', 'published', now(),
               CASE WHEN n % 2 = 0 THEN $2::int END
        FROM unnest($1::uuid[]) WITH ORDINALITY AS s (seller_id, n) RETURNING id
        """,
        seller_ids,
        stock,
    )
    return [row["id"] for row in rows]


async def add_due_transfers(connection: Any, sellers: int, transfers: int, buyers: int = 100) -> list[Seller]:
    """So many paid orders of these sellers, in turn, whose shares are due to be sent. In a database without others."""
    found = [
        Seller(seller_id, f"acct_{seller_id.hex[:16]}")
        for seller_id in await add_people(connection, sellers, "creator")
    ]
    await add_people(connection, buyers, "user")
    async with connection.transaction():
        await enable(connection, found)
        await add_products(connection, [seller.id for seller in found])
        await connection.execute(DEALS.format(orders=int(transfers), products=sellers, buyers=buyers))
        for statement in SALES:
            await connection.execute(statement)
    return found
