"""Slows the guessing of passwords: ten failures in a quarter of an hour close an account, or an address, to logins.

Only hashes of accounts and addresses are stored.
"""

import hashlib
from datetime import timedelta

from veza.errors import RateLimited
from veza.storage.database import Connection, sql

MAX_FAILURES = 10
WINDOW = timedelta(minutes=15)


def guard_keys(email: str, ip: str) -> list[str]:
    """The keys an attempt counts for: the account's, then the address's."""
    return [_key(f"account:{email.lower()}"), _key(f"ip:{ip}")]


def _key(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


async def check(connection: Connection, keys: list[str]) -> None:
    """Raises RateLimited, with the time to wait, while a key has too many failures."""
    wait = await connection.fetchval(sql("login_blocked_for"), keys, WINDOW, MAX_FAILURES)
    if wait is not None:
        raise RateLimited("Too many failed sign-ins; wait before the next.", float(wait))


async def settle(connection: Connection, keys: list[str], *, succeeded: bool) -> None:
    """Count the outcome of an attempt, inside the caller's transaction.

    Checks again, one attempt of a key after the other: of any number of guesses made at the same time only as many
    get an answer as of guesses made in a row, a right one among them too. A success forgets the account's failures,
    not the address's.
    """
    for key in sorted(keys):
        await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", key)
    await check(connection, keys)
    if succeeded:
        await connection.execute("DELETE FROM login_failures WHERE key = $1", keys[0])
    else:
        await connection.execute("INSERT INTO login_failures (key) SELECT unnest($1::text[])", keys)
