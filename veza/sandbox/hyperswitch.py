"""Hyperswitch's side: payments and refunds over HTTP, with its errors (https://api-reference.hyperswitch.io)."""

import hmac
import secrets
import sqlite3
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

import msgspec
from sanic import HTTPResponse, Request, Sanic
from sanic.config import Config

from veza.sandbox import payments
from veza.sandbox.desk import Desk, Problem, Reply, header, perform, response, said
from veza.sandbox.faults import Fault, Kind
from veza.sandbox.payments import payment_word, refund_word

MOST_CENTS = 999_999_999_999
MOST_LISTED = 100

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_-]+$")]
Cents = Annotated[int, msgspec.Meta(ge=1, le=MOST_CENTS)]
Currency = Annotated[str, msgspec.Meta(pattern=r"^[A-Z]{3}$")]
Text = Annotated[str, msgspec.Meta(max_length=2048)]
S = TypeVar("S", bound=msgspec.Struct)


class PaymentRequest(msgspec.Struct):
    """What POST /payments takes, of what Hyperswitch does."""

    amount: Cents
    currency: Currency
    payment_id: Name | None = None
    confirm: bool = False
    capture_method: Text | None = None
    description: Text | None = None
    return_url: Text | None = None
    metadata: dict[str, Any] | None = None


class RefundRequest(msgspec.Struct):
    """What POST /refunds takes. Without an amount it is all that is left."""

    payment_id: Name
    refund_id: Name | None = None
    amount: Cents | None = None
    reason: Text | None = None
    metadata: dict[str, Any] | None = None


class RefundList(msgspec.Struct):
    """What POST /refunds/list takes."""

    payment_id: Name | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=MOST_LISTED)] = 10
    offset: Annotated[int, msgspec.Meta(ge=0, le=MOST_CENTS)] = 0


class PaymentList(msgspec.Struct):
    """The query of GET /payments/list."""

    limit: Annotated[int, msgspec.Meta(ge=1, le=MOST_LISTED)] = 10
    starting_after: Name | None = None


def error(status: int, code: str, message: str, kind: str = "invalid_request") -> Reply:
    """An error in Hyperswitch's form."""
    return said({"error": {"type": kind, "message": message, "code": code}}, status)


def refused(status: int, code: str, message: str) -> Problem:
    return Problem(error(status, code, message))


def not_found(what: str) -> Problem:
    return refused(404, "HE_02", f"{what} does not exist in our records")


def duplicate(what: str) -> Problem:
    return refused(400, "HE_01", f"The {what} with the specified {what}_id already exists in our records")


class HyperswitchManner:
    """How Hyperswitch fails."""

    def failure(self, kind: Kind, operation: str) -> Reply:
        match kind:
            case Kind.RATE_LIMIT:
                reply = error(429, "HE_00", "Too many requests. Please try again later.")
                return Reply(reply.status, reply.body, {"Retry-After": "1"})
            case Kind.UNAVAILABLE:
                return error(503, "HE_00", "Resource is busy. Please try again later.", "api")
            case Kind.REFUSE:
                return error(400, "IR_16", f"The sandbox was told to refuse {operation}.")
            case _:
                return error(500, "HE_00", "Something went wrong", "api")


class Keyring:
    """Knows the API key."""

    def __init__(self, key: str) -> None:
        self._key = key.encode()

    def check(self, request: Request) -> None:
        """Raises Problem unless the request carries it."""
        if not hmac.compare_digest(header(request, "api-key").encode(), self._key):
            raise refused(401, "IR_01", "API key not provided or invalid API key used")


