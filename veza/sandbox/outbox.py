"""Webhooks that wait in the book: written with what they tell of, kept until they are delivered."""

import hashlib
import sqlite3
import time
from typing import Any

import msgspec

from veza.sandbox.book import keep_setting, setting

KEPT_SECONDS = 24 * 3600.0
LONGEST_PAUSE_SECONDS = 60.0
HELD = "webhooks_held"
MERCHANT = "merchant_sandbox"

_NAMES = {"payment_details": "payment_id", "refund_details": "refund_id", "dispute_details": "dispute_id"}


class Parcel(msgspec.Struct, frozen=True):
    """One webhook on its way. `about` is the payment it tells of."""

    seq: int
    about: str
    body: bytes
    created: float
    attempts: int


def stamp(moment: float) -> str:
    """A time as Hyperswitch writes it."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(moment)) + f".{int(moment % 1 * 1000):03d}Z"


def announce(
    db: sqlite3.Connection,
    event_type: str,
    kind: str,
    about: dict[str, Any],
    *,
    copies: int = 1,
    at: float | None = None,
    forced: bool = False,
) -> str:
    """Put an event into the outbox and say its id, which is the same however often it is sent."""
    now = time.time()
    event_id = "evt_" + hashlib.sha256(f"{event_type}:{about[_NAMES[kind]]}".encode()).hexdigest()[:24]
    body = msgspec.json.encode(
        {
            "merchant_id": MERCHANT,
            "event_id": event_id,
            "event_type": event_type,
            "content": {"type": kind, "object": about},
            "timestamp": stamp(now if at is None else at),
        }
    )
    row = (event_id, about["payment_id"], body, now, now, int(forced))
    db.executemany(
        "INSERT INTO outbox (event_id, about, body, created, due, forced) VALUES (?, ?, ?, ?, ?, ?)", [row] * copies
    )
    return event_id


def due(db: sqlite3.Connection, now: float, most: int, flying: set[int]) -> tuple[list[Parcel], float | None]:
    """What can be sent now, oldest first, and when something else can. Of one payment each waits for the one before."""
    if most <= 0:
        return [], None
    unheld = (
        ""
        if setting(db, HELD)
        else (
            " OR NOT EXISTS (SELECT 1 FROM outbox AS earlier WHERE earlier.about = outbox.about"
            " AND earlier.state = 0 AND earlier.seq < outbox.seq)"
        )
    )
    ready = f"state = 0 AND (forced = 1{unheld})"
    columns = "seq, about, body, created, attempts"
    rows = db.execute(
        f"SELECT {columns} FROM outbox WHERE due <= ? AND {ready} ORDER BY seq LIMIT ?",  # noqa: S608 - our own words
        (now, most + len(flying)),
    )
    found = [Parcel(*row) for row in rows if row["seq"] not in flying]
    (later,) = db.execute(f"SELECT min(due) FROM outbox WHERE due > ? AND {ready}", (now,)).fetchone()  # noqa: S608
    return found[:most], later


def delivered(db: sqlite3.Connection, parcel: Parcel) -> None:
    db.execute("UPDATE outbox SET state = 1, attempts = attempts + 1 WHERE seq = ?", (parcel.seq,))


def failed(db: sqlite3.Connection, parcel: Parcel, now: float) -> None:
    """To be sent again after 1, 2, 4 … 60 seconds, and no more after a day."""
    pause = min(2.0 ** min(parcel.attempts, 10), LONGEST_PAUSE_SECONDS)
    state = 2 if now - parcel.created > KEPT_SECONDS else 0
    db.execute(
        "UPDATE outbox SET attempts = attempts + 1, due = ?, state = ? WHERE seq = ?", (now + pause, state, parcel.seq)
    )


def hold(db: sqlite3.Connection, held: bool) -> None:
    """Keep all webhooks back, or let them go, those too that wait for their next try."""
    keep_setting(db, HELD, float(held))
    if not held:
        db.execute("UPDATE outbox SET due = ? WHERE state = 0", (time.time(),))


def counted(db: sqlite3.Connection) -> dict[str, Any]:
    """How many wait, were delivered, were given up; and whether they are held."""
    counts = dict(db.execute("SELECT state, count(*) FROM outbox GROUP BY state").fetchall())
    return {
        "waiting": counts.get(0, 0),
        "delivered": counts.get(1, 0),
        "given_up": counts.get(2, 0),
        "held": bool(setting(db, HELD)),
    }
