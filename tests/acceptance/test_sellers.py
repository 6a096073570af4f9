"""Sellers: how they get an account for their money, and what is theirs."""

import asyncio

import pytest
from system import market
from system.books import Books
from system.people import People, Person
from system.running import Running, data_of, refused
from system.sandbox import Sandbox

pytestmark = pytest.mark.usefixtures("balanced")

ROUTES = (
    ("GET", "sell/balance"),
    ("GET", "sell/transfers"),
    ("GET", "sell/sales"),
    ("GET", "sell/connect/status"),
    ("POST", "sell/connect/onboard"),
)


@pytest.fixture
async def shop(people: People) -> Person:
    person = await people.register()
    await person.call("POST", "users/me/creator")
    return person


async def test_nobody_sells_without_signing_in(system: Running) -> None:
    for method, path in ROUTES:
        refused(await system.http.request(method, path), 401)
        bad = {"Authorization": "Bearer x.y.z"}
        refused(await system.http.request(method, path, headers=bad), 401)


async def test_who_sold_nothing_has_nothing(ada: Person) -> None:
    empty = {"connected": False, "available": 0, "pending": 0, "currency": "EUR", "balances": []}
    assert await ada.call("GET", "sell/balance") == empty
    assert await ada.call("GET", "sell/transfers") == {"transfers": [], "total": 0}
    assert await ada.call("GET", "sell/sales") == {"sales": [], "total": 0}
    none = {"connected": False, "account_id": None, "details_submitted": False, "payouts_enabled": False}
    assert await ada.call("GET", "sell/connect/status") == none


async def test_a_key_is_not_good_for_onboarding(shop: Person, system: Running) -> None:
    key = await shop.call("POST", "developer/api-keys", json={"name": "robot", "scopes": ["read", "write"]})
    headers = {"X-API-Key": key["key"]}
    refused(await system.http.post("sell/connect/onboard", headers=headers), 403)
    assert (await shop.call("GET", "sell/connect/status"))["account_id"] is None
    assert data_of(await system.http.get("sell/balance", headers=headers))["connected"] is False


async def test_onboarding(shop: Person, system: Running) -> None:
    first = (await shop.call("POST", "sell/connect/onboard"))["onboarding_url"]
    status = await shop.call("GET", "sell/connect/status")
    assert (status["connected"], status["details_submitted"]) == (False, False)
    assert status["account_id"].startswith("acct_")
    # Another link is to the same account, and each is good once.
    second = (await shop.call("POST", "sell/connect/onboard"))["onboarding_url"]
    assert first != second
    assert (await system.http.get(second)).status_code == 200
    assert (await system.http.get(second)).status_code == 410
    done = await shop.call("GET", "sell/connect/status")
    assert done == {**status, "connected": True, "details_submitted": True, "payouts_enabled": True}
    assert (await shop.call("GET", "sell/balance"))["connected"] is True


async def test_who_comes_back_from_the_provider_is_paid_without_asking(
    buyer: Person, shop: Person, system: Running
) -> None:
    sold = await market.buy(buyer, await market.offer(shop))
    link = (await shop.call("POST", "sell/connect/onboard"))["onboarding_url"]
    assert (await system.http.get(link)).status_code == 200
    await market.transfer_is(shop, sold["id"])
    assert (await shop.call("GET", "sell/balance"))["connected"]


async def test_asked_for_at_once_it_is_one_account(shop: Person, sandbox: Sandbox, books: Books) -> None:
    answers = await asyncio.gather(*(shop.ask("POST", "sell/connect/onboard") for _ in range(6)))
    assert {answer.status_code for answer in answers} <= {200, 503}
    assert 200 in {answer.status_code for answer in answers}
    account_id = (await shop.call("GET", "sell/connect/status"))["account_id"]
    query = "SELECT count(*) FROM seller_accounts WHERE seller_id = $1::text::uuid AND account_id = $2"
    assert await books.value(query, shop.id, account_id) == 1
    # Each of the links is to it.
    good = [answer.json()["data"]["onboarding_url"] for answer in answers if answer.status_code == 200]
    page = await shop.system.http.get(good[-1])
    assert account_id in page.text


@pytest.mark.parametrize("on", ["accounts.create", "account_links.create", "accounts.get"])
async def test_a_provider_that_fails(shop: Person, sandbox: Sandbox, on: str) -> None:
    if on == "accounts.get":
        await shop.call("POST", "sell/connect/onboard")
    await sandbox.fault(on, "error", times=5)
    method, path = ("GET", "status") if on == "accounts.get" else ("POST", "onboard")
    answer = await shop.ask(method, f"sell/connect/{path}")
    refused(answer, 503, "unavailable")
    assert "retry-after" in answer.headers
    await sandbox.mend()


async def test_the_balance_at_each_stage(buyer: Person, shop: Person, sandbox: Sandbox) -> None:
    assert await market.balance(shop) == (0, 0)
    euros, dollars = await market.offer(shop, 1000), await market.offer(shop, 700, currency="USD")
    pending = await market.order(buyer, euros, method="card_manual")
    assert await market.balance(shop) == (0, 0)
    await sandbox.tell(f"payments/{pending['payment']['payment_id']}/webhook")
    await market.order_is(buyer, pending["id"], "paid")
    assert await market.balance(shop) == (0, 900)
    sold = await market.buy(buyer, dollars)
    assert await market.balance(shop, "USD") == (0, 630)
    page = await shop.call("GET", "sell/balance")
    assert (page["available"], page["pending"], page["currency"], page["connected"]) == (0, 900, "EUR", False)
    await market.connect(shop)
    await market.balance_is(shop, 900, 0)
    await market.balance_is(shop, 630, 0, "USD")
    await market.refunded(buyer, sold["id"])
    await market.balance_is(shop, 0, 0, "USD")
    page = await shop.call("GET", "sell/balance")
    assert (page["available"], page["pending"], page["connected"]) == (900, 0, True)
    account_id = (await shop.call("GET", "sell/connect/status"))["account_id"]
    assert (await sandbox.book())["accounts"][account_id] == {"EUR": 900, "USD": 0}
