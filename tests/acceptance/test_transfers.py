"""Sellers are paid: once, whatever the provider does, and not more than is theirs."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from system import market
from system.books import Books
from system.people import People, Person
from system.running import Running, refused
from system.sandbox import Sandbox
from system.waiting import until

pytestmark = pytest.mark.usefixtures("balanced")

TRANSFERS = "admin/transfers"


@pytest.fixture(scope="module")
async def product(seller: Person) -> str:
    return await market.offer(seller)


@pytest.fixture
async def shop(people: People) -> Person:
    """A seller with no history and no account."""
    person = await people.register()
    await person.call("POST", "users/me/creator")
    return person


@pytest.fixture
async def refusing(sandbox: Sandbox) -> AsyncIterator[Sandbox]:
    """Every transfer is refused, until it is mended."""
    await sandbox.fault("transfers.create", "refuse", times=None)
    yield sandbox
    await sandbox.mend()


async def sent_once(sandbox: Sandbox, transfer: dict[str, Any]) -> None:
    made = await sandbox.sent(transfer["id"])
    assert [each["amount"] for each in made] == [transfer["sent_cents"]]


async def failed_for_long(books: Books, transfer_id: str) -> None:
    """Wait until a transfer has failed, and put its next try off."""

    async def stopped() -> bool:
        query = "UPDATE transfers SET next_retry_at = now() + interval '1 h' WHERE id = $1 AND status = 'failed'"
        return await books.change(query, uuid.UUID(transfer_id)) == 1

    await until(stopped, f"transfer {transfer_id} to fail", market.SOON_S)


# -- waiting for an account ----------------------------------------------------------------------------------------


async def test_a_seller_without_an_account_waits(buyer: Person, shop: Person, sandbox: Sandbox) -> None:
    orders = [await market.buy(buyer, await market.offer(shop, price)) for price in (1000, 2000)]
    for order in orders:
        waits = await market.transfer_is(shop, order["id"], "pending")
        assert (waits["sent_cents"], waits["next_retry_at"], waits["retry_count"]) == (None, None, 0)
    assert await market.balance(shop) == (0, 2700)
    url = (await shop.call("POST", "sell/connect/onboard"))["onboarding_url"]
    assert not (await shop.call("GET", "sell/connect/status"))["connected"]
    assert (await market.transfer_is(shop, orders[0]["id"], "pending"))["sent_cents"] is None
    async with await shop.connect() as socket:
        await shop.system.http.get(url)
        assert (await shop.call("GET", "sell/connect/status"))["connected"]
        for order in orders:
            await sent_once(sandbox, await market.transfer_is(shop, order["id"]))
            await market.heard(socket, "transfer_completed", order_id=order["id"])
    assert await market.balance(shop) == (2700, 0)


# -- failures ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "seconds"),
    [
        ("refuse", None),
        ("rate_limit", None),
        ("unavailable", None),
        ("error_after", None),
        ("hang_up", None),
        ("hang_up_after", None),
        ("timeout", 0.2),
        ("timeout_before", 0.2),
        ("delay", 0.5),
    ],
)
async def test_a_failure_pays_exactly_once(
    buyer: Person, seller: Person, product: str, sandbox: Sandbox, kind: str, seconds: float | None
) -> None:
    before = await market.balance(seller)
    await sandbox.fault("transfers.create", kind, seconds=seconds)
    order = await market.buy(buyer, product)
    done = await market.transfer_is(seller, order["id"])
    await sent_once(sandbox, done)
    assert (done["sent_cents"], done["error"], done["next_retry_at"]) == (2699, None, None)
    assert done["retry_count"] == (0 if kind == "delay" else 1)
    assert await market.balance(seller) == (before[0] + 2699, 0)


async def test_a_look_up_that_fails_too(buyer: Person, seller: Person, product: str, sandbox: Sandbox) -> None:
    # After a refusal the provider is asked before anything is sent again.
    await sandbox.fault("transfers.create", "refuse")
    await sandbox.fault("transfers.list", "error", times=3)
    order = await market.buy(buyer, product)
    await sent_once(sandbox, await market.transfer_is(seller, order["id"]))


@pytest.mark.parametrize("kind", ["error", "error_after"])
async def test_nothing_was_heard_for_a_day(
    buyer: Person, shop: Person, sandbox: Sandbox, books: Books, kind: str
) -> None:
    """The provider has forgotten the key, under which it repeated its failure: it is asked what it has."""
    await market.connect(shop)
    await sandbox.fault("transfers.create", kind)
    await sandbox.fault("transfers.list", "rate_limit")
    order = await market.buy(buyer, await market.offer(shop))
    [transfer] = await market.transfers(shop, order["id"])
    await failed_for_long(books, transfer["id"])
    await sandbox.mend()
    await sandbox.tell("clock", advance_seconds=25 * 3600.0)
    later = "UPDATE transfers SET sent_at = sent_at - interval '25 h', next_retry_at = now() WHERE id = $1"
    await books.change(later, uuid.UUID(transfer["id"]))
    await books.change("UPDATE payout_lanes SET due_at = now() WHERE seller_id = $1", uuid.UUID(shop.id))
    await sent_once(sandbox, await market.transfer_is(shop, order["id"]))
    number = await books.value("SELECT number FROM transfers WHERE id = $1", uuid.UUID(transfer["id"]))
    assert number == (2 if kind == "error" else 1)


async def test_eight_refusals_are_the_end_until_somebody_tries_again(
    buyer: Person, shop: Person, refusing: Sandbox, admin: Person
) -> None:
    await market.connect(shop)
    async with await shop.connect() as socket:
        order = await market.buy(buyer, await market.offer(shop))
        dead = await market.transfer_is(shop, order["id"], "dead")
        notice = await market.heard(socket, "transfer_failed", order_id=order["id"])
    assert (notice["data"]["transfer_id"], notice["data"]["amount_cents"]) == (dead["id"], 2699)
    await market.told(shop, "transfer_failed", transfer_id=dead["id"])
    assert (dead["retry_count"], dead["next_retry_at"], dead["sent_cents"]) == (8, None, None)
    # Why is for administrators.
    assert dead["error"] is None
    [known] = [
        each
        for each in (await admin.call("GET", TRANSFERS, params={"seller_id": shop.id}))["transfers"]
        if each["id"] == dead["id"]
    ]
    assert "refuse" in known["error"]
    assert await market.balance(shop) == (0, 2699)
    # Tried again in vain, it is dead again.
    again = await admin.call("POST", f"{TRANSFERS}/{dead['id']}/retry")
    assert again["status"] == "dead"
    assert again["retry_count"] > 8
    await refusing.mend()
    done = await admin.call("POST", f"{TRANSFERS}/{dead['id']}/retry")
    assert (done["status"], done["sent_cents"], done["error"]) == ("completed", 2699, None)
    await sent_once(refusing, done)
    refused(await admin.ask("POST", f"{TRANSFERS}/{dead['id']}/retry"), 409, "conflict")


async def test_an_administrator_tries_a_failed_one_again(
    buyer: Person, shop: Person, refusing: Sandbox, books: Books, admin: Person
) -> None:
    await market.connect(shop)
    order = await market.buy(buyer, await market.offer(shop))
    [transfer] = await market.transfers(shop, order["id"])
    await failed_for_long(books, transfer["id"])
    await refusing.mend()
    path, headers = f"{TRANSFERS}/{transfer['id']}/retry", market.new_key()
    done = await admin.call("POST", path, headers=headers)
    assert done["status"] == "completed"
    assert done["retry_count"] >= 2
    await sent_once(refusing, done)
    # Sent again, the request answers what it did.
    assert await admin.call("POST", path, headers=headers) == done
    refused(await admin.ask("POST", path), 409)
    [row] = (await admin.call("GET", "admin/audit-logs", params={"action": "transfer.retry", "limit": 1}))["audit_logs"]
    assert row["details"] == {"transfer_id": transfer["id"]}
    assert row["user_id"] == admin.id


async def test_two_administrators_try_it_at_once(
    people: People, buyer: Person, shop: Person, refusing: Sandbox, books: Books, admin: Person
) -> None:
    await market.connect(shop)
    order = await market.buy(buyer, await market.offer(shop))
    [transfer] = await market.transfers(shop, order["id"])
    await failed_for_long(books, transfer["id"])
    await refusing.mend()
    other = await people.administrator()
    path = f"{TRANSFERS}/{transfer['id']}/retry"
    answers = await asyncio.gather(*(who.ask("POST", path) for who in (admin, other)))
    assert sorted(answer.status_code for answer in answers) in ([200, 409], [200, 200])
    await sent_once(refusing, await market.transfer_is(shop, order["id"]))


async def test_a_refund_of_a_failed_transfer_cancels_it(
    buyer: Person, shop: Person, refusing: Sandbox, admin: Person
) -> None:
    await market.connect(shop)
    order = await market.buy(buyer, await market.offer(shop))
    dead = await market.transfer_is(shop, order["id"], "dead")
    await market.refunded(buyer, order["id"])
    over = await market.transfer_is(shop, order["id"], "reversed")
    assert (over["returned_cents"], over["sent_cents"]) == (2699, None)
    refused(await admin.ask("POST", f"{TRANSFERS}/{dead['id']}/retry"), 409)
    assert await refusing.sent(dead["id"]) == []


# -- several sellers -----------------------------------------------------------------------------------------------


async def test_each_seller_of_an_order_gets_their_part(
    buyer: Person, seller: Person, shop: Person, product: str, sandbox: Sandbox
) -> None:
    two = [await market.offer(shop, price) for price in (333, 2)]
    order = await market.buy(buyer, product, *two)
    assert order["total_cents"] == 2999 + 335
    first = await market.transfer_is(seller, order["id"])
    assert (first["amount_cents"], first["platform_fee_cents"]) == (2699, 300)
    # The fee is taken of a seller's sum: 33.5 is 34.
    second = await market.transfer_is(shop, order["id"], "pending")
    assert (second["amount_cents"], second["platform_fee_cents"]) == (301, 34)
    await market.connect(shop)
    await sent_once(sandbox, await market.transfer_is(shop, order["id"]))
    for person, one in ((seller, first), (shop, second)):
        assert [each["id"] for each in await market.transfers(person, order["id"])] == [one["id"]]


# -- debts ---------------------------------------------------------------------------------------------------------


async def test_what_cannot_be_taken_back_is_a_debt(buyer: Person, shop: Person, sandbox: Sandbox, books: Books) -> None:
    account = await market.connect(shop)
    first = await market.buy(buyer, await market.offer(shop, 1000))
    await market.transfer_is(shop, first["id"])
    # The seller's bank has it all.
    assert (await sandbox.tell(f"accounts/{account}/payout"))["paid"] == {"EUR": 900}
    await market.refunded(buyer, first["id"])

    async def is_refused() -> Any:
        query = "SELECT count(*) FROM reversals WHERE seller_id = $1 AND status = 'refused'"
        return await books.value(query, uuid.UUID(shop.id))

    await until(is_refused, "the reversal to be refused")
    kept = await market.transfer_is(shop, first["id"], "completed")
    assert (kept["returned_cents"], kept["reversed_cents"], kept["sent_cents"]) == (900, 0, 900)
    assert await market.balance(shop) == (900, 0)
    # The next sale brings 450, all of which is kept; of the one after it, the rest.
    second = await market.buy(buyer, await market.offer(shop, 500))
    none = await market.transfer_is(shop, second["id"], "completed")
    assert (none["amount_cents"], none["sent_cents"]) == (450, 0)
    assert await sandbox.sent(none["id"]) == []
    third = await market.buy(buyer, await market.offer(shop, 700))
    part = await market.transfer_is(shop, third["id"], "completed")
    assert (part["amount_cents"], part["sent_cents"]) == (630, 180)
    await sent_once(sandbox, part)
    assert await market.balance(shop) == (1080, 0)
    # What was never sent cannot be taken back either: it is a debt again, of which the account covers a part.
    await market.refunded(buyer, third["id"])
    await market.balance_is(shop, 900, 0)
    query = "SELECT sum(amount_cents) FROM ledger_entries WHERE seller_id = $1"
    assert await books.value(query, uuid.UUID(shop.id)) == 450


# -- lists ---------------------------------------------------------------------------------------------------------


async def test_the_administrators_list(
    people: People, buyer: Person, shop: Person, seller: Person, product: str, admin: Person
) -> None:
    started = datetime.now(UTC)
    orders = [await market.buy(buyer, await market.offer(shop, price)) for price in (100, 200, 300)]
    sold = await market.buy(buyer, product)
    await market.transfer_is(seller, sold["id"])

    async def found(**query: Any) -> list[str]:
        page = await admin.call("GET", TRANSFERS, params=query)
        assert page["total"] >= len(page["transfers"])
        return [each["order_id"] for each in page["transfers"]]

    theirs = [order["id"] for order in orders][::-1]
    assert await found(seller_id=shop.id) == theirs
    assert await found(seller_id=shop.id, limit=2) == theirs[:2]
    assert await found(seller_id=shop.id, limit=2, offset=1) == theirs[1:]
    assert await found(seller_id=shop.id, status="pending") == theirs
    assert await found(seller_id=shop.id, status="completed") == []
    assert sold["id"] in await found(status="completed", limit=5)
    assert await found(**{"from": started.isoformat(), "limit": 4}) == [sold["id"], *theirs]
    assert await found(seller_id=shop.id, to=started.isoformat()) == []
    times = {each["order_id"]: each["created_at"] for each in await shop_transfers(shop)}
    middle = times[orders[1]["id"]]
    assert await found(seller_id=shop.id, **{"from": middle}) == theirs[:2]
    assert await found(seller_id=shop.id, to=middle) == theirs[2:]
    assert await found(seller_id=str(uuid.uuid4())) == []
    page = await admin.call("GET", TRANSFERS, params={"seller_id": shop.id, "limit": 1})
    assert page["total"] == 3
    [shown] = page["transfers"]
    assert {"id", "seller_id", "order_id", "amount_cents", "platform_fee_cents", "currency", "status"} <= set(shown)
    assert {"retry_count", "next_retry_at", "created_at"} <= set(shown)
    assert (shown["amount_cents"], shown["platform_fee_cents"], shown["currency"]) == (270, 30, "EUR")


async def shop_transfers(shop: Person) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await shop.call("GET", "sell/transfers"))["transfers"]
    return found


@pytest.mark.parametrize(
    "query",
    [
        {"status": "lost"},
        {"seller_id": "x"},
        {"from": "yesterday"},
        {"from": "2026-02-23T12:00:00"},
        {"to": "2026-13-01T00:00:00Z"},
        {"to": "0001-01-01T00:00:00+14:00"},
        {"limit": 0},
        {"limit": 101},
        {"offset": -1},
    ],
)
async def test_bad_filters(admin: Person, query: dict[str, Any]) -> None:
    answer = refused(await admin.ask("GET", TRANSFERS, params=query), 400, "invalid_argument")
    assert answer["details"][0]["field"] == next(iter(query))


async def test_a_sellers_own_list(buyer: Person, shop: Person) -> None:
    orders = [await market.buy(buyer, await market.offer(shop, price)) for price in (100, 200, 300)]
    ids = [order["id"] for order in orders][::-1]
    page = await shop.call("GET", "sell/transfers", params={"limit": 2, "offset": 1, "status": "pending"})
    assert (page["total"], [each["order_id"] for each in page["transfers"]]) == (3, ids[1:])
    assert await shop.call("GET", "sell/transfers", params={"status": "dead"}) == {"transfers": [], "total": 0}
    assert refused(await shop.ask("GET", "sell/transfers", params={"status": "x"}), 400)["details"]


async def test_who_sees_transfers(
    people: People, buyer: Person, shop: Person, eve: Person, admin: Person, system: Running
) -> None:
    order = await market.buy(buyer, await market.offer(shop))
    [transfer] = await market.transfers(shop, order["id"])
    moderator = await people.register()
    await admin.call("PUT", f"admin/users/{moderator.id}/role", json={"role": "moderator"})
    retry = f"{TRANSFERS}/{transfer['id']}/retry"
    for method, path in (("GET", TRANSFERS), ("POST", retry), ("GET", "admin/jobs"), ("GET", "admin/webhooks")):
        refused(await system.http.request(method, path), 401)
        for person in (eve, shop, moderator, buyer):
            refused(await person.ask(method, path), 403, "permission_denied")
    assert await market.transfers(eve, order["id"]) == []
    for wrong in (str(uuid.uuid4()), "x"):
        refused(await admin.ask("POST", f"{TRANSFERS}/{wrong}/retry"), 404)
    # Only what has failed is tried again.
    refused(await admin.ask("POST", retry), 409, "conflict")


async def test_the_jobs_about_money_are_listed(admin: Person, books: Books) -> None:
    async def ran() -> Any:
        page = await admin.call("GET", "admin/jobs")
        jobs = {job["name"]: job for job in page["jobs"]}
        assert page["total"] == len(jobs)
        wanted = {"expire_orders", "reconcile_payments", "check_seller_accounts"}
        return wanted <= set(jobs) and all(jobs[name]["succeeded_at"] for name in wanted) and jobs

    jobs = await until(ran, "each of the jobs to have run", 30.0)
    assert [job for job in jobs.values() if job["error"]] == []
    assert all(jobs[name]["started_at"] >= jobs[name]["started_at"][:10] for name in jobs)
    assert datetime.fromisoformat(jobs["expire_orders"]["started_at"]) > datetime.now(UTC) - timedelta(minutes=1)