def body_of(request: Request, kind: type[S]) -> S:
    """The JSON body. Raises Problem when it is none of the kind."""
    try:
        return msgspec.json.decode(request.body or b"{}", type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as problem:
        raise refused(400, "IR_06", f"Json deserialize error: {problem}") from problem


def query_of(request: Request, kind: type[S]) -> S:
    """The query. Raises Problem when it is none of the kind."""
    try:
        return msgspec.convert(dict(request.query_args), kind, strict=False)
    except msgspec.ValidationError as problem:
        raise refused(400, "IR_06", f"Query deserialize error: {problem}") from problem


def known_payment(db: sqlite3.Connection, payment_id: str) -> sqlite3.Row:
    """Raises Problem when there is none of the name."""
    row = payments.find(db, payment_id)
    if row is None:
        raise not_found("Payment")
    return row


def known_refund(db: sqlite3.Connection, refund_id: str) -> sqlite3.Row:
    """Raises Problem when there is none of the name."""
    row = payments.find_refund(db, refund_id)
    if row is None:
        raise not_found("Refund")
    return row


def _create(db: sqlite3.Connection, asked: PaymentRequest, _: str) -> object:
    payment_id = asked.payment_id or f"pay_{secrets.token_hex(10)}"
    if asked.capture_method not in (None, "automatic"):
        raise refused(400, "IR_19", "The sandbox captures at once: capture_method is automatic.")
    if payments.find(db, payment_id):
        raise duplicate("payment")
    row = payments.create(
        db,
        payment_id,
        amount=asked.amount,
        currency=asked.currency,
        method=_method_of(asked),
        description=asked.description,
        return_url=asked.return_url,
        metadata=asked.metadata,
        confirm=asked.confirm,
    )
    return payments.shown(row)


def _confirm(db: sqlite3.Connection, _: None, payment_id: str) -> object:
    row = known_payment(db, payment_id)
    if row["status"] != "requires_confirmation":
        raise _unexpected("confirmed", row["status"], "requires_confirmation")
    return payments.shown(payments.attempt(db, row))


def _get(db: sqlite3.Connection, _: None, payment_id: str) -> object:
    return payments.shown(known_payment(db, payment_id))


def _list(db: sqlite3.Connection, asked: PaymentList, _: str) -> object:
    before = known_payment(db, asked.starting_after)["seq"] if asked.starting_after else 2**62
    rows = db.execute("SELECT * FROM payments WHERE seq < ? ORDER BY seq DESC LIMIT ?", (before, asked.limit))
    data = [payments.shown(row) for row in rows]
    (total,) = db.execute("SELECT count(*) FROM payments").fetchone()
    return {"size": len(data), "count": len(data), "total_count": total, "data": data}


def _refund(db: sqlite3.Connection, asked: RefundRequest, _: str) -> object:
    refund_id = asked.refund_id or f"ref_{secrets.token_hex(10)}"
    payment = known_payment(db, asked.payment_id)
    if payments.find_refund(db, refund_id):
        raise duplicate("refund")
    if payment["status"] != "succeeded":
        raise _unexpected("refunded", payment["status"], "succeeded")
    left = payment["amount"] - payments.refunded(db, asked.payment_id)
    amount = left if asked.amount is None else asked.amount
    if amount > left or not amount:
        raise refused(400, "IR_13", "The refund amount exceeds the amount captured")
    row = payments.refund(db, refund_id, payment, amount=amount, reason=asked.reason, metadata=asked.metadata)
    return payments.shown_refund(row)


def _get_refund(db: sqlite3.Connection, _: None, refund_id: str) -> object:
    return payments.shown_refund(known_refund(db, refund_id))


def _list_refunds(db: sqlite3.Connection, asked: RefundList, _: str) -> object:
    if asked.payment_id:
        known_payment(db, asked.payment_id)
    of = "payment_id = ?" if asked.payment_id else "? IS NULL"
    rows = db.execute(
        f"SELECT * FROM refunds WHERE {of} ORDER BY seq DESC LIMIT ? OFFSET ?",  # noqa: S608 - one of our two
        (asked.payment_id, asked.limit, asked.offset),
    )
    data = [payments.shown_refund(row) for row in rows]
    (total,) = db.execute(f"SELECT count(*) FROM refunds WHERE {of}", (asked.payment_id,)).fetchone()  # noqa: S608
    return {"count": len(data), "total_count": total, "data": data}


def _unexpected(flow: str, status: str, wanted: str) -> Problem:
    return refused(
        400,
        "IR_14",
        f"This Payment could not be {flow} because it has a status of {status}. The expected state is {wanted}",
    )


def _method_of(asked: PaymentRequest) -> str:
    return str((asked.metadata or {}).get("method", ""))[:255]


def _magic_payment(_: sqlite3.Connection, asked: PaymentRequest, __: str) -> Fault | None:
    return payments.magic(payment_word(_method_of(asked))) if asked.confirm else None


def _magic_confirm(db: sqlite3.Connection, _: None, payment_id: str) -> Fault | None:
    row = payments.find(db, payment_id)
    return payments.magic(payment_word(row["method"])) if row else None


def _magic_refund(db: sqlite3.Connection, asked: RefundRequest, _: str) -> Fault | None:
    row = payments.find(db, asked.payment_id)
    return payments.magic(refund_word(row["method"])) if row else None


class Route(msgspec.Struct, frozen=True):
    """What is done for a request of one kind. `asked` is the form of its body, of its query for a GET."""

    method: str
    path: str
    operation: str
    asked: type[msgspec.Struct] | None
    effect: Callable[[sqlite3.Connection, Any, str], object]
    magic: Callable[[sqlite3.Connection, Any, str], Fault | None] | None = None


ROUTES = (
    Route("POST", "/payments", "payments.create", PaymentRequest, _create, _magic_payment),
    Route("GET", "/payments/list", "payments.list", PaymentList, _list),
    Route("GET", "/payments/<name>", "payments.get", None, _get),
    Route("POST", "/payments/<name>/confirm", "payments.confirm", None, _confirm, _magic_confirm),
    Route("POST", "/refunds", "refunds.create", RefundRequest, _refund, _magic_refund),
    Route("POST", "/refunds/list", "refunds.list", RefundList, _list_refunds),
    Route("GET", "/refunds/<name>", "refunds.get", None, _get_refund),
)


def mount(app: Sanic[Config, Any], desk: Desk, keyring: Keyring) -> None:
    """Put Hyperswitch's routes on an application."""
    for route in ROUTES:
        handler = _handler(route, desk, keyring)
        app.add_route(handler, route.path, methods=[route.method], name=f"hyperswitch.{route.operation}")


def _handler(route: Route, desk: Desk, keyring: Keyring) -> Callable[..., Any]:
    manner = HyperswitchManner()
    read = query_of if route.method == "GET" else body_of

    async def handle(request: Request, name: str = "") -> HTTPResponse:
        try:
            keyring.check(request)
            asked = read(request, route.asked) if route.asked else None
        except Problem as problem:
            return response(problem.reply)

        def work(db: sqlite3.Connection, kind: Kind | None) -> Reply:
            return perform(lambda: route.effect(db, asked, name), kind, manner, route.operation)[0]

        def magic(db: sqlite3.Connection) -> Fault | None:
            return route.magic(db, asked, name) if route.magic else None

        return await desk.serve(request, route.operation, work, manner, magic=magic)

    return handle
