"""Refunds: who may ask for one and when, what goes back, and what it costs whom."""

import asyncio
import uuid
from typing import Any

import pytest
from system import market
from system.books import Books
from system.people import People, Person
from system.running import Running, data_of, refused
from system.sandbox import Sandbox
from system.waiting import until

pytestmark = pytest.mark.usefixtures("balanced")

ORDERS = "marketplace/orders"


@pytest.fixture(scope="module")
async def product(seller: Person) -> str:
    return await market.offer(seller)


@pytest.fixture
async def shop(people: People) -> Person:
    """A seller with no history, who can be paid."""
    person = await people.register()
    await person.call("POST", "users/me/creator")
    await market.connect(person)
    return person


# -- by the buyer ------------------------------------------------------------------------------------------------


async def test_a_whole_order_goes_back(buyer: Person, shop: Person, sandbox: Sandbox) -> None:
    product = await market.offer(shop)
    order = await market.buy(buyer, product)
    await market.transfer_is(shop, order["id"])
    assert await market.balance(shop) == (2699, 0)
    answer = await market.try_refund(buyer, order["id"], details="It clicks at 1:03.")
    assert data_of(answer, 200)["message"] == "Refund initiated"
    refund_id = answer.json()["data"]["refund_id"]
    done = await market.refund_is(buyer, order["id"], refund_id)
    assert done["done_at"] > done["created_at"]
    assert {name: value for name, value in done.items() if not name.endswith("_at")} == {
        "id": refund_id,
        "order_id": order["id"],
        "status": "succeeded",
        "amount_cents": 2999,
        "currency": "EUR",
        "reason": "Not as described",
        "details": "It clicks at 1:03.",
        "items": [order["items"][0]["id"]],
        "credit_note": True,
    }
    found = await market.order_is(buyer, order["id"], "refunded")
    assert (found["refunded_cents"], found["items"][0]["refunded"]) == (2999, True)
    reversed_ = await market.transfer_is(shop, order["id"], "reversed")
    assert (reversed_["reversed_cents"], reversed_["returned_cents"], reversed_["sent_cents"]) == (2699, 2699, 2699)
    await market.balance_is(shop, 0, 0)
    [sent] = await sandbox.sent(reversed_["id"])
    assert (sent["amount_reversed"], sent["reversed"]) == (2699, True)
    [made] = await sandbox.refunds(order["payment"]["payment_id"])
    assert (made["amount"], made["status"]) == (2999, "succeeded")
    sale = await shop.call("GET", f"sell/sales/{order['id']}")
    assert (sale["refunded_cents"], sale["status"]) == (2999, "refunded")
    refused(await market.try_refund(buyer, order["id"]), 409, "conflict")


async def test_parts_of_an_order_sum_to_it(buyer: Person, shop: Person) -> None:
    """Three thirds of what gives an odd fee: by item, by product, and what is left."""
    products = [await market.offer(shop, 335, title=f"Part {number}") for number in range(3)]
    order = await market.buy(buyer, *products)
    sent = await market.transfer_is(shop, order["id"])
    # 100.5 is rounded to 101.
    assert (sent["amount_cents"], sent["platform_fee_cents"]) == (904, 101)
    first, second, third = order["items"]
    done = await market.refunded(buyer, order["id"], items=[second["id"]])
    assert (done["amount_cents"], done["items"]) == (335, [second["id"]])
    found = await market.order_is(buyer, order["id"], "partially_refunded")
    assert [item["refunded"] for item in found["items"]] == [False, True, False]
    refused(await market.try_refund(buyer, order["id"], items=[second["id"]]), 409)
    refused(await market.try_refund(buyer, order["id"], items=[first["id"], products[1]]), 409)
    done = await market.refunded(buyer, order["id"], items=[products[0]])
    assert done["items"] == [first["id"]]
    done = await market.refunded(buyer, order["id"])
    assert (done["items"], done["amount_cents"]) == ([third["id"]], 335)
    assert (await market.order_is(buyer, order["id"], "refunded"))["refunded_cents"] == 1005
    await market.balance_is(shop, 0, 0)


