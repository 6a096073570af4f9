"""Buyers' money: payments and refunds, as Hyperswitch keeps them, and what its magic methods do to them."""

import secrets
import sqlite3
import time
from typing import Any

import msgspec

from veza.sandbox.book import PLATFORM, move
from veza.sandbox.faults import Fault, Kind
from veza.sandbox.outbox import MERCHANT, announce, stamp

SLOW_SECONDS = 3.0

_DECLINED = ("card_declined", "Your card was declined.")
_REFUND_DECLINED = ("refund_declined", "The refund was declined.")
_FAULTS = {"error": Kind.ERROR, "error_after": Kind.ERROR_AFTER, "timeout": Kind.TIMEOUT}


def payment_word(method: str) -> str:
    """What `card_…` says about the payment itself."""
    return "" if method.startswith("card_refund_") else method.removeprefix("card_")


def refund_word(method: str) -> str:
    """What `card_refund_…` says about the payment's refunds. All webhooks of a `card_duplicate` are repeated."""
    return "duplicate" if method == "card_duplicate" else method.partition("card_refund_")[2]


def magic(word: str) -> Fault | None:
    """The fault of a magic method."""
    kind = _FAULTS.get(word)
    return Fault(kind) if kind else None


def find(db: sqlite3.Connection, payment_id: str) -> sqlite3.Row | None:
    row: sqlite3.Row | None = db.execute("SELECT * FROM payments WHERE payment_id = ?", (payment_id,)).fetchone()
    return row


def find_refund(db: sqlite3.Connection, refund_id: str) -> sqlite3.Row | None:
    row: sqlite3.Row | None = db.execute("SELECT * FROM refunds WHERE refund_id = ?", (refund_id,)).fetchone()
    return row


def shown(row: sqlite3.Row) -> dict[str, Any]:
    """A payment as Hyperswitch shows it."""
    captured = row["amount"] if row["status"] == "succeeded" else None
    return {
        "payment_id": row["payment_id"],
        "merchant_id": MERCHANT,
        "status": row["status"],
        "amount": row["amount"],
        "net_amount": row["amount"],
        "amount_capturable": 0,
        "amount_received": captured,
        "connector": "sandbox",
        "client_secret": row["client_secret"],
        "created": stamp(row["created"]),
        "currency": row["currency"],
        "description": row["description"],
        "capture_method": "automatic",
        "payment_method": "card",
        "return_url": row["return_url"],
        "metadata": msgspec.json.decode(row["metadata"]),
        "error_code": row["error_code"],
        "error_message": row["error_message"],
        "next_action": None,
    }


def shown_refund(row: sqlite3.Row) -> dict[str, Any]:
    """A refund as Hyperswitch shows it."""
    return {
        "refund_id": row["refund_id"],
        "payment_id": row["payment_id"],
        "amount": row["amount"],
        "currency": row["currency"],
        "status": row["status"],
        "reason": row["reason"],
        "metadata": msgspec.json.decode(row["metadata"]),
        "error_code": row["error_code"],
        "error_message": row["error_message"],
        "created_at": stamp(row["created"]),
        "updated_at": stamp(row["created"]),
        "connector": "sandbox",
    }


def create(
    db: sqlite3.Connection,
    payment_id: str,
    *,
    amount: int,
    currency: str,
    method: str,
    description: str | None,
    return_url: str | None,
    metadata: object,
    confirm: bool,
) -> sqlite3.Row:
    """Write down a payment of a new name; with `confirm` the money is taken."""
    secret = f"{payment_id}_secret_{secrets.token_hex(10)}"
    row: sqlite3.Row = db.execute(
        "INSERT INTO payments (payment_id, amount, currency, status, method, description, return_url, metadata,"
        " client_secret, created) VALUES (?, ?, ?, 'requires_confirmation', ?, ?, ?, ?, ?, ?) RETURNING *",
        (
            payment_id,
            amount,
            currency,
            method,
            description,
            return_url,
            msgspec.json.encode(metadata).decode(),
            secret,
            time.time(),
        ),
    ).fetchone()
    return attempt(db, row) if confirm else row


def attempt(db: sqlite3.Connection, row: sqlite3.Row) -> sqlite3.Row:
    """Take the money, or do what the method is magic for."""
    match payment_word(row["method"]):
        case "declined":
            return _became(db, row, "failed", error=_DECLINED)
        case "slow":
            return _became(db, row, "processing", settles_at=time.time() + SLOW_SECONDS)
        case _:
            return _became(db, row, "succeeded")


