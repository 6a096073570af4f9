"""The sessions of the caller."""

from uuid import UUID

import msgspec

from veza.errors import Banned, NotFound
from veza.http.context import Context
from veza.http.credentials import (
    Credentials,
    Notice,
    RefreshRequest,
    credentials,
    current_session,
    exchange,
    forget_credentials,
    presented_refresh_token,
)
from veza.http.envelope import Reply
from veza.http.params import Paging
from veza.http.routing import Resource
from veza.storage import sessions
from veza.storage.database import transaction
from veza.storage.sessions import SessionInfo

resource = Resource("sessions", "Sign-ins of a person, listed and ended.")


class SessionList(msgspec.Struct, frozen=True):
    """A page of sessions; `total` counts all that are active."""

    sessions: list[SessionInfo]
    total: int


class SessionLogout(msgspec.Struct, frozen=True):
    """Which session to end; the current one when left out."""

    session_id: UUID | None = None


class LoggedOutAll(msgspec.Struct, frozen=True):
    """How many sessions were ended."""

    message: str
    ended: int


@resource.get("/sessions")
async def list_sessions(ctx: Context, query: Paging) -> SessionList:
    """List the active sessions of the current user, newest first."""
    found, total = await sessions.list_active(
        ctx.services.pool,
        ctx.principal.user_id,
        ctx.principal.session_id,
        limit=query.limit,
        offset=query.offset,
    )
    return SessionList(found, total)


@resource.post("/sessions/logout", headers=("Set-Cookie",), errors=(NotFound,))
async def log_out(ctx: Context, body: SessionLogout | None = None) -> Reply[Notice]:
    """End one session, at once, on REST and on open sockets."""
    current = ctx.principal.session_id
    session_id = (body.session_id if body else None) or current_session(ctx)
    events = await sessions.revoke(ctx.services.pool, ctx.principal.user_id, session_id)
    ctx.services.authenticator.apply(events)
    cookies = [forget_credentials(ctx)] if session_id == current else []
    return Reply(Notice("Logged out"), cookies=cookies)


@resource.post("/sessions/logout-all", headers=("Set-Cookie",))
async def log_out_all(ctx: Context) -> Reply[LoggedOutAll]:
    """End every session of the current user, this one too."""
    async with transaction(ctx.services.pool) as connection:
        events = await sessions.revoke_all(connection, ctx.principal.user_id)
    ctx.services.authenticator.apply(events)
    return Reply(LoggedOutAll("Logged out everywhere", len(events)), cookies=[forget_credentials(ctx)])


@resource.post("/sessions/refresh", headers=("Set-Cookie",), errors=(Banned,))
async def refresh_session(ctx: Context, body: RefreshRequest | None = None) -> Reply[Credentials]:
    """Refresh the current session.

    With a refresh token in the body or the cookie that one is exchanged; it must be of this session. Without, the
    access token is proof enough, and refresh tokens given out before count as used.
    """
    session_id = current_session(ctx)
    token = presented_refresh_token(ctx, body)
    if token is None:
        return credentials(ctx, await sessions.renew(ctx.services.pool, session_id))
    return credentials(ctx, await exchange(ctx, token, within=session_id))
