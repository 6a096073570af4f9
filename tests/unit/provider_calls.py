"""What the tests of both payment adapters share: calls to them, and what a provider answers."""

import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import pytest
from provider_server import Answer, ProviderServer, Reply, Request

from veza.storage.payments import Payment, ProviderError, Sent
from veza.storage.payments.calls import Limits
from veza.storage.payments.connect import StripeConnect
from veza.storage.payments.hyperswitch import Hyperswitch

KEY = "sk_test_51NeverToBeSeen"
FAST = Limits(connect_seconds=2.0, call_seconds=5.0, pause_seconds=0.001)
IMPATIENT = Limits(connect_seconds=0.05, call_seconds=0.3, pause_seconds=0.001)

PAYMENT = {"payment_id": "pay_1", "status": "succeeded", "amount": 1000, "currency": "EUR"}
REFUND = {"refund_id": "ref_1", "payment_id": "pay_1", "status": "pending", "amount": 400, "currency": "EUR"}
TRANSFER = {
    "id": "tr_1",
    "object": "transfer",
    "amount": 900,
    "currency": "eur",
    "destination": "acct_1",
    "transfer_group": "group-1",
    "amount_reversed": 100,
}
SENT = Sent("tr_1", "acct_1", 900, "EUR", "group-1", 100)


class Kind(NamedTuple):
    """One of the adapters, with a call that moves money and one that only reads."""

    make: Callable[[str, Limits], Any]
    write: Callable[[Any], Awaitable[Any]]
    read: Callable[[Any], Awaitable[Any]]
    good: Callable[[Request], Answer]


def pay(buyers: Hyperswitch) -> Awaitable[Payment]:
    return buyers.create(
        "pay_1",
        amount_cents=1000,
        currency="eur",
        method="card_slow",
        description="An order",
        return_url="https://veza.test/orders/1",
    )


def send(sellers: StripeConnect) -> Awaitable[Sent]:
    return sellers.send(
        "tr_key_1",
        account_id="acct_1",
        amount_cents=900,
        currency="EUR",
        group="group-1",
        metadata={"order": "1"},
    )


def a_page(*items: Any, more: bool = False) -> Reply:
    return Reply({"object": "list", "data": list(items), "has_more": more, "url": "/v1/transfers"})


KINDS = {
    "hyperswitch": Kind(
        lambda url, limits: Hyperswitch(url, KEY, confirm=True, limits=limits),
        pay,
        lambda buyers: buyers.find("pay_1"),
        lambda _: Reply(PAYMENT),
    ),
    "stripe": Kind(
        lambda url, limits: StripeConnect(KEY, api_base=url, limits=limits),
        send,
        lambda sellers: sellers.find_sent("group-1"),
        lambda request: Reply(TRANSFER) if request.verb == "POST" else a_page(TRANSFER),
    ),
}


@asynccontextmanager
async def using(kind: Kind, url: str, limits: Limits = FAST) -> AsyncIterator[Any]:
    provider = kind.make(url, limits)
    try:
        yield provider
    finally:
        await provider.close()


async def failure(kind: Kind, server: ProviderServer, *, reads: bool = False, limits: Limits = FAST) -> ProviderError:
    """What the call raises; none of it may show the key."""
    async with using(kind, server.url, limits) as provider:
        return await raised((kind.read if reads else kind.write)(provider))


async def raised(call: Awaitable[Any]) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        await call
    shown = "".join(traceback.format_exception(caught.value)) + repr(caught.value) + caught.value.message
    assert KEY not in shown
    return caught.value
