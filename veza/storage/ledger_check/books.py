"""Our own books: the ledger against itself, and against orders, refunds, transfers and invoices."""

from typing import Any

from veza.storage.ledger_check.findings import Report
from veza.storage.ledger_check.queries import QUERIES

# A ledger of years is read from end to end.
STATEMENT_S = 600.0


async def check_books(connection: Any, report: Report) -> None:
    """Make every check, all of them of one moment."""
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        await look(connection, report)


async def look(connection: Any, report: Report) -> None:
    """Make every check in a transaction that is open."""
    for name, query in QUERIES.items():
        report.checked(name)
        async for row in connection.cursor(query, prefetch=1000):
            report.add(name, row["subject"], row["message"])
