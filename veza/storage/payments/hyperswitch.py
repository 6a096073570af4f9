"""Buyers' money: Hyperswitch, spoken to over its HTTP API (https://api-reference.hyperswitch.io)."""

import asyncio
import importlib
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

import msgspec

from veza.storage.payments.calls import KeyRefused, Limits, check_key, persistently, retry_after, without
from veza.storage.payments.interface import (
    OutcomeUnknown,
    Payment,
    PaymentProvider,
    PaymentStatus,
    ProviderBusy,
    ProviderError,
    ProviderRefused,
    Refund,
)

if TYPE_CHECKING:
    from veza.storage.payments.wire import Answer, Wire

T = TypeVar("T")

# The most that the payment list allows is 100; half of it keeps a page far below the bound on an answer.
PAGE = 50

DUPLICATE = "HE_01"
NOT_FOUND = "HE_02"
# With a 4xx: another request holds the lock on the same payment, and this one was turned away.
LOCKED = "HE_00"

# All other statuses may still change, or are for an administrator to look at.
_PAYMENT_STATUSES = {
    "succeeded": PaymentStatus.SUCCEEDED,
    "failed": PaymentStatus.FAILED,
    "cancelled": PaymentStatus.FAILED,
    "cancelled_post_capture": PaymentStatus.FAILED,
    "expired": PaymentStatus.FAILED,
}
_REFUND_STATUSES = {"succeeded": PaymentStatus.SUCCEEDED, "failed": PaymentStatus.FAILED}


class _NextAction(msgspec.Struct):
    redirect_to_url: str | None = None


class _Payment(msgspec.Struct):
    payment_id: str
    status: str
    amount: int
    currency: str
    client_secret: str | None = None
    next_action: _NextAction | None = None
    # Hyperswitch's own words for any connector's error, made for buyers.
    unified_message: str | None = None
    error_message: str | None = None

    def ours(self) -> Payment:
        status = _PAYMENT_STATUSES.get(self.status, PaymentStatus.PROCESSING)
        return Payment(
            self.payment_id,
            status,
            self.amount,
            self.currency.upper(),
            client_secret=self.client_secret,
            redirect_url=self.next_action.redirect_to_url if self.next_action else None,
            # While a payment may still succeed this is of an attempt before.
            error=(self.unified_message or self.error_message) if status is PaymentStatus.FAILED else None,
        )


class _Refund(msgspec.Struct):
    refund_id: str
    payment_id: str
    status: str
    amount: int
    currency: str
    unified_message: str | None = None
    error_message: str | None = None

    def ours(self) -> Refund:
        status = _REFUND_STATUSES.get(self.status, PaymentStatus.PROCESSING)
        return Refund(
            self.refund_id,
            self.payment_id,
            status,
            self.amount,
            self.currency.upper(),
            error=(self.unified_message or self.error_message) if status is PaymentStatus.FAILED else None,
        )


class _Payments(msgspec.Struct):
    data: list[_Payment]


class _Refunds(msgspec.Struct):
    data: list[_Refund]


class _Error(msgspec.Struct):
    code: str
    message: str = ""


class _Failure(msgspec.Struct):
    error: _Error


