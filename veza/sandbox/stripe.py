"""Stripe's side: accounts, transfers and reversals over HTTP, with its keys, idempotency and errors
(https://docs.stripe.com/api).
"""

import base64
import binascii
import hashlib
import hmac
import secrets
import sqlite3
from collections.abc import Callable
from typing import Any

import msgspec
from sanic import HTTPResponse, Request, Sanic
from sanic.config import Config

from veza.sandbox import transfers
from veza.sandbox.book import shifted_now
from veza.sandbox.desk import Desk, Problem, Reply, header, perform, response
from veza.sandbox.faults import Kind
from veza.sandbox.forms import Params, error, invalid, parse
from veza.sandbox.transfers import Call, Effect

KEY_SECONDS = 24 * 3600.0
LONGEST_KEY = 255

ROUTES: tuple[tuple[str, str, str, Effect], ...] = (
    ("POST", "/v1/accounts", "accounts.create", transfers.create_account),
    ("GET", "/v1/accounts/<a>", "accounts.get", transfers.get_account),
    ("POST", "/v1/account_links", "account_links.create", transfers.create_link),
    ("GET", "/v1/balance", "balance.get", transfers.get_balance),
    ("POST", "/v1/transfers", "transfers.create", transfers.create_transfer),
    ("GET", "/v1/transfers", "transfers.list", transfers.list_transfers),
    ("GET", "/v1/transfers/<a>", "transfers.get", transfers.get_transfer),
    ("POST", "/v1/transfers/<a>/reversals", "reversals.create", transfers.create_reversal),
    ("GET", "/v1/transfers/<a>/reversals", "reversals.list", transfers.list_reversals),
    ("GET", "/v1/transfers/<a>/reversals/<b>", "reversals.get", transfers.get_reversal),
)


class StripeManner:
    """How Stripe fails."""

    def failure(self, kind: Kind, operation: str) -> Reply:
        match kind:
            case Kind.RATE_LIMIT:
                reply = error(429, "Request rate limit exceeded.", code="rate_limit")
                return Reply(reply.status, reply.body, {"Retry-After": "1"})
            case Kind.UNAVAILABLE:
                return error(503, "Stripe is temporarily unavailable.", kind="api_error")
            case Kind.REFUSE:
                code = "transfers_not_allowed" if operation == "transfers.create" else "balance_insufficient"
                return error(400, f"The sandbox was told to refuse {operation}.", code=code)
            case _:
                return error(500, "An unknown error occurred", kind="api_error")


class Stripe:
    """Its routes, and the keys of the requests that are being worked on."""

    def __init__(self, desk: Desk, secret: str, site: str) -> None:
        self._desk = desk
        self._secret = secret.encode()
        self._site = site
        self._manner = StripeManner()
        self._working: set[str] = set()

    def mount(self, app: Sanic[Config, Any]) -> None:
        for method, path, operation, effect in ROUTES:
            app.add_route(self._handler(operation, effect), path, methods=[method], name=f"stripe.{operation}")

    def _handler(self, operation: str, effect: Effect) -> Callable[..., Any]:
        async def handle(request: Request, a: str = "", b: str = "") -> HTTPResponse:
            try:
                answer = await self._serve(request, operation, effect, (a, b))
            except Problem as problem:
                answer = response(problem.reply)
            answer.headers["Request-Id"] = f"req_{secrets.token_hex(7)}"
            return answer

        return handle

    async def _serve(self, request: Request, operation: str, effect: Effect, names: tuple[str, ...]) -> HTTPResponse:
        self._authenticate(request)
        get = request.method == "GET"
        tree = parse(request.query_string.encode() if get else request.body)
        call = Call(Params(tree), names, header(request, "stripe-account") or None, self._site)
        key = "" if get else _key_of(request)
        if key in self._working:
            raise Problem(_busy(key))
        if key:
            self._working.add(key)

        def work(db: sqlite3.Connection, kind: Kind | None) -> Reply:
            def afresh() -> tuple[Reply, bool]:
                return perform(lambda: effect(db, call), kind, self._manner, operation)

            return _once(db, key, _fingerprint(request, tree), afresh) if key else afresh()[0]

        return await self._desk.serve(request, operation, work, self._manner, done=lambda: self._working.discard(key))

    def _authenticate(self, request: Request) -> None:
        given = _secret_of(header(request, "authorization"))
        if not given:
            raise Problem(
                error(401, "You did not provide an API key. Provide it in the Authorization header, as a Bearer token.")
            )
        if not hmac.compare_digest(given.encode(), self._secret):
            raise Problem(error(401, f"Invalid API Key provided: {given[:3]}****"))


def _secret_of(authorization: str) -> str:
    """The key as a Bearer token, or as the user's name in Basic."""
    scheme, _, rest = authorization.strip().partition(" ")
    if scheme.lower() == "bearer":
        return rest.strip()
    if scheme.lower() != "basic":
        return ""
    try:
        return base64.b64decode(rest.strip(), validate=True).decode().partition(":")[0]
    except (binascii.Error, UnicodeDecodeError):
        return ""


def _key_of(request: Request) -> str:
    key = header(request, "idempotency-key")
    if len(key) > LONGEST_KEY:
        raise invalid(f"Idempotency-Key must be at most {LONGEST_KEY} characters.")
    return key


def _fingerprint(request: Request, tree: dict[str, Any]) -> bytes:
    """Equal for requests that ask for the same, in whatever order."""
    asked = msgspec.json.encode([request.method, request.path, tree], order="sorted")
    return hashlib.sha256(asked).digest()


def _busy(key: str) -> Reply:
    return error(
        409,
        "There is currently another in-progress request using this Idempotency Key (that probably means you submitted"
        f" twice, and the other request is still going through): {key}. Please try again later.",
        code="idempotency_key_in_use",
    )


def _once(db: sqlite3.Connection, key: str, fingerprint: bytes, afresh: Callable[[], tuple[Reply, bool]]) -> Reply:
    """What was answered under the key, an error too; else answer afresh and keep that for a day."""
    now = shifted_now(db)
    kept = db.execute("SELECT fingerprint, status, body, at FROM idempotency_keys WHERE key = ?", (key,)).fetchone()
    if kept is not None and now - kept["at"] < KEY_SECONDS:
        if kept["fingerprint"] != fingerprint:
            return error(
                400,
                "Keys for idempotent requests can only be used with the same parameters they were first used with."
                f" Try using a key other than '{key}' if you meant to execute a different request.",
                kind="idempotency_error",
            )
        return Reply(kept["status"], kept["body"], {"Idempotent-Replayed": "true", "Idempotency-Key": key})
    reply, lasting = afresh()
    if lasting:
        db.execute(
            "INSERT OR REPLACE INTO idempotency_keys (key, fingerprint, status, body, at) VALUES (?, ?, ?, ?, ?)",
            (key, fingerprint, reply.status, reply.body, now),
        )
    return Reply(reply.status, reply.body, {**reply.headers, "Idempotency-Key": key})
