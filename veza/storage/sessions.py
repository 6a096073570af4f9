"""Sessions: one login each, kept alive by refresh tokens that are good for one exchange.

A used token that comes again means that two parties hold it: the session ends. Functions that end sessions append
the control events in their transaction and return them, so that the caller's own cache need not wait for them.
"""

import hashlib
import secrets
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import msgspec

from veza.errors import Banned, NotFound, Unauthenticated
from veza.realtime.principal import Principal, Role
from veza.storage import control_log
from veza.storage.control_log import ControlEvent, ControlKind
from veza.storage.database import Connection, sql, transaction

REFRESH_LIFETIME = timedelta(days=7)
# Often enough for a list of devices, seldom enough to cost nothing.
TOUCH_INTERVAL = timedelta(minutes=1)
MAX_DEVICE_LENGTH = 256


class Grant(msgspec.Struct, frozen=True):
    """What a sign-in or a refresh gives: the session, whose it is, and the next refresh token (shown once)."""

    session_id: UUID
    user_id: UUID
    username: str
    email: str
    refresh_token: str


class SessionInfo(msgspec.Struct, frozen=True):
    """A session as its owner sees it. `current` is the one that asks."""

    id: UUID
    device: str
    ip: str
    created_at: datetime
    last_seen_at: datetime
    expires_at: datetime
    current: bool


class SessionState(msgspec.Struct, frozen=True):
    """Who a living session speaks for."""

    principal: Principal
    expires_at: datetime
    last_seen_at: datetime


class RefreshTokenReused(Unauthenticated):
    """A refresh token came a second time; its session has been ended by that. `session_id` is the session."""

    default_message = "This refresh token was used before; its session has been ended. Sign in again."

    def __init__(self, message: str | None, session_id: UUID) -> None:
        super().__init__(message, session_id)

    @property
    def session_id(self) -> UUID:
        return UUID(str(self.args[1]))


def _digest(token: str) -> bytes:
    # The token is 32 random bytes: nothing to guess, so no slow hash is needed.
    # A cookie may hold text that is no UTF-8.
    return hashlib.sha256(token.encode(errors="surrogatepass")).digest()


async def open_session(
    connection: Connection, *, user_id: UUID, username: str, email: str, device: str, ip: str
) -> Grant:
    """Start a session inside the caller's transaction."""
    session_id = uuid4()
    shown = _clean(device)
    await connection.execute(sql("session_open"), session_id, user_id, shown, ip, REFRESH_LIFETIME)
    token = await _add_token(connection, session_id)
    return Grant(session_id, user_id, username, email, token)


def _clean(device: str) -> str:
    """A client names itself as it likes; the database takes text without NUL that is UTF-8."""
    return "".join(filter(str.isprintable, device))[:MAX_DEVICE_LENGTH]


async def _add_token(connection: Connection, session_id: UUID) -> str:
    token = secrets.token_urlsafe(32)
    await connection.execute(sql("refresh_token_add"), _digest(token), session_id, REFRESH_LIFETIME)
    return token


async def refresh(pool: Any, token: str, *, within: UUID | None = None) -> Grant:
    """Exchange a refresh token, which is used up by that, for the next; `within` is the session it must be of.

    Raises Unauthenticated for a token that is unknown, expired, of another or of an ended session;
    RefreshTokenReused for one used before, after ending its session; Banned.
    """
    async with transaction(pool) as connection:
        digest = _digest(token)
        found = await connection.fetchrow(sql("refresh_token_find"), digest)
        if found is None or within not in (None, found["session_id"]):
            raise Unauthenticated("The refresh token is not valid.")
        session = await connection.fetchrow(sql("session_lock"), found["session_id"])
        # Again, now that nobody else is at it.
        found = await connection.fetchrow(sql("refresh_token_find"), digest)
        _require_alive(session)
        if found is None or found["expired"]:
            raise Unauthenticated("The refresh token is not valid any more; sign in again.")
        if not found["used"]:
            return await _continue(connection, session)
        await _revoke(connection, [session["id"]])
    raise RefreshTokenReused(None, session["id"])


