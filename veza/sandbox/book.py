"""The book: everything the sandbox knows, in one SQLite file that survives SIGKILL at any instant."""

import asyncio
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from veza.sandbox.schema import SCHEMA

PLATFORM = ""
CLOCK_SHIFT = "clock_shift"

T = TypeVar("T")


class Book:
    """One connection on one thread, so that transactions come one after the other and never block the loop.

    In WAL mode with `synchronous=NORMAL` a commit is written to the file without waiting for the disk: what was
    committed outlives the process, which is what we promise, though not a power cut.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="book")
        self._db: sqlite3.Connection | None = None

    async def open(self) -> None:
        """Open the file, and make it when it is missing. Raises sqlite3.Error."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._open)

    async def do(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` as one transaction; what it raises undoes it."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._transact, work)

    async def close(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, self._close)
        self._thread.shutdown()

    def _open(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        # The process that we replace may take a moment to die.
        db = sqlite3.connect(self._path, timeout=10, isolation_level=None, cached_statements=256)
        db.row_factory = sqlite3.Row
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
        db.execute("PRAGMA foreign_keys = ON")
        db.executescript(SCHEMA)
        self._db = db

    def _transact(self, work: Callable[[sqlite3.Connection], T]) -> T:
        db = self._db
        if db is None:
            raise RuntimeError("the book is not open")
        db.execute("BEGIN IMMEDIATE")
        try:
            result = work(db)
            db.execute("COMMIT")
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise
        return result

    def _close(self) -> None:
        db, self._db = self._db, None
        if db is not None:
            db.close()


def move(db: sqlite3.Connection, owner: str, currency: str, cents: int) -> None:
    """Add `cents`, which may be less than none, to what lies with `owner`."""
    db.execute(
        "INSERT INTO balances (owner, currency, cents) VALUES (?, ?, ?)"
        " ON CONFLICT (owner, currency) DO UPDATE SET cents = cents + excluded.cents",
        (owner, currency, cents),
    )


def balance(db: sqlite3.Connection, owner: str, currency: str) -> int:
    """What lies with `owner` in one currency."""
    row = db.execute("SELECT cents FROM balances WHERE owner = ? AND currency = ?", (owner, currency)).fetchone()
    return int(row[0]) if row else 0


def balances(db: sqlite3.Connection, owner: str) -> dict[str, int]:
    """What lies with `owner`, by currency."""
    return dict(
        db.execute("SELECT currency, cents FROM balances WHERE owner = ? ORDER BY currency", (owner,)).fetchall()
    )


def setting(db: sqlite3.Connection, name: str) -> float:
    """A number that was kept under a name; 0 when there is none."""
    row = db.execute("SELECT value FROM settings WHERE name = ?", (name,)).fetchone()
    return float(row[0]) if row else 0.0


def keep_setting(db: sqlite3.Connection, name: str, value: float) -> None:
    db.execute("INSERT OR REPLACE INTO settings (name, value) VALUES (?, ?)", (name, value))


def shifted_now(db: sqlite3.Connection) -> float:
    """The time by the clock that tests may shift, by which idempotency keys and onboarding links expire."""
    return time.time() + setting(db, CLOCK_SHIFT)
