"""Double submit: whoever is known by a cookie alone says in a header what another cookie holds.

A page of another site can make a browser send our cookies but reads none of them, so it cannot say it. The token is
signed, so that a cookie which somebody planted is of no use (OWASP, Cross-Site Request Forgery Prevention Cheat Sheet,
"Signed Double-Submit Cookie").
"""

import hashlib
import hmac
import secrets
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
    nonce = secrets.token_hex(NONCE_BYTES)
    token = f"{nonce}.{_signature(ctx, nonce)}"
    cookie = Cookie(COOKIE, token, LIFETIME_S, secure=ctx.services.settings.production, http_only=False)
    return token, cookie


def require(ctx: "Context") -> None:
    """Raises CsrfInvalid unless header and cookie hold the same token, of ours."""
    said = ctx.request.header(HEADER.lower()) or ""
    held: str = ctx.request.cookies.get(COOKIE) or ""
    nonce, _, signature = held.partition(".")
    same = hmac.compare_digest(_bytes(said), _bytes(held))
    ours = hmac.compare_digest(_bytes(signature), _bytes(_signature(ctx, nonce)))
    if not (same and ours):
        raise CsrfInvalid


def _bytes(text: str) -> bytes:
    """Of a header, which may hold what is no text."""
    return text.encode("utf-8", "surrogateescape")


def _signature(ctx: "Context", nonce: str) -> str:
    key = hashlib.sha256(b"csrf " + ctx.services.settings.jwt_secret.encode()).digest()
    return hmac.new(key, _bytes(nonce), hashlib.sha256).hexdigest()
