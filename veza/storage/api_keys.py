"""API keys: made by a person for their programs, shown once, stored hashed."""

import hashlib
import secrets
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID

import msgspec

from veza.errors import Banned, Conflict, NotFound, Unauthenticated
from veza.ids import new_id
from veza.realtime.principal import Principal, Role
from veza.storage import control_log
from veza.storage.control_log import ControlEvent, ControlKind
from veza.storage.database import Connection, transaction
from veza.storage.sessions import TOUCH_INTERVAL

PREFIX = "veza_sk_"
MOST_KEYS = 50
SHOWN = len(PREFIX) + 6
_KEY_BYTES = 32
# 32 bytes never need more digits of base 62.
_DIGITS = 43
_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

Scope = Literal["read", "write"]


class ApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key as its owner sees it afterwards. `prefix` is how it begins."""

    id: UUID
    name: str
    prefix: str
    scopes: list[Scope]
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None = None


class NewApiKey(ApiKey, frozen=True, kw_only=True):
    """The only answer that holds the key."""

    key: str


class KeyState(msgspec.Struct, frozen=True):
    """Who a living key speaks for."""

    id: UUID
    principal: Principal
    last_used_at: datetime | None


def make_key() -> str:
    number = int.from_bytes(secrets.token_bytes(_KEY_BYTES), "big")
    digits = []
    for _ in range(_DIGITS):
        number, digit = divmod(number, len(_ALPHABET))
        digits.append(_ALPHABET[digit])
    return PREFIX + "".join(reversed(digits))


def digest(key: str) -> bytes:
    return hashlib.sha256(key.encode(errors="surrogateescape")).digest()


async def create(pool: Any, user_id: UUID, name: str, scopes: list[Scope], lifetime: timedelta | None) -> NewApiKey:
    """Raises Conflict when the user has as many as may be."""
    key = make_key()
    async with transaction(pool) as connection:
        # Of two at once the second counts the first.
        await connection.execute("SELECT 1 FROM users WHERE id = $1 FOR UPDATE", user_id)
        count = "SELECT count(*) FROM api_keys WHERE user_id = $1 AND revoked_at IS NULL"
        if await connection.fetchval(count, user_id) >= MOST_KEYS:
            raise Conflict(f"You have {MOST_KEYS} keys; revoke one first.")
        row = await connection.fetchrow(
            """
            INSERT INTO api_keys (id, user_id, key_hash, name, prefix, scopes, expires_at)
            VALUES ($1, $2, $3, $4, $5, $6, now() + $7::interval)
            RETURNING id, name, prefix, scopes, created_at, expires_at
            """,
            new_id(),
            user_id,
            digest(key),
            name,
            key[:SHOWN],
            scopes,
            lifetime,
        )
    return msgspec.convert({**row, "key": key}, NewApiKey)


async def page(connection: Connection, user_id: UUID, limit: int, offset: int) -> tuple[list[ApiKey], int]:
    """Those that are not revoked, newest first, and how many there are."""
    rows = await connection.fetch(
        """
        SELECT id, name, prefix, scopes, created_at, expires_at, last_used_at FROM api_keys
        WHERE user_id = $1 AND revoked_at IS NULL ORDER BY created_at DESC, id DESC LIMIT $2 OFFSET $3
        """,
        user_id,
        limit,
        offset,
    )
    count = "SELECT count(*) FROM api_keys WHERE user_id = $1 AND revoked_at IS NULL"
    return [msgspec.convert(dict(row), ApiKey) for row in rows], await connection.fetchval(count, user_id)


async def revoke(pool: Any, user_id: UUID, key_id: UUID) -> ControlEvent:
    """Raises NotFound."""
    event = ControlEvent(ControlKind.API_KEY_REVOKED, str(key_id))
    async with transaction(pool) as connection:
        revoked = await connection.fetchval(
            """
            UPDATE api_keys SET revoked_at = now()
            WHERE id = $1 AND user_id = $2 AND revoked_at IS NULL RETURNING id
            """,
            key_id,
            user_id,
        )
        if revoked is None:
            raise NotFound("There is no such key, or it is not yours.")
        await control_log.append(connection, event)
    return event


_STATE = """
    SELECT k.id, k.scopes, k.expires_at, k.last_used_at, u.id AS user_id, u.username, u.role, u.banned_at
    FROM api_keys k JOIN users u ON u.id = k.user_id
    WHERE k.revoked_at IS NULL AND u.deleted_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > now())
    """


async def find(connection: Connection, hashed: bytes) -> KeyState:
    """Raises Unauthenticated for a key that is unknown, revoked or expired; Banned."""
    return _state(await connection.fetchrow(f"{_STATE} AND k.key_hash = $1", hashed))


async def find_by_id(connection: Connection, key_id: UUID) -> KeyState:
    """The same, of a key that was good once."""
    return _state(await connection.fetchrow(f"{_STATE} AND k.id = $1", key_id))


def _state(row: Any) -> KeyState:
    if row is None:
        raise Unauthenticated("The API key is not valid.")
    if row["banned_at"] is not None:
        raise Banned
    principal = Principal(
        row["user_id"],
        row["username"],
        Role(row["role"]),
        scopes=frozenset(row["scopes"]),
        key_id=row["id"],
        expires_at=row["expires_at"],
    )
    return KeyState(row["id"], principal, row["last_used_at"])


async def touch(connection: Connection, key_id: UUID) -> None:
    """Note that it was used now, unless that was noted within the last minute."""
    await connection.execute(
        """
        UPDATE api_keys SET last_used_at = now()
        WHERE id = $1 AND (last_used_at IS NULL OR last_used_at <= now() - $2::interval)
        """,
        key_id,
        TOUCH_INTERVAL,
    )