class Hyperswitch(PaymentProvider):
    """One merchant at one Hyperswitch. Connects to nothing until it is used; use it from one event loop.

    `confirm` asks for the money at once. It is for the sandbox: elsewhere a payment without card data can only be
    confirmed by the buyer's client, which has them and the payment's client_secret.
    """

    name = "hyperswitch"

    def __init__(self, base_url: str, api_key: str, *, confirm: bool, limits: Limits | None = None) -> None:
        self._base_url = base_url
        self._api_key = api_key
        self._confirm = confirm
        self._limits = limits or Limits()
        self._wire: Wire | None = None
        self._opening = asyncio.Lock()

    async def create(
        self, payment_id: str, *, amount_cents: int, currency: str, method: str, description: str, return_url: str
    ) -> Payment:
        body = {
            "payment_id": payment_id,
            "amount": amount_cents,
            "currency": currency.upper(),
            "confirm": self._confirm,
            "capture_method": "automatic",
            "description": description,
            "return_url": return_url,
            "payment_method": "card",
            "payment_method_type": "credit",
            "metadata": {"method": method},
        }
        try:
            return (await self._call(_Payment, "POST", "/payments", body=body)).ours()
        except ProviderRefused as error:
            if error.code != DUPLICATE:
                raise
        return _there(await self.find(payment_id), payment_id)

    async def find(self, payment_id: str) -> Payment | None:
        found = await self._find(_Payment, f"/payments/{quote(payment_id, safe='')}")
        return found.ours() if found else None

    async def refund(self, refund_id: str, *, payment_id: str, amount_cents: int, reason: str) -> Refund:
        body = {
            "refund_id": refund_id,
            "payment_id": payment_id,
            "amount": amount_cents,
            "reason": reason,
            # Left to itself Hyperswitch does it later, in a batch.
            "refund_type": "instant",
        }
        try:
            return (await self._call(_Refund, "POST", "/refunds", body=body)).ours()
        except ProviderRefused as error:
            if error.code != DUPLICATE:
                raise
        return _there(await self.find_refund(refund_id), refund_id)

    async def find_refund(self, refund_id: str) -> Refund | None:
        found = await self._find(_Refund, f"/refunds/{quote(refund_id, safe='')}")
        return found.ours() if found else None

    async def payments(self) -> AsyncIterator[Payment]:
        query = {"limit": str(PAGE)}
        # A page may be short and not the last: the list leaves out what it cannot read.
        while page := (await self._call(_Payments, "GET", "/payments/list", query=query)).data:
            last = page[-1].payment_id
            if last == query.get("starting_after"):
                raise OutcomeUnknown("The list of payments repeats itself.")
            for payment in page:
                yield payment.ours()
            query["starting_after"] = last

    async def refunds(self) -> AsyncIterator[Refund]:
        """The newest come first, so one that is made meanwhile moves others to where they are seen twice, never to
        where they are not seen.
        """
        offset, first = 0, ""
        while page := await self._refunds_from(offset):
            if page[0].refund_id == first:
                raise OutcomeUnknown("The list of refunds repeats itself.")
            for refund in page:
                yield refund.ours()
            offset, first = offset + len(page), page[0].refund_id

    async def close(self) -> None:
        async with self._opening:
            wire, self._wire = self._wire, None
        if wire is not None:
            await wire.close()

    async def _refunds_from(self, offset: int) -> list[_Refund]:
        body = {"limit": PAGE, "offset": offset}
        try:
            return (await self._call(_Refunds, "POST", "/refunds/list", body=body, reads=True)).data
        except ProviderRefused as error:
            # How some versions say that there are none.
            if error.code != NOT_FOUND:
                raise
            return []

    async def _find(self, answer: type[T], path: str) -> T | None:
        """Asks the bank behind Hyperswitch too, for its news may not have arrived."""
        try:
            return await self._call(answer, "GET", path, query={"force_sync": "true"})
        except ProviderRefused as error:
            if error.code != NOT_FOUND:
                raise
            return None

    async def _call(
        self,
        answer: type[T],
        verb: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        reads: bool = False,
    ) -> T:
        check_key("HYPERSWITCH_API_KEY", self._api_key)
        wire = await self._opened()
        content = None if body is None else msgspec.json.encode(body)

        async def once() -> T:
            return self._decoded(answer, await wire.exchange(verb, path, query=query, content=content))

        return await persistently(once, self._limits, reads=reads or verb == "GET")

    def _decoded(self, wanted: type[T], answer: "Answer") -> T:
        if not 200 <= answer.status < 300:
            raise self._meaning(answer)
        try:
            return msgspec.json.decode(answer.body, type=wanted)
        except (msgspec.MsgspecError, UnicodeError) as error:
            raise OutcomeUnknown(f"Hyperswitch answered {answer.status} with something else.") from error

    def _meaning(self, answer: "Answer") -> ProviderError:
        said = f"Hyperswitch answered {answer.status}"
        if answer.status == 429:
            return ProviderBusy(f"{said}.", retry_after(answer.headers.get("retry-after")))
        if answer.status in (401, 403):
            return KeyRefused(f"{said}: it does not take HYPERSWITCH_API_KEY.")
        if answer.status == 408 or not 400 <= answer.status < 500:
            return OutcomeUnknown(f"{said}.")
        try:
            failure = msgspec.json.decode(answer.body, type=_Failure).error
        except (msgspec.MsgspecError, UnicodeError):
            # Not Hyperswitch's own word, but that of something before it.
            return OutcomeUnknown(f"{said} with something else.")
        code = without(self._api_key, failure.code)
        message = without(self._api_key, f"{said}, {code}: {failure.message}")
        return ProviderBusy(message) if code == LOCKED else ProviderRefused(message, code)

    async def _opened(self) -> "Wire":
        async with self._opening:
            if self._wire is None:
                self._wire = await asyncio.to_thread(self._make_wire)
        return self._wire

    def _make_wire(self) -> "Wire":
        made: Wire = importlib.import_module("veza.storage.payments.wire").Wire(
            "Hyperswitch",
            self._limits,
            base_url=self._base_url,
            headers={"api-key": self._api_key, "content-type": "application/json"},
        )
        return made


def _there(found: T | None, name: str) -> T:
    if found is None:
        raise OutcomeUnknown(f"Hyperswitch has {name} already, and does not find it.")
    return found