def refund(
    db: sqlite3.Connection, refund_id: str, payment: sqlite3.Row, *, amount: int, reason: str | None, metadata: object
) -> sqlite3.Row:
    """Give money of a captured payment back, under a new name; how much may be, the caller knows."""
    row: sqlite3.Row = db.execute(
        "INSERT INTO refunds (refund_id, payment_id, amount, currency, status, method, reason, metadata, created)"
        " VALUES (?, ?, ?, ?, 'pending', ?, ?, ?, ?) RETURNING *",
        (
            refund_id,
            payment["payment_id"],
            amount,
            payment["currency"],
            payment["method"],
            reason,
            msgspec.json.encode(metadata).decode(),
            time.time(),
        ),
    ).fetchone()
    match refund_word(row["method"]):
        case "declined":
            return _refund_became(db, row, "failed", error=_REFUND_DECLINED)
        case "slow":
            return _refund_became(db, row, "pending", settles_at=time.time() + SLOW_SECONDS)
        case _:
            return _refund_became(db, row, "succeeded")


def refunded(db: sqlite3.Connection, payment_id: str) -> int:
    """How much of a payment went back, or is about to."""
    found = db.execute(
        "SELECT coalesce(sum(amount), 0) FROM refunds WHERE payment_id = ? AND status <> 'failed'", (payment_id,)
    ).fetchone()
    return int(found[0])


def settle(db: sqlite3.Connection, now: float) -> float | None:
    """Do what was put off and is due, and say when the next is."""
    for row in db.execute("SELECT * FROM payments WHERE settles_at <= ? ORDER BY settles_at", (now,)).fetchall():
        _became(db, row, "succeeded")
    for row in db.execute("SELECT * FROM refunds WHERE settles_at <= ? ORDER BY settles_at", (now,)).fetchall():
        _refund_became(db, row, "succeeded")
    (due,) = db.execute(
        "SELECT min(settles_at) FROM (SELECT settles_at FROM payments WHERE settles_at IS NOT NULL"
        " UNION ALL SELECT settles_at FROM refunds WHERE settles_at IS NOT NULL)"
    ).fetchone()
    return None if due is None else float(due)


def tell(db: sqlite3.Connection, row: sqlite3.Row, **how: Any) -> str | None:
    """Announce a payment as it stands; the event's id, None when there is no event of its status."""
    status = row["status"]
    if status not in ("succeeded", "failed", "processing"):
        return None
    return announce(db, f"payment_{status}", "payment_details", shown(row), **how)


def tell_refund(db: sqlite3.Connection, row: sqlite3.Row, **how: Any) -> str | None:
    """Announce a refund as it stands; None while it is pending."""
    status = row["status"]
    if status == "pending":
        return None
    return announce(db, f"refund_{status}", "refund_details", shown_refund(row), **how)


def _became(
    db: sqlite3.Connection,
    row: sqlite3.Row,
    status: str,
    *,
    settles_at: float | None = None,
    error: tuple[str | None, str | None] = (None, None),
) -> sqlite3.Row:
    new: sqlite3.Row = db.execute(
        "UPDATE payments SET status = ?, settles_at = ?, error_code = ?, error_message = ? WHERE seq = ? RETURNING *",
        (status, settles_at, *error, row["seq"]),
    ).fetchone()
    if status == "succeeded":
        move(db, PLATFORM, new["currency"], new["amount"])
    word = payment_word(new["method"])
    if word != "manual":
        tell(db, new, copies=3 if word == "duplicate" else 1)
    if word == "reordered":
        _tell_the_past(db, new)
    return new


def _tell_the_past(db: sqlite3.Connection, row: sqlite3.Row) -> None:
    """What happened before the payment succeeded, as a first try that failed, told after it."""
    for status, earlier in (("processing", 2.0), ("failed", 1.0)):
        past = {**shown(row), "status": status, "amount_received": None}
        announce(db, f"payment_{status}", "payment_details", past, at=row["created"] - earlier)


def _refund_became(
    db: sqlite3.Connection,
    row: sqlite3.Row,
    status: str,
    *,
    settles_at: float | None = None,
    error: tuple[str | None, str | None] = (None, None),
) -> sqlite3.Row:
    new: sqlite3.Row = db.execute(
        "UPDATE refunds SET status = ?, settles_at = ?, error_code = ?, error_message = ? WHERE seq = ? RETURNING *",
        (status, settles_at, *error, row["seq"]),
    ).fetchone()
    if status == "succeeded":
        move(db, PLATFORM, new["currency"], -new["amount"])
    word = refund_word(new["method"])
    if word != "manual":
        tell_refund(db, new, copies=3 if word == "duplicate" else 1)
    return new