async def test_an_item_named_twice_is_one(buyer: Person, product: str, seller: Person) -> None:
    order = await market.buy(buyer, product, await market.offer(seller))
    item = order["items"][0]
    done = await market.refunded(buyer, order["id"], items=[item["id"], item["id"], item["product_id"]])
    assert done["items"] == [item["id"]]


async def test_before_the_transfer_nothing_is_sent(buyer: Person, waiting_seller: Person) -> None:
    two = [await market.offer(waiting_seller, price) for price in (1000, 500)]
    order = await market.buy(buyer, *two)
    assert await market.balance(waiting_seller) == (0, 1350)
    await market.refunded(buyer, order["id"], items=[two[1]])
    waits = await market.transfer_is(waiting_seller, order["id"], "pending")
    assert (waits["amount_cents"], waits["returned_cents"], waits["sent_cents"]) == (1350, 450, None)
    assert await market.balance(waiting_seller) == (0, 900)
    await market.refunded(buyer, order["id"])
    over = await market.transfer_is(waiting_seller, order["id"], "reversed")
    assert (over["returned_cents"], over["sent_cents"], over["completed_at"]) == (1350, None, None)
    assert await market.balance(waiting_seller) == (0, 0)


async def test_during_the_transfer_it_is_taken_back_on_arrival(buyer: Person, shop: Person, sandbox: Sandbox) -> None:
    product = await market.offer(shop)
    await sandbox.fault("transfers.create", "delay", seconds=1.5)
    order = await market.buy(buyer, product)
    await market.transfer_is(shop, order["id"], "processing")
    await market.refunded(buyer, order["id"])
    over = await market.transfer_is(shop, order["id"], "reversed")
    assert (over["sent_cents"], over["reversed_cents"]) == (2699, 2699)
    [sent] = await sandbox.sent(over["id"])
    assert sent["amount_reversed"] == 2699
    await market.balance_is(shop, 0, 0)


async def test_the_buyer_has_two_weeks(buyer: Person, seller: Person, product: str, books: Books) -> None:
    order = await market.buy(buyer, product)
    age = "UPDATE orders SET paid_at = now() - $2::text::interval WHERE id = $1"
    await books.change(age, uuid.UUID(order["id"]), "14 days 1 minute")
    answer = refused(await market.try_refund(buyer, order["id"]), 409, "conflict")
    assert "14 days" in answer["error"]
    # Who sold it has no such limit.
    await market.refunded(seller, order["id"])
    order = await market.buy(buyer, product)
    await books.change(age, uuid.UUID(order["id"]), "13 days 23 hours")
    await market.refunded(buyer, order["id"])


async def test_twice_at_once_refunds_once(buyer: Person, seller: Person, product: str, sandbox: Sandbox) -> None:
    order = await market.buy(buyer, product)
    people = [buyer, seller] * 4
    answers = await asyncio.gather(*(market.try_refund(person, order["id"]) for person in people))
    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 7
    await market.order_is(buyer, order["id"], "refunded")
    assert len(await sandbox.refunds(order["payment"]["payment_id"])) == 1


async def test_a_refund_sent_again_is_the_same(buyer: Person, product: str) -> None:
    order = await market.buy(buyer, product)
    path, headers, body = f"{ORDERS}/{order['id']}/refund", market.new_key(), {"reason": "Broken"}
    first = await buyer.call("POST", path, json=body, headers=headers)
    assert await buyer.call("POST", path, json=body, headers=headers) == first
    refused(await buyer.ask("POST", path, json={"reason": "Other"}, headers=headers), 409, "conflict")
    refused(await buyer.ask("POST", path, json=body), 409, "conflict")
    await market.refund_is(buyer, order["id"], first["refund_id"])


# -- by a seller -------------------------------------------------------------------------------------------------


