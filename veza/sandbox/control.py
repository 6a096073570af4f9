"""What tests and developers tell the sandbox: faults, disputes, held webhooks, a shifted clock; and its totals."""

import secrets
import sqlite3
from collections.abc import Callable, Coroutine
from typing import Annotated, Any, Literal

import msgspec
from sanic import HTTPResponse, Request, Sanic
from sanic.config import Config

from veza.sandbox import connect, disputes, faults, outbox, payments
from veza.sandbox.book import CLOCK_SHIFT, PLATFORM, balances, keep_setting, setting
from veza.sandbox.desk import Desk, Problem, response, said
from veza.sandbox.hyperswitch import (
    Cents,
    Keyring,
    Name,
    body_of,
    duplicate,
    known_payment,
    known_refund,
    not_found,
    refused,
)
from veza.sandbox.onboarding import onboard

LONGEST_SHIFT_SECONDS = 3650 * 24 * 3600.0

Work = Callable[[sqlite3.Connection], object]


class FaultOrder(msgspec.Struct):
    """`times` requests for `on` go wrong, all of them for None; `seconds` is for delays and time-outs."""

    on: str
    kind: faults.Kind
    times: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] | None = 1
    seconds: Annotated[float, msgspec.Meta(ge=0, le=600)] | None = None


class DisputeOrder(msgspec.Struct):
    """Open a dispute about a payment, or decide the one that is named, else the payment's latest."""

    payment_id: Name
    status: Literal["opened", "won", "lost"]
    amount: Cents | None = None
    dispute_id: Name | None = None


class ClockOrder(msgspec.Struct):
    """How far the clock is to be put forward."""

    advance_seconds: Annotated[float, msgspec.Meta(ge=0, le=LONGEST_SHIFT_SECONDS)]


class Control:
    """The routes below /sandbox."""

    def __init__(self, desk: Desk, keyring: Keyring) -> None:
        self._desk = desk
        self._keyring = keyring

    def mount(self, app: Sanic[Config, Any]) -> None:
        routes: list[tuple[str, str, Callable[..., Coroutine[Any, Any, HTTPResponse]]]] = [
            ("POST", "/sandbox/faults", self._order_fault),
            ("DELETE", "/sandbox/faults", self._clear_faults),
            ("POST", "/sandbox/disputes", self._dispute),
            ("POST", "/sandbox/webhooks/hold", self._hold),
            ("POST", "/sandbox/webhooks/release", self._release),
            ("POST", "/sandbox/payments/<name>/webhook", self._tell_payment),
            ("POST", "/sandbox/refunds/<name>/webhook", self._tell_refund),
            ("POST", "/sandbox/clock", self._advance),
            ("POST", "/sandbox/accounts/<name>/payout", self._pay_out),
            ("GET", "/sandbox/book", self._book),
        ]
        for method, path, handler in routes:
            app.add_route(handler, path, methods=[method], name=f"control{handler.__name__}")
        app.add_route(self._onboard, "/sandbox/onboarding/<token>", methods=["GET"], name="control.onboarding")
        app.add_route(self._health, "/health", methods=["GET"], name="control.health")

    async def _answer(self, request: Request, read: Callable[[], Work]) -> HTTPResponse:
        """Check who asks, read what is asked, do it in one transaction."""
        try:
            self._keyring.check(request)
            reply = said(await self._desk.book.do(read()))
        except Problem as problem:
            reply = problem.reply
        self._desk.changed()
        return response(reply)

    async def _order_fault(self, request: Request) -> HTTPResponse:
        def read() -> Work:
            order = body_of(request, FaultOrder)
            if order.on != faults.EVERYTHING and order.on not in faults.OPERATIONS:
                raise refused(400, "IR_07", f"There is no {order.on}; there are {', '.join(sorted(faults.OPERATIONS))}")
            return lambda db: _faults(db, lambda: faults.arm(db, order.on, order.kind, order.times, order.seconds))

        return await self._answer(request, read)

    async def _clear_faults(self, request: Request) -> HTTPResponse:
        return await self._answer(request, lambda: lambda db: _faults(db, lambda: faults.clear(db)))

    async def _dispute(self, request: Request) -> HTTPResponse:
        def read() -> Work:
            order = body_of(request, DisputeOrder)
            return lambda db: disputes.shown(_open(db, order) if order.status == "opened" else _decide(db, order))

        return await self._answer(request, read)

    async def _hold(self, request: Request) -> HTTPResponse:
        return await self._answer(request, lambda: lambda db: _hold(db, held=True))

    async def _release(self, request: Request) -> HTTPResponse:
        return await self._answer(request, lambda: lambda db: _hold(db, held=False))

    async def _tell_payment(self, request: Request, name: str) -> HTTPResponse:
        return await self._answer(
            request, lambda: lambda db: _told(payments.tell(db, known_payment(db, name), forced=True))
        )

    async def _tell_refund(self, request: Request, name: str) -> HTTPResponse:
        return await self._answer(
            request, lambda: lambda db: _told(payments.tell_refund(db, known_refund(db, name), forced=True))
        )

    async def _advance(self, request: Request) -> HTTPResponse:
        def read() -> Work:
            order = body_of(request, ClockOrder)
            return lambda db: _advance(db, order.advance_seconds)

        return await self._answer(request, read)

    async def _pay_out(self, request: Request, name: str) -> HTTPResponse:
        return await self._answer(request, lambda: lambda db: _pay_out(db, name))

    async def _book(self, request: Request) -> HTTPResponse:
        return await self._answer(request, lambda: totals)

    async def _onboard(self, _: Request, token: str) -> HTTPResponse:
        return await self._desk.book.do(lambda db: onboard(db, token))

    async def _health(self, _: Request) -> HTTPResponse:
        await self._desk.book.do(lambda _: None)
        return response(said({"status": "ok"}))


