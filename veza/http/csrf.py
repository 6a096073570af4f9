"""Double submit: whoever is known by a cookie alone says in a header what another cookie holds.

A page of another site can make a browser send our cookies but reads none of them and sends no header of ours, so it
cannot say it. The token is signed and has an end, so that nobody plants a cookie that they made up or found (OWASP,
Cross-Site Request Forgery Prevention Cheat Sheet). It names no session: it is given out before a sign-in as well.
"""

import hashlib
import hmac
import secrets
import time
from typing import TYPE_CHECKING

from veza.errors import CsrfInvalid
from veza.http.envelope import Cookie

if TYPE_CHECKING:
    from veza.http.context import Context

COOKIE = "csrf_token"
HEADER = "X-CSRF-Token"
LIFETIME_S = 24 * 3600
NONCE_BYTES = 16


def issue(ctx: "Context") -> tuple[str, Cookie]:
    """A token and the cookie that holds it, which scripts may read."""
    content = f"{int(time.time()):x}-{secrets.token_hex(NONCE_BYTES)}"
    token = f"{content}.{_signature(ctx, content)}"
    cookie = Cookie(COOKIE, token, LIFETIME_S, secure=ctx.services.settings.production, http_only=False)
    return token, cookie


def require(ctx: "Context") -> None:
    """Raises CsrfInvalid unless header and cookie hold the same token, of ours and no older than a day."""
    said = ctx.request.header(HEADER.lower()) or ""
    held: str = ctx.request.cookies.get(COOKIE) or ""
    content, _, signature = held.partition(".")
    same = hmac.compare_digest(_bytes(said), _bytes(held))
    ours = hmac.compare_digest(_bytes(signature), _bytes(_signature(ctx, content)))
    if not (same and ours) or time.time() - int(content.partition("-")[0], 16) > LIFETIME_S:
        raise CsrfInvalid


def _bytes(text: str) -> bytes:
    """Of a header, which may hold what is no text."""
    return text.encode("utf-8", "surrogateescape")


def _signature(ctx: "Context", content: str) -> str:
    key = hashlib.sha256(b"csrf " + ctx.services.settings.jwt_secret.encode()).digest()
    return hmac.new(key, _bytes(content), hashlib.sha256).hexdigest()
