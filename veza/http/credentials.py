"""What a sign-in and a refresh answer: tokens in the body, the refresh token in a cookie as well."""

from datetime import UTC, datetime
from uuid import UUID

import msgspec

from veza.errors import PermissionDenied, Unauthenticated
from veza.http import csrf
from veza.http.context import Context
from veza.http.envelope import Cookie, Reply
from veza.http.routing import API_PREFIX
from veza.http.tokens import Audience
from veza.storage import sessions
from veza.storage.control_log import ControlEvent, ControlKind
from veza.storage.sessions import REFRESH_LIFETIME, Grant, RefreshTokenReused

REFRESH_COOKIE = "veza_refresh"


class SignedIn(msgspec.Struct, frozen=True):
    """Whose credentials these are."""

    id: UUID
    username: str
    email: str


class Credentials(msgspec.Struct, frozen=True):
    """`access_token` lives `expires_in` seconds; `refresh_token` is exchanged once for the next pair."""

    user: SignedIn
    access_token: str
    refresh_token: str
    expires_in: int


class RefreshRequest(msgspec.Struct, frozen=True):
    """The refresh token, unless the cookie holds it."""

    refresh_token: str | None = None


class Notice(msgspec.Struct, frozen=True):
    """A sentence about what was done."""

    message: str


def credentials(ctx: Context, grant: Grant) -> Reply[Credentials]:
    """The answer to whoever was granted a session or its next refresh token."""
    ctx.request.user_id = grant.user_id
    tokens = ctx.services.authenticator.tokens
    data = Credentials(
        user=SignedIn(grant.user_id, grant.username, grant.email),
        access_token=tokens.issue(Audience.API, grant.user_id, grant.session_id, datetime.now(UTC)),
        refresh_token=grant.refresh_token,
        expires_in=Audience.API.lifetime,
    )
    lifetime = int(REFRESH_LIFETIME.total_seconds())
    return Reply(data, cookies=[_refresh_cookie(ctx, grant.refresh_token, lifetime)])


def forget_credentials(ctx: Context) -> Cookie:
    """Removes the cookie."""
    return _refresh_cookie(ctx, "", 0)


def _refresh_cookie(ctx: Context, value: str, max_age: int) -> Cookie:
    return Cookie(REFRESH_COOKIE, value, max_age, path=API_PREFIX, secure=ctx.services.settings.production)


def presented_refresh_token(ctx: Context, body: RefreshRequest | None) -> str | None:
    """The refresh token of the body, else of the cookie. Raises CsrfInvalid when nothing but the cookie says who asks,
    and no page of ours asked.
    """
    if body is not None and body.refresh_token:
        return body.refresh_token
    cookie: str | None = ctx.request.cookies.get(REFRESH_COOKIE)
    if cookie and ctx.caller is None:
        csrf.require(ctx)
    return cookie or None


async def exchange(ctx: Context, token: str, *, within: UUID | None = None) -> Grant:
    """`sessions.refresh`; a session that it ends is refused here from now on, without waiting for the log."""
    try:
        return await sessions.refresh(ctx.services.pool, token, within=within)
    except RefreshTokenReused as reused:
        event = ControlEvent(ControlKind.SESSION_REVOKED, str(reused.session_id))
        ctx.services.authenticator.apply((event,))
        raise


def current_session(ctx: Context) -> UUID:
    """The session that asks. Raises PermissionDenied for a credential that is none, such as an API key."""
    session_id = ctx.principal.session_id
    if session_id is None:
        raise PermissionDenied("Only a person who has signed in can do that.")
    return session_id


def require_token(token: str | None) -> str:
    """Raises Unauthenticated where no refresh token was presented."""
    if token is None:
        raise Unauthenticated("A refresh token is required, in the body or in the cookie.")
    return token
