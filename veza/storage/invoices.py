"""Invoices and credit notes: numbered without a gap in each year, and kept as they were issued.

The number is taken in the transaction that makes the sale or the refund true, so none is lost and none is double.
"""

from typing import Any
from uuid import UUID

import msgspec

from veza.documents.model import Invoice, Line, Party
from veza.errors import OrderNotFound
from veza.ids import new_id
from veza.storage.database import Connection

_PLATFORM = Party("Veza")
_TAX_NOTE = "Prices are final. The sellers see to the taxes due on their sales."

_ITEMS = """
    SELECT i.title, i.quantity, i.unit_cents, i.seller_id,
           coalesce(nullif(s.display_name, ''), s.username) AS seller
    FROM order_items i JOIN users s ON s.id = i.seller_id
    """


async def issue(connection: Connection, order_id: UUID) -> None:
    """The invoice of an order that was paid in this transaction."""
    order = await _order(connection, order_id)
    lines = await connection.fetch(f"{_ITEMS} WHERE i.order_id = $1 ORDER BY i.position", order_id)
    await _insert(connection, order, lines, fee_cents=order["fee_cents"])


async def credit(connection: Connection, order_id: UUID, refund_id: UUID) -> None:
    """The credit note of a refund that was made in this transaction."""
    order = await _order(connection, order_id)
    lines = await connection.fetch(
        f"{_ITEMS} JOIN refund_items r ON r.item_id = i.id WHERE r.refund_id = $1 ORDER BY i.position", refund_id
    )
    fee_cents = await connection.fetchval(
        "SELECT coalesce(sum(fee_cents), 0)::bigint FROM refund_shares WHERE refund_id = $1", refund_id
    )
    corrected = await connection.fetchrow(
        "SELECT year, number FROM invoices WHERE order_id = $1 AND refund_id IS NULL", order_id
    )
    await _insert(connection, order, lines, fee_cents=fee_cents, refund_id=refund_id, refers_to=_number(corrected))


async def of_order(connection: Connection, order_id: UUID, buyer_id: UUID) -> Invoice:
    """The invoice of what somebody bought. Raises OrderNotFound, also while it is not paid."""
    return _invoice(
        await connection.fetchval(
            """
            SELECT v.content FROM invoices v JOIN orders o ON o.id = v.order_id
            WHERE v.order_id = $1 AND v.refund_id IS NULL AND o.buyer_id = $2
            """,
            order_id,
            buyer_id,
        )
    )


async def of_refund(connection: Connection, order_id: UUID, refund_id: UUID, buyer_id: UUID) -> Invoice:
    """The credit note of a refund. Raises OrderNotFound, also while it is not made."""
    return _invoice(
        await connection.fetchval(
            """
            SELECT v.content FROM invoices v JOIN orders o ON o.id = v.order_id
            WHERE v.order_id = $1 AND v.refund_id = $2 AND o.buyer_id = $3
            """,
            order_id,
            refund_id,
            buyer_id,
        )
    )


def _invoice(content: Any) -> Invoice:
    if content is None:
        raise OrderNotFound("There is no such invoice, or not yet.")
    return msgspec.convert(content, Invoice)


async def _order(connection: Connection, order_id: UUID) -> Any:
    return await connection.fetchrow(
        """
        SELECT o.id, o.currency, o.fee_cents, p.payment_id, now() AS issued_at, b.email,
               coalesce(nullif(b.display_name, ''), b.username) AS buyer
        FROM orders o JOIN users b ON b.id = o.buyer_id JOIN payments p ON p.order_id = o.id WHERE o.id = $1
        """,
        order_id,
    )


async def _insert(
    connection: Connection,
    order: Any,
    lines: list[Any],
    *,
    fee_cents: int,
    refund_id: UUID | None = None,
    refers_to: str | None = None,
) -> None:
    year = order["issued_at"].year
    number = await connection.fetchval(
        """
        INSERT INTO invoice_numbers (year, last) VALUES ($1, 1)
        ON CONFLICT (year) DO UPDATE SET last = invoice_numbers.last + 1 RETURNING last
        """,
        year,
    )
    content = Invoice(
        number=_number({"year": year, "number": number}),
        kind="invoice" if refund_id is None else "credit_note",
        issued_at=order["issued_at"],
        order_id=order["id"],
        currency=order["currency"],
        buyer=Party(order["buyer"], order["email"]),
        sellers=tuple(Party(name) for name in dict.fromkeys(row["seller"] for row in lines)),
        lines=tuple(Line(row["title"], row["seller"], row["quantity"], row["unit_cents"]) for row in lines),
        fee_cents=fee_cents,
        platform=_PLATFORM,
        tax_note=_TAX_NOTE,
        refers_to=refers_to,
        paid_by=order["payment_id"],
    )
    await connection.execute(
        "INSERT INTO invoices (id, order_id, refund_id, year, number, content) VALUES ($1, $2, $3, $4, $5, $6)",
        new_id(),
        order["id"],
        refund_id,
        year,
        number,
        msgspec.json.encode(content).decode(),
    )


def _number(row: Any) -> str:
    return f"{row['year']}-{row['number']:06d}"
