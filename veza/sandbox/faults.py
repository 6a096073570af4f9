"""What goes wrong on request: faults that wait in the book for the requests they are meant for."""

import sqlite3
from enum import StrEnum

import msgspec

EVERYTHING = "*"
HOLD_SECONDS = 60.0

OPERATIONS = frozenset(
    {
        "payments.create",
        "payments.confirm",
        "payments.get",
        "payments.list",
        "refunds.create",
        "refunds.get",
        "refunds.list",
        "accounts.create",
        "accounts.get",
        "account_links.create",
        "balance.get",
        "transfers.create",
        "transfers.get",
        "transfers.list",
        "reversals.create",
        "reversals.get",
        "reversals.list",
    }
)


class Kind(StrEnum):
    """What a fault does to a request. `*_after` and `timeout` come when it is done, the others instead of it.

    `error` and `error_after` answer 500, `refuse` a definite no; Stripe keeps all three under the idempotency key.
    `unavailable` (503) and `rate_limit` (429) turn it away unread. A `hang_up` closes the connection without an answer,
    a `timeout` holds it first. `delay` does what was asked, later, also when the client has left.
    """

    ERROR = "error"
    ERROR_AFTER = "error_after"
    REFUSE = "refuse"
    UNAVAILABLE = "unavailable"
    RATE_LIMIT = "rate_limit"
    HANG_UP = "hang_up"
    HANG_UP_AFTER = "hang_up_after"
    TIMEOUT = "timeout"
    TIMEOUT_BEFORE = "timeout_before"
    DELAY = "delay"


class Fault(msgspec.Struct, frozen=True):
    """`seconds` is how long it delays or holds."""

    kind: Kind
    seconds: float = HOLD_SECONDS


def arm(db: sqlite3.Connection, operation: str, kind: Kind, times: int | None, seconds: float | None) -> None:
    """Let the next `times` requests (None: all) for `operation` go wrong, after faults that wait already."""
    db.execute(
        "INSERT INTO faults (operation, kind, times, seconds) VALUES (?, ?, ?, ?)", (operation, kind, times, seconds)
    )


def take(db: sqlite3.Connection, operation: str) -> Fault | None:
    """The fault that meets this request, used up by it."""
    row = db.execute(
        "SELECT seq, kind, times, seconds FROM faults WHERE operation IN (?, ?) ORDER BY seq LIMIT 1",
        (operation, EVERYTHING),
    ).fetchone()
    if row is None:
        return None
    if row["times"] is not None:
        db.execute("UPDATE faults SET times = times - 1 WHERE seq = ?", (row["seq"],))
        db.execute("DELETE FROM faults WHERE seq = ? AND times <= 0", (row["seq"],))
    seconds = row["seconds"]
    return Fault(Kind(row["kind"]), HOLD_SECONDS if seconds is None else seconds)


def clear(db: sqlite3.Connection) -> None:
    db.execute("DELETE FROM faults")


def waiting(db: sqlite3.Connection) -> list[dict[str, object]]:
    """All faults, the next first."""
    rows = db.execute("SELECT operation, kind, times, seconds FROM faults ORDER BY seq")
    return [
        {"on": row["operation"], "kind": row["kind"], "times": row["times"], "seconds": row["seconds"]} for row in rows
    ]
