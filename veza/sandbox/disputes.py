"""Money that a buyer's bank takes back: out when a dispute is opened, in again when it is won."""

import sqlite3
import time
from typing import Any

from veza.sandbox.book import PLATFORM, move
from veza.sandbox.outbox import announce, stamp
from veza.sandbox.payments import payment_word

OPENED, WON, LOST = "opened", "won", "lost"


def find(db: sqlite3.Connection, dispute_id: str) -> sqlite3.Row | None:
    row: sqlite3.Row | None = db.execute("SELECT * FROM disputes WHERE dispute_id = ?", (dispute_id,)).fetchone()
    return row


def open_of(db: sqlite3.Connection, payment_id: str) -> sqlite3.Row | None:
    """The latest open dispute of a payment."""
    row: sqlite3.Row | None = db.execute(
        "SELECT * FROM disputes WHERE payment_id = ? AND status = ? ORDER BY seq DESC LIMIT 1", (payment_id, OPENED)
    ).fetchone()
    return row


def disputed(db: sqlite3.Connection, payment_id: str) -> int:
    """How much of a payment a bank holds or has kept."""
    found = db.execute(
        "SELECT coalesce(sum(amount), 0) FROM disputes WHERE payment_id = ? AND status <> ?", (payment_id, WON)
    ).fetchone()
    return int(found[0])


def shown(row: sqlite3.Row) -> dict[str, Any]:
    """A dispute as Hyperswitch shows it, where amounts are text."""
    return {
        "dispute_id": row["dispute_id"],
        "payment_id": row["payment_id"],
        "attempt_id": f"{row['payment_id']}_1",
        "amount": str(row["amount"]),
        "currency": row["currency"],
        "dispute_stage": "dispute",
        "dispute_status": f"dispute_{row['status']}",
        "connector": "sandbox",
        "connector_status": row["status"],
        "connector_dispute_id": row["dispute_id"],
        "connector_reason": "fraudulent",
        "created_at": stamp(row["created"]),
    }


def start(db: sqlite3.Connection, dispute_id: str, payment: sqlite3.Row, amount: int) -> sqlite3.Row:
    """Open one of a new name; how much of the payment can be disputed, the caller knows."""
    row: sqlite3.Row = db.execute(
        "INSERT INTO disputes (dispute_id, payment_id, amount, currency, status, created)"
        " VALUES (?, ?, ?, ?, ?, ?) RETURNING *",
        (dispute_id, payment["payment_id"], amount, payment["currency"], OPENED, time.time()),
    ).fetchone()
    move(db, PLATFORM, row["currency"], -row["amount"])
    _tell(db, row, payment)
    return row


def decide(db: sqlite3.Connection, row: sqlite3.Row, payment: sqlite3.Row, status: str) -> sqlite3.Row:
    """End an open one, won or lost."""
    new: sqlite3.Row = db.execute(
        "UPDATE disputes SET status = ? WHERE seq = ? RETURNING *", (status, row["seq"])
    ).fetchone()
    if status == WON:
        move(db, PLATFORM, new["currency"], new["amount"])
    _tell(db, new, payment)
    return new


def _tell(db: sqlite3.Connection, row: sqlite3.Row, payment: sqlite3.Row) -> None:
    copies = 3 if payment_word(payment["method"]) == "duplicate" else 1
    announce(db, f"dispute_{row['status']}", "dispute_details", shown(row), copies=copies)