def totals(db: sqlite3.Connection) -> dict[str, Any]:
    """All that was done, by currency: what still counts of payments, refunds and disputes, and what lies where."""
    sellers = db.execute("SELECT DISTINCT owner FROM balances WHERE owner <> ? ORDER BY owner", (PLATFORM,)).fetchall()
    return {
        "payments": _total(db, "payments", "status = 'succeeded'"),
        "refunds": _total(db, "refunds", "status = 'succeeded'"),
        "transfers": _total(db, "transfers"),
        "reversals": _total(db, "reversals"),
        "payouts": _total(db, "payouts"),
        "disputes": _total(db, "disputes", "status <> 'won'"),
        "balance": balances(db, PLATFORM),
        "accounts": {owner: balances(db, owner) for (owner,) in sellers},
        "webhooks": outbox.counted(db),
        "faults": faults.waiting(db),
    }


def _total(db: sqlite3.Connection, table: str, counts: str = "1") -> dict[str, Any]:
    (count,) = db.execute(f"SELECT count(*) FROM {table}").fetchone()  # noqa: S608 - our own table
    sums = db.execute(f"SELECT currency, sum(amount) FROM {table} WHERE {counts} GROUP BY currency")  # noqa: S608
    return {"count": count, "total": dict(sums.fetchall())}


def _faults(db: sqlite3.Connection, change: Callable[[], None]) -> object:
    change()
    return {"faults": faults.waiting(db)}


def _hold(db: sqlite3.Connection, *, held: bool) -> object:
    outbox.hold(db, held)
    return outbox.counted(db)


def _told(event_id: str | None) -> object:
    if event_id is None:
        raise refused(400, "IR_14", "There is no event of its present status.")
    return {"event_id": event_id}


def _advance(db: sqlite3.Connection, seconds: float) -> object:
    shift = setting(db, CLOCK_SHIFT) + seconds
    keep_setting(db, CLOCK_SHIFT, shift)
    return {"shifted_seconds": shift}


def _pay_out(db: sqlite3.Connection, account_id: str) -> object:
    if connect.find_account(db, account_id) is None:
        raise not_found("Account")
    return {"paid": connect.pay_out(db, account_id)}


def _open(db: sqlite3.Connection, order: DisputeOrder) -> sqlite3.Row:
    payment = known_payment(db, order.payment_id)
    dispute_id = order.dispute_id or f"dp_{secrets.token_hex(10)}"
    if disputes.find(db, dispute_id):
        raise duplicate("dispute")
    if payment["status"] != "succeeded":
        raise refused(400, "IR_14", "Only a payment that succeeded can be disputed.")
    left = payment["amount"] - disputes.disputed(db, order.payment_id)
    amount = left if order.amount is None else order.amount
    if not 0 < amount <= left:
        raise refused(400, "IR_13", "The disputed amount exceeds what is left of the payment")
    return disputes.start(db, dispute_id, payment, amount)


def _decide(db: sqlite3.Connection, order: DisputeOrder) -> sqlite3.Row:
    payment = known_payment(db, order.payment_id)
    named = order.dispute_id
    row = disputes.find(db, named) if named else disputes.open_of(db, order.payment_id)
    if row is None or row["payment_id"] != order.payment_id:
        raise not_found("Dispute")
    if row["status"] != disputes.OPENED:
        raise refused(400, "IR_14", f"The dispute was {row['status']} already.")
    return disputes.decide(db, row, payment, order.status)