async def renew(pool: Any, session_id: UUID) -> Grant:
    """The next refresh token of a session that has proven itself by its access token; older ones are used up.

    Raises Unauthenticated when the session has ended, Banned.
    """
    async with transaction(pool) as connection:
        session = await connection.fetchrow(sql("session_lock"), session_id)
        _require_alive(session)
        return await _continue(connection, session)


def _require_alive(session: Any) -> None:
    if session is None:
        raise Unauthenticated
    if session["banned"]:
        raise Banned
    if session["ended"]:
        raise Unauthenticated("This session has ended; sign in again.")


async def _continue(connection: Connection, session: Any) -> Grant:
    await connection.execute(sql("refresh_token_use"), session["id"])
    await connection.execute(sql("session_extend"), session["id"], REFRESH_LIFETIME)
    token = await _add_token(connection, session["id"])
    return Grant(session["id"], session["user_id"], session["username"], session["email"], token)


async def find(connection: Connection, session_id: UUID) -> SessionState:
    """The state of a living session. Raises Unauthenticated where there is none, Banned."""
    row = await connection.fetchrow(sql("session_principal"), session_id)
    _require_alive(row)
    principal = Principal(row["user_id"], row["username"], Role(row["role"]), session_id)
    return SessionState(principal, row["expires_at"], row["last_seen_at"])


async def touch(connection: Connection, session_id: UUID) -> None:
    """Note that the session was seen now, unless that was noted within the last minute."""
    await connection.execute(sql("session_touch"), session_id, TOUCH_INTERVAL)


async def list_active(
    connection: Connection, user_id: UUID, current: UUID | None, *, limit: int, offset: int
) -> tuple[list[SessionInfo], int]:
    """A page of a person's living sessions, newest first, and how many there are in all."""
    rows = await connection.fetch(sql("session_list"), user_id, limit, offset)
    found = [
        SessionInfo(
            id=row["id"],
            device=row["device"],
            ip=row["ip"],
            created_at=row["created_at"],
            last_seen_at=row["last_seen_at"],
            expires_at=row["expires_at"],
            current=row["id"] == current,
        )
        for row in rows
    ]
    if rows or not offset:
        return found, rows[0]["total"] if rows else 0
    _, total = await list_active(connection, user_id, current, limit=1, offset=0)
    return [], total


async def revoke(pool: Any, user_id: UUID, session_id: UUID) -> tuple[ControlEvent, ...]:
    """End one session of a person. Raises NotFound when it is not theirs; ending it twice is no error."""
    async with transaction(pool) as connection:
        row = await connection.fetchrow(sql("session_lock"), session_id)
        if row is None or row["user_id"] != user_id:
            raise NotFound("You have no such session.")
        return await _revoke(connection, [session_id])


async def revoke_by_token(pool: Any, token: str) -> tuple[ControlEvent, ...]:
    """End the session that a refresh token belongs to; nothing happens for an unknown token."""
    async with transaction(pool) as connection:
        found = await connection.fetchrow(sql("refresh_token_find"), _digest(token))
        return await _revoke(connection, [found["session_id"]]) if found is not None else ()


async def revoke_all(connection: Connection, user_id: UUID, *, keep: UUID | None = None) -> tuple[ControlEvent, ...]:
    """End every session of a person but `keep`, inside the caller's transaction."""
    rows = await connection.fetch(sql("session_revoke_of_user"), user_id, keep)
    return await _announce(connection, (row["id"] for row in rows))


async def _revoke(connection: Connection, session_ids: list[UUID]) -> tuple[ControlEvent, ...]:
    rows = await connection.fetch(
        "UPDATE sessions SET revoked_at = now() WHERE id = ANY($1) AND revoked_at IS NULL RETURNING id",
        session_ids,
    )
    return await _announce(connection, (row["id"] for row in rows))


async def _announce(connection: Connection, session_ids: Iterable[UUID]) -> tuple[ControlEvent, ...]:
    events = tuple(ControlEvent(ControlKind.SESSION_REVOKED, str(found)) for found in session_ids)
    if events:
        await control_log.append(connection, *events)
    return events