async def test_a_seller_gives_back_what_is_theirs(
    buyer: Person, seller: Person, shop: Person, product: str, eve: Person
) -> None:
    other = await market.offer(shop, 1000, title="Theirs")
    order = await market.buy(buyer, product, other)
    theirs, mine = (next(i["id"] for i in order["items"] if i["product_id"] == p) for p in (product, other))
    for wrong in ([theirs], [product], [theirs, mine]):
        answer = refused(await market.try_refund(shop, order["id"], items=wrong), 400)
        assert answer["details"][0]["field"] == "items"
    done = await market.refunded(shop, order["id"])
    assert (done["items"], done["amount_cents"]) == ([mine], 1000)
    refused(await market.try_refund(shop, order["id"]), 409)
    found = await market.order_is(buyer, order["id"], "partially_refunded")
    assert found["refunded_cents"] == 1000
    # The other seller keeps their part, and does not see the refund.
    assert (await market.transfer_is(seller, order["id"]))["returned_cents"] == 0
    assert (await seller.call("GET", f"{ORDERS}/{order['id']}/refunds"))["refunds"] == []
    await market.balance_is(shop, 0, 0)
    refused(await market.try_refund(eve, order["id"]), 404, "order_not_found")


async def test_of_a_refund_from_several_each_seller_sees_their_part(
    buyer: Person, seller: Person, shop: Person, product: str
) -> None:
    other = await market.offer(shop, 1000, title="Theirs")
    order = await market.buy(buyer, product, other)
    await market.transfer_is(shop, order["id"])
    refund_id = await market.refund(buyer, order["id"])
    whole = await market.refund_is(buyer, order["id"], refund_id)
    assert (whole["amount_cents"], set(whole["items"])) == (3999, {item["id"] for item in order["items"]})
    for person, product_id, cents in ((seller, product, 2999), (shop, other, 1000)):
        seen = await market.refund_is(person, order["id"], refund_id)
        assert seen["items"] == [item["id"] for item in order["items"] if item["product_id"] == product_id]
        assert seen["amount_cents"] == cents
        notice = await market.told(person, "refund", refund_id=refund_id)
        assert (notice["data"]["amount_cents"], notice["data"]["status"]) == (cents, "succeeded")
    notice = await market.told(buyer, "refund", refund_id=refund_id)
    assert notice["data"]["amount_cents"] == 3999


# -- what is refused ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "reason"),
        ({"reason": ""}, "reason"),
        ({"reason": " \n "}, "reason"),
        ({"reason": "x" * 501}, "reason"),
        ({"reason": 1}, "reason"),
        ({"reason": "x", "details": "x" * 2001}, "details"),
        ({"reason": "x", "details": ["x"]}, "details"),
        ({"reason": "x", "items": []}, "items"),
        ({"reason": "x", "items": ["x"]}, "items"),
        ({"reason": "x", "items": "x"}, "items"),
        ({"reason": "x", "items": [str(uuid.uuid4())]}, "items"),
        ({"reason": "x", "items": [str(uuid.uuid4()) for _ in range(51)]}, "items"),
    ],
)
async def test_bad_refunds(buyer: Person, bad_order: str, body: dict[str, Any], field: str) -> None:
    answer = refused(await buyer.ask("POST", f"{ORDERS}/{bad_order}/refund", json=body), 400, "invalid_argument")
    assert answer["details"][0]["field"].split("[")[0].split(".")[0] == field


@pytest.fixture(scope="module")
async def bad_order(buyer: Person, product: str) -> str:
    found: str = (await market.buy(buyer, product))["id"]
    return found


async def test_who_and_what_cannot(
    buyer: Person, seller: Person, eve: Person, admin: Person, product: str, bad_order: str, system: Running
) -> None:
    place = f"{ORDERS}/{bad_order}/refund"
    refused(await system.http.post(place, json={"reason": "x"}), 401)
    for stranger in (eve, admin):
        refused(await stranger.ask("POST", place, json={"reason": "x"}), 404, "order_not_found")
    for wrong in (str(uuid.uuid4()), "x"):
        refused(await buyer.ask("POST", f"{ORDERS}/{wrong}/refund", json={"reason": "x"}), 404)
    other = await market.buy(buyer, product)
    answer = await market.try_refund(buyer, bad_order, items=[other["items"][0]["id"]])
    assert refused(answer, 400)["details"][0]["field"] == "items"
    failed = await market.order(buyer, product, method="card_declined")
    await market.order_is(buyer, failed["id"], "failed")
    for person in (buyer, seller):
        refused(await market.try_refund(person, failed["id"]), 409)


