"""Sellers' money, as Stripe Connect keeps it: accounts, transfers to them, and reversals of those."""

import secrets
import sqlite3
import string
import time
from typing import Any

import msgspec

from veza.sandbox.book import PLATFORM, balance, move

SHOWN_REVERSALS = 10
LINK_SECONDS = 300.0

_ALPHABET = string.ascii_letters + string.digits


def new_id(prefix: str, length: int = 24) -> str:
    """As `tr_1A2b…`."""
    return prefix + "".join(secrets.choice(_ALPHABET) for _ in range(length))


def find_account(db: sqlite3.Connection, account_id: str) -> sqlite3.Row | None:
    row: sqlite3.Row | None = db.execute("SELECT * FROM accounts WHERE account_id = ?", (account_id,)).fetchone()
    return row


def find_transfer(db: sqlite3.Connection, transfer_id: str) -> sqlite3.Row | None:
    row: sqlite3.Row | None = db.execute("SELECT * FROM transfers WHERE transfer_id = ?", (transfer_id,)).fetchone()
    return row


def create_account(
    db: sqlite3.Connection, *, kind: str, email: str | None, country: str, metadata: dict[str, str]
) -> sqlite3.Row:
    """Open an account, which can receive nothing until its owner has said who they are."""
    row: sqlite3.Row = db.execute(
        "INSERT INTO accounts (account_id, kind, email, country, metadata, created) VALUES (?, ?, ?, ?, ?, ?)"
        " RETURNING *",
        (new_id("acct_", 16), kind, email, country, msgspec.json.encode(metadata).decode(), time.time()),
    ).fetchone()
    return row


def create_link(
    db: sqlite3.Connection, account_id: str, *, return_url: str, refresh_url: str, expires_at: float
) -> str:
    """The token of a link that is good once."""
    token = secrets.token_urlsafe(24)
    db.execute(
        "INSERT INTO account_links (token, account_id, return_url, refresh_url, expires_at) VALUES (?, ?, ?, ?, ?)",
        (token, account_id, return_url, refresh_url, expires_at),
    )
    return token


def transfer(
    db: sqlite3.Connection,
    *,
    amount: int,
    currency: str,
    destination: str,
    group: str | None,
    description: str | None,
    metadata: dict[str, str],
) -> sqlite3.Row:
    """Move money from the platform to a seller; whether both can, the caller knows."""
    row: sqlite3.Row = db.execute(
        "INSERT INTO transfers (transfer_id, amount, currency, destination, transfer_group, description, metadata,"
        " created) VALUES (?, ?, ?, ?, ?, ?, ?, ?) RETURNING *",
        (
            new_id("tr_"),
            amount,
            currency,
            destination,
            group,
            description,
            msgspec.json.encode(metadata).decode(),
            time.time(),
        ),
    ).fetchone()
    move(db, PLATFORM, currency, -amount)
    move(db, destination, currency, amount)
    return row


def reverse(db: sqlite3.Connection, sent: sqlite3.Row, amount: int, metadata: dict[str, str]) -> sqlite3.Row:
    """Take back some of a transfer; how much there is to take, the caller knows."""
    row: sqlite3.Row = db.execute(
        "INSERT INTO reversals (reversal_id, transfer_id, amount, currency, metadata, created)"
        " VALUES (?, ?, ?, ?, ?, ?) RETURNING *",
        (
            new_id("trr_"),
            sent["transfer_id"],
            amount,
            sent["currency"],
            msgspec.json.encode(metadata).decode(),
            time.time(),
        ),
    ).fetchone()
    db.execute("UPDATE transfers SET amount_reversed = amount_reversed + ? WHERE seq = ?", (amount, sent["seq"]))
    move(db, sent["destination"], sent["currency"], -amount)
    move(db, PLATFORM, sent["currency"], amount)
    return row


