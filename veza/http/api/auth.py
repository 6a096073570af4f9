"""Registration, login, refresh and logout."""

import msgspec

from veza.errors import Banned, Conflict, RateLimited, Unauthenticated, Unavailable
from veza.http.context import Context
from veza.http.credentials import (
    Credentials,
    Notice,
    RefreshRequest,
    credentials,
    exchange,
    forget_credentials,
    presented_refresh_token,
    require_token,
)
from veza.http.envelope import Reply
from veza.http.routing import Auth, Resource
from veza.storage import accounts, sessions

resource = Resource("auth", "Becoming somebody: registration, login, refresh, logout.")


class Registration(msgspec.Struct, frozen=True):
    """A new account. Username and e-mail are unique whatever their case."""

    username: str
    email: str
    password: str


class Login(msgspec.Struct, frozen=True):
    """What proves who one is."""

    email: str
    password: str


@resource.post("/auth/register", status=201, auth=Auth.NONE, errors=(Conflict, Unavailable))
async def register(ctx: Context, body: Registration) -> Reply[Credentials]:
    """Register a new user.

    The username has 3 to 30 characters of `A-Z a-z 0-9 _ . -`; the password 8 to 128 with an upper-case and a
    lower-case letter, a digit and a special character. The new user is signed in at once.
    """
    grant = await accounts.register(
        ctx.services.pool,
        ctx.services.passwords,
        username=body.username,
        email=body.email,
        password=body.password,
        device=ctx.user_agent,
        ip=ctx.ip,
    )
    return credentials(ctx, grant)


@resource.post("/auth/login", auth=Auth.NONE, errors=(Unauthenticated, Banned, RateLimited, Unavailable))
async def log_in(ctx: Context, body: Login) -> Reply[Credentials]:
    """Login with e-mail and password.

    An unknown e-mail and a wrong password get the same answer. Ten failures in 15 minutes, of an account or from
    an address, are answered 429 with `Retry-After`.
    """
    grant = await accounts.log_in(
        ctx.services.pool,
        ctx.services.passwords,
        email=body.email,
        password=body.password,
        device=ctx.user_agent,
        ip=ctx.ip,
    )
    return credentials(ctx, grant)


@resource.post("/auth/refresh", auth=Auth.NONE, errors=(Unauthenticated, Banned))
async def refresh(ctx: Context, body: RefreshRequest | None = None) -> Reply[Credentials]:
    """Refresh the access token with a refresh token, of the body or of the cookie `veza_refresh`.

    A refresh token is good once: the answer holds the next. One that comes a second time ends its session.
    """
    token = require_token(presented_refresh_token(ctx, body))
    return credentials(ctx, await exchange(ctx, token))


@resource.post("/auth/logout", auth=Auth.OPTIONAL)
async def log_out(ctx: Context, body: RefreshRequest | None = None) -> Reply[Notice]:
    """Logout and invalidate the refresh token.

    Ends the session of the access token; without one, that of the refresh token in the body or the cookie.
    """
    caller = ctx.caller
    token = presented_refresh_token(ctx, body)
    if caller is not None and caller.session_id is not None:
        events = await sessions.revoke(ctx.services.pool, caller.user_id, caller.session_id)
    else:
        events = await sessions.revoke_by_token(ctx.services.pool, token) if token else ()
    ctx.services.authenticator.apply(events)
    return Reply(Notice("Logged out"), cookies=[forget_credentials(ctx)])
