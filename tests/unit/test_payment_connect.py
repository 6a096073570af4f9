"""Stripe Connect: what goes over the wire, and what its answers mean."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from provider_calls import FAST, KEY, SENT, TRANSFER, a_page, raised, send
from provider_server import Answer, ProviderServer, Reply, Request, in_turn

from veza.storage.payments import (
    Account,
    OutcomeUnknown,
    ProviderBusy,
    ProviderError,
    ProviderRefused,
    Reversed,
)
from veza.storage.payments.connect import StripeConnect


@asynccontextmanager
async def platform(answer: Callable[[Request], Answer]) -> AsyncIterator[tuple[ProviderServer, StripeConnect]]:
    async with ProviderServer(answer) as server:
        sellers = StripeConnect(KEY, api_base=server.url + "/", limits=FAST)
        try:
            yield server, sellers
        finally:
            await sellers.close()


def stripe_error(status: int, **error: str) -> Reply:
    return Reply({"error": {"message": "No", **error}}, status)


async def test_account_is_made_and_read() -> None:
    account = {"id": "acct_1", "object": "account", "details_submitted": True, "payouts_enabled": False}
    async with platform(in_turn(Reply(account))) as (server, sellers):
        made = await sellers.create_account("key_1", seller_id="seller-1", email="ada@example.com")
        assert made == Account("acct_1", details_submitted=True, payouts_enabled=False)
        assert await sellers.account("acct_1") == made
        asked, read = server.requests
        assert (asked.verb, asked.path) == ("POST", "/v1/accounts")
        assert asked.headers["authorization"] == f"Bearer {KEY}"
        assert asked.headers["idempotency-key"] == "key_1"
        assert asked.form == {
            "type": "express",
            "email": "ada@example.com",
            "capabilities[transfers][requested]": "true",
            "metadata[seller_id]": "seller-1",
        }
        assert (read.verb, read.path) == ("GET", "/v1/accounts/acct_1")


async def test_onboarding_link() -> None:
    link = {"object": "account_link", "url": "https://connect.test/1", "created": 1, "expires_at": 2}
    async with platform(in_turn(Reply(link))) as (server, sellers):
        url = await sellers.onboarding_link(
            "acct_1", return_url="https://veza.test/r", refresh_url="https://veza.test/f"
        )
        assert url == "https://connect.test/1"
        assert server.requests[0].path == "/v1/account_links"
        assert server.requests[0].form == {
            "account": "acct_1",
            "type": "account_onboarding",
            "return_url": "https://veza.test/r",
            "refresh_url": "https://veza.test/f",
        }


async def test_money_is_sent_under_its_key() -> None:
    async with platform(in_turn(Reply(TRANSFER))) as (server, sellers):
        assert await send(sellers) == SENT
        (request,) = server.requests
        assert (request.verb, request.path) == ("POST", "/v1/transfers")
        assert request.headers["idempotency-key"] == "tr_key_1"
        assert request.form == {
            "amount": "900",
            "currency": "eur",
            "destination": "acct_1",
            "transfer_group": "group-1",
            "metadata[order]": "1",
        }
        # Telemetry would tell of this machine.
        assert "telemetry" not in str(request.headers)


async def test_what_was_sent_is_found_by_its_group() -> None:
    async with platform(in_turn(a_page(TRANSFER), a_page())) as (server, sellers):
        assert await sellers.find_sent("group-1") == SENT
        assert await sellers.find_sent("group-2") is None
        assert server.requests[0].query["transfer_group"] == "group-1"


async def test_money_comes_back_under_its_key() -> None:
    reversal = {"id": "trr_1", "object": "transfer_reversal", "amount": 40, "metadata": {"refund": "1"}}
    async with platform(in_turn(Reply(reversal))) as (server, sellers):
        back = await sellers.reverse("rev_key_1", "tr_1", amount_cents=40, metadata={"refund": "1"})
        assert back == Reversed("trr_1", 40, {"refund": "1"})
        (request,) = server.requests
        assert (request.verb, request.path) == ("POST", "/v1/transfers/tr_1/reversals")
        assert request.headers["idempotency-key"] == "rev_key_1"
        assert request.form == {"amount": "40", "metadata[refund]": "1"}


@pytest.mark.parametrize("count", [0, 1, 100, 101, 203])
async def test_everything_sent_and_everything_back_in_pages(count: int) -> None:
    names = [f"x_{number}" for number in range(count)]

    def answer(request: Request) -> Reply:
        after, limit = request.query.get("starting_after"), int(request.query["limit"])
        start = names.index(after) + 1 if after else 0
        page = [{**TRANSFER, "id": name} for name in names[start : start + limit]]
        return a_page(*page, more=start + limit < count)

    async with platform(answer) as (server, sellers):
        assert [sent.provider_id async for sent in sellers.all_sent()] == names
        assert [back.reversal_id for back in await sellers.reversals("tr_1")] == names
        assert len(server.requests) == 2 * max(1, -(-count // 100))
        assert {request.path for request in server.requests} == {"/v1/transfers", "/v1/transfers/tr_1/reversals"}


@pytest.mark.parametrize("page", [a_page(TRANSFER, more=True), a_page(more=True)], ids=["same", "empty"])
async def test_stripe_lists_that_never_end_are_noticed(page: Reply) -> None:
    async with platform(in_turn(page)) as (_, sellers):
        with pytest.raises(OutcomeUnknown, match="repeats itself"):
            _ = [one async for one in sellers.all_sent()]
        assert isinstance(await raised(sellers.reversals("tr_1")), OutcomeUnknown)


async def test_transfers_of_others_have_no_group() -> None:
    other = {**TRANSFER, "transfer_group": None, "destination": None}
    async with platform(in_turn(a_page(other))) as (_, sellers):
        assert [(sent.group, sent.account_id) async for sent in sellers.all_sent()] == [("", "")]


async def test_balance_is_the_sum() -> None:
    balance = {
        "object": "balance",
        "available": [{"amount": 500, "currency": "eur"}, {"amount": -20, "currency": "usd"}],
        "pending": [{"amount": 70, "currency": "eur"}, {"amount": 1, "currency": "gbp"}],
    }
    async with platform(in_turn(Reply(balance))) as (_, sellers):
        assert await sellers.balance() == {"EUR": 570, "USD": -20, "GBP": 1}


MEANINGS: list[tuple[Reply, type[ProviderError], str]] = [
    (stripe_error(409, type="idempotency_error", code="idempotency_key_in_use"), ProviderBusy, ""),
    (stripe_error(429, code="lock_timeout"), ProviderBusy, ""),
    (stripe_error(400, code="rate_limit"), ProviderBusy, ""),
    (stripe_error(400, type="idempotency_error"), OutcomeUnknown, ""),
    (stripe_error(400, code="balance_insufficient"), ProviderRefused, "balance_insufficient"),
    (stripe_error(400), ProviderRefused, ""),
    (stripe_error(404, code="resource_missing"), ProviderRefused, "resource_missing"),
    (stripe_error(402, code="card_declined"), ProviderRefused, "card_declined"),
    (stripe_error(408), OutcomeUnknown, ""),
    (stripe_error(500, type="api_error"), OutcomeUnknown, ""),
]


@pytest.mark.parametrize(("answer", "meaning", "code"), MEANINGS, ids=str)
async def test_what_stripe_means(answer: Reply, meaning: type[ProviderError], code: str) -> None:
    async with platform(in_turn(answer)) as (server, sellers):
        error = await raised(send(sellers))
        assert type(error) is meaning
        assert getattr(error, "code", "") == code
        assert len(server.requests) == 1