def pay_out(db: sqlite3.Connection, account_id: str) -> dict[str, int]:
    """Send all that a seller has to the seller's bank, and say how much that was."""
    paid: dict[str, int] = {}
    rows = db.execute("SELECT currency, cents FROM balances WHERE owner = ? AND cents > 0", (account_id,)).fetchall()
    for currency, cents in rows:
        db.execute(
            "INSERT INTO payouts (account_id, amount, currency, created) VALUES (?, ?, ?, ?)",
            (account_id, cents, currency, time.time()),
        )
        move(db, account_id, currency, -cents)
        paid[currency] = cents
    return paid


def covers(db: sqlite3.Connection, owner: str, currency: str, amount: int) -> bool:
    """Whether that much lies with `owner`."""
    return balance(db, owner, currency) >= amount


def shown_account(row: sqlite3.Row) -> dict[str, Any]:
    """An account as Stripe shows it."""
    ready = bool(row["onboarded"])
    missing = [] if ready else ["business_type", "external_account", "tos_acceptance.date"]
    return {
        "id": row["account_id"],
        "object": "account",
        "type": row["kind"],
        "business_type": None,
        "capabilities": {"transfers": "active" if ready else "inactive"},
        "charges_enabled": ready,
        "country": row["country"],
        "created": int(row["created"]),
        "default_currency": "eur",
        "details_submitted": ready,
        "email": row["email"],
        "metadata": msgspec.json.decode(row["metadata"]),
        "payouts_enabled": ready,
        "requirements": {
            "currently_due": missing,
            "disabled_reason": None if ready else "requirements.past_due",
            "errors": [],
            "eventually_due": missing,
            "past_due": missing,
            "pending_verification": [],
        },
    }


def shown_transfer(db: sqlite3.Connection, row: sqlite3.Row) -> dict[str, Any]:
    """A transfer as Stripe shows it, with the latest of its reversals."""
    transfer_id = row["transfer_id"]
    total, latest = 0, []
    if row["amount_reversed"]:
        rows = db.execute("SELECT * FROM reversals WHERE transfer_id = ? ORDER BY seq DESC", (transfer_id,)).fetchall()
        total, latest = len(rows), [shown_reversal(one) for one in rows[:SHOWN_REVERSALS]]
    return {
        "id": transfer_id,
        "object": "transfer",
        "amount": row["amount"],
        "amount_reversed": row["amount_reversed"],
        "balance_transaction": f"txn_{transfer_id[3:]}",
        "created": int(row["created"]),
        "currency": row["currency"].lower(),
        "description": row["description"],
        "destination": row["destination"],
        "destination_payment": f"py_{transfer_id[3:]}",
        "livemode": False,
        "metadata": msgspec.json.decode(row["metadata"]),
        "reversals": {
            "object": "list",
            "data": latest,
            "has_more": total > len(latest),
            "total_count": total,
            "url": f"/v1/transfers/{transfer_id}/reversals",
        },
        "reversed": row["amount_reversed"] == row["amount"],
        "source_transaction": None,
        "source_type": "card",
        "transfer_group": row["transfer_group"],
    }


def shown_reversal(row: sqlite3.Row) -> dict[str, Any]:
    """A reversal as Stripe shows it."""
    return {
        "id": row["reversal_id"],
        "object": "transfer_reversal",
        "amount": row["amount"],
        "balance_transaction": f"txn_{row['reversal_id'][4:]}",
        "created": int(row["created"]),
        "currency": row["currency"].lower(),
        "destination_payment_refund": None,
        "metadata": msgspec.json.decode(row["metadata"]),
        "source_refund": None,
        "transfer": row["transfer_id"],
    }


def shown_balance(found: dict[str, int]) -> dict[str, Any]:
    """What lies with somebody, as Stripe shows it: all of it is available at once."""
    lying = found or {"EUR": 0}
    return {
        "object": "balance",
        "available": [
            {"amount": cents, "currency": currency.lower(), "source_types": {"card": cents}}
            for currency, cents in lying.items()
        ],
        "livemode": False,
        "pending": [{"amount": 0, "currency": currency.lower(), "source_types": {"card": 0}} for currency in lying],
    }
