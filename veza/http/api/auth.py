"""Registration, login, refresh and logout."""

import msgspec

from veza.errors import (
    Banned,
    Conflict,
    CsrfInvalid,
    FeatureDisabled,
    RateLimited,
    Unauthenticated,
    Unavailable,
    UnderMaintenance,
)
from veza.http import csrf
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
from veza.http.features import REGISTRATION
from veza.http.params import EmailAddress, NewPassword, Username
from veza.http.routing import Auth, Resource
from veza.realtime.rate_window import Policy
from veza.storage import accounts, sessions

LOGINS = Policy("login", 20, 60)
REGISTRATIONS = Policy("register", 60, 60)

resource = Resource("auth", "Becoming somebody: registration, login, refresh, logout.")


class Registration(msgspec.Struct, frozen=True):
    """A new account. Username and e-mail are unique whatever their case."""

    username: Username
    email: EmailAddress
    password: NewPassword


class Login(msgspec.Struct, frozen=True):
    """What proves who one is."""

    email: str
    password: str


@resource.post(
    "/auth/register",
    status=201,
    auth=Auth.NONE,
    headers=("Set-Cookie",),
    errors=(Conflict, FeatureDisabled, Unavailable, UnderMaintenance),
    limit=REGISTRATIONS,
    limited=False,
)
async def register(ctx: Context, body: Registration) -> Reply[Credentials]:
    """Register a new user.

    The username has 3 to 30 characters of `A-Z a-z 0-9 _ . -`; the password 8 to 128 with an upper-case and a
    lower-case letter, a digit and a special character. The new user is signed in at once. During maintenance, and
    while the feature `registration` is off, nobody can.
    """
    ctx.services.switches.admit(None)
    ctx.services.switches.require(REGISTRATION)
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


@resource.post(
    "/auth/login",
    auth=Auth.NONE,
    headers=("Set-Cookie",),
    errors=(Unauthenticated, Banned, RateLimited, Unavailable, UnderMaintenance),
    limit=LOGINS,
    limited=False,
)
async def log_in(ctx: Context, body: Login) -> Reply[Credentials]:
    """Login with e-mail and password.

    An unknown e-mail and a wrong password get the same answer. Ten failures in 15 minutes, of an account or from
    an address, are answered 429 with `Retry-After`, and so is whoever tries more than 20 times a minute from one
    address. During maintenance only administrators can.
    """
    grant = await accounts.log_in(
        ctx.services.pool,
        ctx.services.passwords,
        email=body.email,
        password=body.password,
        device=ctx.user_agent,
        ip=ctx.ip,
        admit=ctx.services.switches.admit,
    )
    return credentials(ctx, grant)


@resource.post(
    "/auth/refresh",
    auth=Auth.NONE,
    headers=("Set-Cookie",),
    errors=(Unauthenticated, Banned, CsrfInvalid),
    limited=False,
)
async def refresh(ctx: Context, body: RefreshRequest | None = None) -> Reply[Credentials]:
    """Refresh the access token with a refresh token, of the body or of the cookie `veza_refresh`.

    With the cookie alone, `X-CSRF-Token` must say what `GET /csrf-token` answered. A refresh token is good once: the
    answer holds the next. One that comes a second time ends its session.
    """
    token = require_token(presented_refresh_token(ctx, body))
    return credentials(ctx, await exchange(ctx, token))


class CsrfToken(msgspec.Struct, frozen=True):
    """What the header `X-CSRF-Token` must say; the cookie `csrf_token` holds the same."""

    csrf_token: str


@resource.get("/csrf-token", auth=Auth.OPTIONAL, headers=("Set-Cookie",))
async def csrf_token(ctx: Context) -> Reply[CsrfToken]:
    """Get a CSRF token, for requests that nothing but a cookie authenticates.

    It is good for a day. Requests with a bearer token, an API key, or a refresh token in the body need none.
    """
    token, cookie = csrf.issue(ctx)
    return Reply(CsrfToken(token), cookies=[cookie])


@resource.post("/auth/logout", auth=Auth.OPTIONAL, headers=("Set-Cookie",), errors=(CsrfInvalid,), limited=False)
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
