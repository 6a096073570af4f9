"""Hyperswitch: what goes over the wire, and what its answers mean."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from provider_calls import FAST, KEY, PAYMENT, REFUND, pay, raised
from provider_server import Answer, Fault, ProviderServer, Reply, Request, in_turn

from veza.storage.payments import OutcomeUnknown, Payment, PaymentStatus, ProviderBusy, ProviderRefused, Refund
from veza.storage.payments.hyperswitch import PAGE, Hyperswitch


@asynccontextmanager
async def merchant(
    answer: Callable[[Request], Answer], *, confirm: bool = True
) -> AsyncIterator[tuple[ProviderServer, Hyperswitch]]:
    async with ProviderServer(answer) as server:
        buyers = Hyperswitch(server.url, KEY, confirm=confirm, limits=FAST)
        try:
            yield server, buyers
        finally:
            await buyers.close()


def hyper_error(code: str, status: int) -> Reply:
    return Reply({"error": {"type": "invalid_request", "code": code, "message": "No"}}, status)


@pytest.mark.parametrize("confirm", [False, True])
async def test_payment_is_asked_for(confirm: bool) -> None:
    answer = {
        **PAYMENT,
        "status": "requires_customer_action",
        "client_secret": "pay_1_secret",
        "next_action": {"type": "redirect_to_url", "redirect_to_url": "https://bank.test/1"},
        "error_message": "of an attempt before",
    }
    async with merchant(in_turn(Reply(answer)), confirm=confirm) as (server, buyers):
        assert await pay(buyers) == Payment(
            "pay_1", PaymentStatus.PROCESSING, 1000, "EUR", "pay_1_secret", "https://bank.test/1"
        )
        (request,) = server.requests
        assert (request.verb, request.path) == ("POST", "/payments")
        assert request.headers["api-key"] == KEY
        assert request.headers["content-type"] == "application/json"
        assert request.json == {
            "payment_id": "pay_1",
            "amount": 1000,
            "currency": "EUR",
            "confirm": confirm,
            "capture_method": "automatic",
            "description": "An order",
            "return_url": "https://veza.test/orders/1",
            "payment_method": "card",
            "payment_method_type": "credit",
            "metadata": {"method": "card_slow"},
        }


async def test_payment_that_is_there_already_is_found() -> None:
    async with merchant(in_turn(hyper_error("HE_01", 400), Reply({**PAYMENT, "amount": 7}))) as (server, buyers):
        assert (await pay(buyers)).amount_cents == 7
        found = server.requests[1]
        assert (found.verb, found.path, found.query) == ("GET", "/payments/pay_1", {"force_sync": "true"})


async def test_payment_that_is_there_and_not_found_is_unknown() -> None:
    async with merchant(in_turn(hyper_error("HE_01", 400), hyper_error("HE_02", 404))) as (_, buyers):
        assert isinstance(await raised(pay(buyers)), OutcomeUnknown)


async def test_not_found_is_only_what_hyperswitch_does_not_find() -> None:
    async with merchant(in_turn(hyper_error("HE_02", 404))) as (_, buyers):
        assert await buyers.find("pay_1") is None
        assert await buyers.find_refund("ref_1") is None
    async with merchant(in_turn(hyper_error("IR_02", 404))) as (_, buyers):
        assert isinstance(await raised(buyers.find("pay_1")), ProviderRefused)


async def test_a_name_stays_within_its_place_in_the_path() -> None:
    async with merchant(in_turn(hyper_error("HE_02", 404))) as (server, buyers):
        await buyers.find("../refunds/1?x")
        assert server.requests[0].path == "/payments/../refunds/1?x"
        assert server.requests[0].query == {"force_sync": "true"}


async def test_locked_payment_is_busy() -> None:
    async with merchant(in_turn(hyper_error("HE_00", 422))) as (_, buyers):
        assert isinstance(await raised(pay(buyers)), ProviderBusy)


STATUSES = {
    "succeeded": PaymentStatus.SUCCEEDED,
    "failed": PaymentStatus.FAILED,
    "cancelled": PaymentStatus.FAILED,
    "expired": PaymentStatus.FAILED,
    "processing": PaymentStatus.PROCESSING,
    "requires_payment_method": PaymentStatus.PROCESSING,
    "requires_confirmation": PaymentStatus.PROCESSING,
    "requires_capture": PaymentStatus.PROCESSING,
    "partially_captured": PaymentStatus.PROCESSING,
    "invented_later": PaymentStatus.PROCESSING,
}


@pytest.mark.parametrize(("theirs", "ours"), STATUSES.items())
async def test_payment_statuses(theirs: str, ours: PaymentStatus) -> None:
    answer = {**PAYMENT, "status": theirs, "currency": "eur", "error_message": "Declined"}
    async with merchant(in_turn(Reply(answer))) as (_, buyers):
        found = await buyers.find("pay_1")
        assert found is not None
        assert (found.status, found.currency) == (ours, "EUR")
        assert found.error == ("Declined" if ours is PaymentStatus.FAILED else None)


@pytest.mark.parametrize("theirs", ["succeeded", "failed", "pending", "review", "manual_review"])
async def test_refund_statuses(theirs: str) -> None:
    async with merchant(in_turn(Reply({**REFUND, "status": theirs}))) as (_, buyers):
        found = await buyers.find_refund("ref_1")
        assert found is not None
        assert found.status == {"succeeded": "succeeded", "failed": "failed"}.get(theirs, "processing")


async def test_refund_is_asked_for_and_found_when_it_is_there() -> None:
    async with merchant(in_turn(hyper_error("HE_01", 400), Reply(REFUND))) as (server, buyers):
        back = await buyers.refund("ref_1", payment_id="pay_1", amount_cents=400, reason="duplicate")
        assert back == Refund("ref_1", "pay_1", PaymentStatus.PROCESSING, 400, "EUR")
        asked, found = server.requests
        assert asked.path == "/refunds"
        assert asked.json == {
            "refund_id": "ref_1",
            "payment_id": "pay_1",
            "amount": 400,
            "reason": "duplicate",
            "refund_type": "instant",
        }
        assert (found.path, found.query) == ("/refunds/ref_1", {"force_sync": "true"})


@pytest.mark.parametrize("count", [0, 1, PAGE - 1, PAGE, PAGE + 1, 2 * PAGE + 3])
async def test_all_payments_and_refunds_in_pages(count: int) -> None:
    names = [f"x_{number}" for number in range(count)]

    def answer(request: Request) -> Reply:
        if request.path == "/payments/list":
            after, limit = request.query.get("starting_after"), int(request.query["limit"])
            start = names.index(after) + 1 if after else 0
            return Reply(
                {"size": 0, "data": [{**PAYMENT, "payment_id": name} for name in names[start : start + limit]]}
            )
        start, limit = request.json["offset"], request.json["limit"]
        if start >= count:
            return hyper_error("HE_02", 404)
        return Reply({"count": 0, "data": [{**REFUND, "refund_id": name} for name in names[start : start + limit]]})

    async with merchant(answer) as (server, buyers):
        assert [payment.payment_id async for payment in buyers.payments()] == names
        assert [refund.refund_id async for refund in buyers.refunds()] == names
        assert {(request.verb, request.path) for request in server.requests} == {
            ("GET", "/payments/list"),
            ("POST", "/refunds/list"),
        }


async def test_lists_that_never_end_are_noticed() -> None:
    async with merchant(in_turn(Reply({"data": [{**PAYMENT, **REFUND}]}))) as (_, buyers):
        for everything in (buyers.payments(), buyers.refunds()):
            with pytest.raises(OutcomeUnknown, match="repeats itself"):
                _ = [one async for one in everything]


async def test_reading_the_refunds_is_reading() -> None:
    answers = in_turn(Fault.CUT, Reply({"data": [REFUND]}), Reply({"data": []}))
    async with merchant(answers) as (server, buyers):
        assert len([refund async for refund in buyers.refunds()]) == 1
        assert len(server.requests) == 3