# -- the provider ------------------------------------------------------------------------------------------------


async def test_a_refund_that_fails_makes_the_seller_good(buyer: Person, shop: Person, sandbox: Sandbox) -> None:
    product = await market.offer(shop)
    order = await market.buy(buyer, product, method="card_refund_declined")
    await market.transfer_is(shop, order["id"])
    async with await buyer.connect() as socket:
        refund_id = await market.refund(buyer, order["id"])
        notice = await market.heard(socket, "refund", refund_id=refund_id)
    assert notice["data"]["status"] == "failed"
    failed = await market.refund_is(buyer, order["id"], refund_id, "failed")
    assert failed["credit_note"] is False
    first = await market.transfer_is(shop, order["id"], "reversed")
    second = await market.transfer_is(shop, order["id"], "completed", 1)
    assert (first["sent_cents"], second["sent_cents"]) == (2699, 2699)
    await market.balance_is(shop, 2699, 0)
    found = await market.order_is(buyer, order["id"], "paid")
    assert (found["refunded_cents"], found["items"][0]["refunded"]) == (0, False)
    assert (await shop.call("GET", f"sell/sales/{order['id']}"))["refunded_cents"] == 0
    # It may be tried again, and fails again.
    again = await market.refund(buyer, order["id"])
    await market.refund_is(buyer, order["id"], again, "failed")
    await market.transfer_is(shop, order["id"], "completed", 2)
    await market.balance_is(shop, 2699, 0)
    assert {each["status"] for each in await sandbox.refunds(order["payment"]["payment_id"])} == {"failed"}


async def test_refunds_that_take_their_time(buyer: Person, product: str, sandbox: Sandbox) -> None:
    """All at once: each is refunded once, however the provider answers."""
    methods = ("card_refund_slow", "card_refund_error_after", "card_refund_manual", "card")
    orders = [await market.buy(buyer, product, method=method) for method in (*methods, "card", "card")]
    for kind in ("unavailable", "error_after", "hang_up_after"):
        await sandbox.fault("refunds.create", kind)
    ids = [await market.refund(buyer, order["id"]) for order in orders]
    for order, refund_id in zip(orders, ids, strict=True):
        await market.refund_is(buyer, order["id"], refund_id)
        await market.order_is(buyer, order["id"], "refunded")
        made = await sandbox.refunds(order["payment"]["payment_id"])
        assert [each["amount"] for each in made] == [2999]


async def test_the_webhook_comes_before_the_answer(buyer: Person, product: str, sandbox: Sandbox) -> None:
    order = await market.buy(buyer, product)
    # The provider is done at once, and its answer takes longer than its webhook.
    await sandbox.fault("refunds.create", "timeout", seconds=3.0)
    refund_id = await market.refund(buyer, order["id"])
    await market.refund_is(buyer, order["id"], refund_id)
    await market.order_is(buyer, order["id"], "refunded")


async def test_the_answer_comes_before_the_webhook(buyer: Person, product: str, sandbox: Sandbox, books: Books) -> None:
    order = await market.buy(buyer, product)
    await sandbox.tell("webhooks/hold")
    await market.refunded(buyer, order["id"])
    await market.order_is(buyer, order["id"], "refunded")
    await sandbox.mend()

    async def came() -> Any:
        query = (
            "SELECT result FROM webhooks WHERE payment_id = $1 AND event = 'refund.succeeded' AND status = 'ignored'"
        )
        return await books.value(query, order["payment"]["payment_id"])

    assert await until(came, "the webhook to be worked off") == "ignore"
    assert (await buyer.call("GET", f"{ORDERS}/{order['id']}"))["refunded_cents"] == 2999


async def test_a_refund_is_in_the_audit_log(buyer: Person, admin: Person, product: str) -> None:
    order = await market.buy(buyer, product)
    await market.refunded(buyer, order["id"])
    query = {"action": "order.refund", "user_id": buyer.id, "limit": 1}
    [row] = (await admin.call("GET", "admin/audit-logs", params=query))["audit_logs"]
    assert row["details"] == {"order_id": order["id"]}
    assert row["resource"] == f"/api/v1/{ORDERS}/{order['id']}/refund"
