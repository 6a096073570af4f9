"""Orders: what can be bought, at which price, how often, and who may see it."""

import asyncio
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest
from system import market
from system.books import Books
from system.people import People, Person
from system.running import Running, data_of, refused
from system.sandbox import Sandbox

pytestmark = pytest.mark.usefixtures("balanced")

ORDERS = "marketplace/orders"
BUYERS, EACH = 60, 5


@pytest.fixture(scope="module")
async def product(seller: Person) -> str:
    """Of no end, at 29.99."""
    return await market.offer(seller)


@pytest.fixture
async def withheld(sandbox: Sandbox) -> AsyncIterator[Sandbox]:
    """No webhook comes, so that orders stay pending."""
    await sandbox.tell("webhooks/hold")
    yield sandbox
    await sandbox.mend()


async def stock_of(seller: Person, product_id: str) -> Any:
    return (await seller.call("GET", f"marketplace/products/{product_id}"))["stock"]


# -- one order ---------------------------------------------------------------------------------------------------


async def test_an_order_from_checkout_to_paid(buyer: Person, seller: Person, product: str) -> None:
    made = await market.order(buyer, (product, 2))
    assert set(made) == {
        *("id", "buyer_id", "status", "items", "total_cents", "refunded_cents", "currency"),
        *("payment_method", "payment", "created_at", "expires_at", "paid_at"),
    }
    assert set(made["payment"]) == {"provider", "payment_id", "status", "client_secret", "redirect_url", "error"}
    assert (made["status"], made["total_cents"], made["currency"]) in [("pending", 5998, "EUR"), ("paid", 5998, "EUR")]
    [item] = made["items"]
    assert item["product_id"] == product
    assert (item["seller_id"], item["title"], item["unit_cents"], item["quantity"]) == (seller.id, "Aria", 2999, 2)
    assert made["payment"]["provider"] == "hyperswitch"
    paid = await market.order_is(buyer, made["id"], "paid")
    assert paid["payment"]["status"] == "succeeded"
    assert paid["paid_at"] is not None
    assert (paid["items"], paid["refunded_cents"]) == (made["items"], 0)
    sold = await seller.call("GET", f"sell/sales/{made['id']}")
    # Rounded half up: 599.8 is 600.
    assert (sold["amount_cents"], sold["fee_cents"], sold["refunded_cents"]) == (5998, 600, 0)
    assert (sold["items"], sold["buyer_id"], sold["status"]) == (made["items"], buyer.id, "paid")
    assert "payment" not in sold
    sent = await market.transfer_is(seller, made["id"])
    assert (sent["amount_cents"], sent["platform_fee_cents"], sent["sent_cents"]) == (5398, 600, 5398)


async def test_the_example_of_the_contract(buyer: Person, seller: Person, product: str) -> None:
    order = await market.buy(buyer, product)
    sent = await market.transfer_is(seller, order["id"])
    assert (sent["platform_fee_cents"], sent["amount_cents"]) == (300, 2699)


async def test_the_same_product_twice_is_one_line(buyer: Person, product: str, seller: Person) -> None:
    other = await market.offer(seller, 100, title="Other")
    made = await market.order(buyer, product, (other, 3), (product, 2))
    assert [(line["product_id"], line["quantity"]) for line in made["items"]] == [(product, 3), (other, 3)]
    assert made["total_cents"] == 3 * 2999 + 300
    await market.order_is(buyer, made["id"], "paid")
    answer = await market.try_order(buyer, (product, 60), (product, 41))
    assert refused(answer, 400)["details"][0]["field"] == "items"


async def test_the_price_is_that_of_the_order(buyer: Person, seller: Person, withheld: Sandbox) -> None:
    product = await market.offer(seller, 1000, title="Before")
    place = f"marketplace/products/{product}"
    pending = await market.order(buyer, product)
    change = {"price_cents": 5000, "title": "After", "currency": "USD"}
    await seller.call("PUT", place, json=change)
    assert (await market.order(buyer, product))["total_cents"] == 5000
    await seller.call("DELETE", place)
    await withheld.mend()
    paid = await market.order_is(buyer, pending["id"], "paid")
    assert (paid["total_cents"], paid["currency"]) == (1000, "EUR")
    assert (paid["items"][0]["title"], paid["items"][0]["unit_cents"]) == ("Before", 1000)
    assert (await market.transfer_is(seller, pending["id"]))["amount_cents"] == 900


async def test_a_currency_without_cents_and_the_smallest_sum(buyer: Person, seller: Person) -> None:
    for price, currency, fee in ((1, "EUR", 0), (5, "JPY", 1), (4, "KWD", 0)):
        order = await market.buy(buyer, await market.offer(seller, price, currency=currency))
        sent = await market.transfer_is(seller, order["id"])
        assert (sent["amount_cents"], sent["platform_fee_cents"], sent["currency"]) == (price - fee, fee, currency)
        available, pending = await market.balance(seller, currency)
        assert available >= price - fee
        assert pending == 0


# -- what is refused -----------------------------------------------------------------------------------------------

ITEM = {"product_id": "00000000-0000-7000-8000-000000000000", "quantity": 1}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"items": []}, "items"),
        ({"items": None}, "items"),
        ({"items": {}}, "items"),
        ({"items": [ITEM] * 51}, "items"),
        ({"items": ["x"]}, "items"),
        ({"items": [{"quantity": 1}]}, "items"),
        ({"items": [{**ITEM, "product_id": "1"}]}, "items"),
        ({"items": [{**ITEM, "product_id": None}]}, "items"),
        *(({"items": [{**ITEM, "quantity": wrong}]}, "items") for wrong in (0, -1, 101, 1.5, "1", None, 2**70, True)),
        *(({"payment_method": wrong}, "payment_method") for wrong in ("", "Card", "card\n", "x" * 51, None, 1, "a b")),
    ],
)
async def test_bad_orders(buyer: Person, change: dict[str, Any], field: str) -> None:
    body = {"items": [ITEM], "payment_method": "card", **change}
    answer = refused(await buyer.ask("POST", ORDERS, json=body), 400)
    assert answer["details"][0]["field"].split(".")[0].split("[")[0] == field, answer


async def test_what_is_missing_and_what_is_unknown(buyer: Person, product: str) -> None:
    for name in ("items", "payment_method"):
        body = market.cart(product)
        del body[name]
        assert refused(await buyer.ask("POST", ORDERS, json=body), 400)["details"][0]["field"] == name
    order = data_of(await buyer.ask("POST", ORDERS, json={**market.cart(product), "coupon": "x"}), 201)
    await market.order_is(buyer, order["id"], "paid")


async def test_what_cannot_be_bought(buyer: Person, seller: Person, product: str) -> None:
    draft = await market.offer(seller, status="draft")
    gone = await market.offer(seller)
    await seller.call("DELETE", f"marketplace/products/{gone}")
    for hidden in (draft, gone, str(uuid.uuid4())):
        refused(await market.try_order(buyer, hidden), 404, "product_not_found")
        refused(await market.try_order(buyer, product, hidden), 404, "product_not_found")
    # A seller's own draft is no more to be bought than what they sell.
    refused(await market.try_order(seller, draft), 404, "product_not_found")
    refused(await market.try_order(seller, product), 403, "permission_denied")
    dollars = await market.offer(seller, currency="USD")
    answer = refused(await market.try_order(buyer, product, dollars), 400)
    assert answer["details"][0]["field"] == "items"
    dear = await market.offer(seller, 99_999_999)
    assert refused(await market.try_order(buyer, (dear, 2)), 400)["details"][0]["field"] == "items"


async def test_nobody_has_any_number_of_pending_orders(people: People, seller: Person, books: Books) -> None:
    hoarder = await people.register()
    product = await market.offer(seller, stock=300)
    first = await market.order(hoarder, product, method="card_declined")
    await market.order_is(hoarder, first["id"], "failed")
    await books.change(
        """
        INSERT INTO orders (id, buyer_id, currency, total_cents, fee_cents, payment_method, expires_at)
        SELECT gen_random_uuid(), buyer_id, currency, total_cents, fee_cents, payment_method, expires_at
        FROM orders, generate_series(1, 100) WHERE id = $1
        """,
        first["id"],
    )
    refused(await market.try_order(hoarder, product), 409, "conflict")
    assert await stock_of(seller, product) == 300
    await books.change("UPDATE orders SET status = 'failed' WHERE buyer_id = $1", uuid.UUID(hoarder.id))
    await market.buy(hoarder, product)


# -- stock ---------------------------------------------------------------------------------------------------------


async def test_the_last_piece(buyer: Person, seller: Person, product: str) -> None:
    rare = await market.offer(seller, stock=3)
    refused(await market.try_order(buyer, product, (rare, 4)), 409)
    assert await stock_of(seller, rare) == 3
    await market.buy(buyer, (rare, 2), product)
    refused(await market.try_order(buyer, (rare, 2)), 409)
    await market.buy(buyer, rare)
    assert await stock_of(seller, rare) == 0
    answer = refused(await market.try_order(buyer, rare), 409, "conflict")
    assert "left" in answer["error"]


async def test_what_a_failed_order_held_is_for_sale_again(buyer: Person, seller: Person) -> None:
    rare = await market.offer(seller, stock=2)
    order = await market.order(buyer, (rare, 2), method="card_declined")
    await market.order_is(buyer, order["id"], "failed")
    assert await stock_of(seller, rare) == 2


async def test_of_many_buyers_of_one_piece_one_gets_it(
    people: People, seller: Person, sandbox: Sandbox, books: Books
) -> None:
    crowd = await asyncio.gather(*(people.register() for _ in range(BUYERS)))
    rare = await market.offer(seller, 777, stock=1)
    before = (await sandbox.book())["payments"]["count"]
    answers = await asyncio.gather(*(market.try_order(one, rare) for one in crowd for _ in range(EACH)))
    assert Counter(answer.status_code for answer in answers) == {201: 1, 409: EACH * BUYERS - 1}
    [won] = [answer.json()["data"] for answer in answers if answer.status_code == 201]
    [winner] = [one for one in crowd if one.id == won["buyer_id"]]
    await market.order_is(winner, won["id"], "paid")
    assert (await sandbox.book())["payments"]["count"] == before + 1
    assert await stock_of(seller, rare) == 0
    query = "SELECT count(*) FROM order_items WHERE product_id = $1"
    assert await books.value(query, uuid.UUID(rare)) == 1


async def test_carts_that_cross_do_not_wait_for_each_other(people: People, seller: Person) -> None:
    some = [await market.offer(seller, 100 + number, stock=20) for number in range(4)]
    crowd = await asyncio.gather(*(people.register() for _ in range(6)))
    orders = await asyncio.gather(
        *(
            market.try_order(one, *(some if number % 2 else some[::-1]))
            for number, one in enumerate(crowd)
            for _ in range(2)
        )
    )
    assert {answer.status_code for answer in orders} == {201}
    for answer in orders:
        made = answer.json()["data"]
        [owner] = [one for one in crowd if one.id == made["buyer_id"]]
        await market.order_is(owner, made["id"], "paid")
    assert [await stock_of(seller, each) for each in some] == [8] * 4


# -- the same request again ----------------------------------------------------------------------------------------


async def test_an_order_sent_again_is_the_same(buyer: Person, product: str, sandbox: Sandbox) -> None:
    headers, body = market.new_key(), market.cart(product)
    first = data_of(await buyer.ask("POST", ORDERS, json=body, headers=headers), 201)
    await market.order_is(buyer, first["id"], "paid")
    assert data_of(await buyer.ask("POST", ORDERS, json=body, headers=headers), 201) == first
    other = market.cart((product, 2))
    refused(await buyer.ask("POST", ORDERS, json=other, headers=headers), 409, "conflict")
    # All at once: one order, whoever waits is told to.
    headers = market.new_key()
    answers = await asyncio.gather(*(buyer.ask("POST", ORDERS, json=body, headers=headers) for _ in range(5)))
    assert {answer.status_code for answer in answers} <= {201, 503}
    [only] = {answer.json()["data"]["id"] for answer in answers if answer.status_code == 201}
    await market.order_is(buyer, only, "paid")


async def test_a_key_is_its_owners(buyer: Person, eve: Person, product: str) -> None:
    headers, body = market.new_key(), market.cart(product)
    mine = data_of(await buyer.ask("POST", ORDERS, json=body, headers=headers), 201)
    hers = data_of(await eve.ask("POST", ORDERS, json=body, headers=headers), 201)
    assert (mine["buyer_id"], hers["buyer_id"]) == (buyer.id, eve.id)
    await market.order_is(buyer, mine["id"], "paid")
    await market.order_is(eve, hers["id"], "paid")


# -- who sees what -------------------------------------------------------------------------------------------------


async def test_an_order_is_its_buyers(
    buyer: Person, seller: Person, eve: Person, admin: Person, product: str, system: Running
) -> None:
    order = await market.buy(buyer, product)
    place, sale = f"{ORDERS}/{order['id']}", f"sell/sales/{order['id']}"
    for path in (place, f"{place}/refunds", f"{place}/invoice", sale):
        assert refused(await system.http.get(path), 401)["code"]
        for stranger in (eve, admin):
            refused(await stranger.ask("GET", path), 404, "order_not_found")
    # The seller sees the sale and not the order, with what it was paid with; the buyer sees no sale.
    for path in (place, f"{place}/invoice"):
        refused(await seller.ask("GET", path), 404, "order_not_found")
    refused(await buyer.ask("GET", sale), 404, "order_not_found")
    for person, path in ((buyer, place), (buyer, f"{place}/refunds"), (seller, f"{place}/refunds"), (seller, sale)):
        await person.call("GET", path)
    for wrong in ("x", str(uuid.uuid4())):
        refused(await buyer.ask("GET", f"{ORDERS}/{wrong}"), 404)
    assert order["payment"]["payment_id"] not in (await seller.ask("GET", "sell/sales")).text
    refused(await system.http.post(ORDERS, json=market.cart(product)), 401)


async def test_of_several_sellers_each_sees_their_own(
    buyer: Person, seller: Person, waiting_seller: Person, product: str
) -> None:
    other = await market.offer(waiting_seller, 1000, title="Theirs")
    order = await market.buy(buyer, product, other)
    for person, wanted, sum_ in ((seller, product, (2999, 300)), (waiting_seller, other, (1000, 100))):
        sold = await person.call("GET", f"sell/sales/{order['id']}")
        assert [item["product_id"] for item in sold["items"]] == [wanted]
        assert (sold["amount_cents"], sold["fee_cents"]) == sum_


async def test_orders_and_sales_in_pages(people: People, product: str) -> None:
    one, shop = await people.register(), await people.register()
    await shop.call("POST", "users/me/creator")
    own = await market.offer(shop, 100)
    made = [await market.order(one, own, method=method) for method in ("card", "card_declined", "card", "card")]
    ids = [order["id"] for order in made][::-1]
    for order, status in zip(made, ("paid", "failed", "paid", "paid"), strict=True):
        await market.order_is(one, order["id"], status)
    every = await one.call("GET", ORDERS)
    assert (every["total"], [order["id"] for order in every["orders"]]) == (4, ids)
    part = await one.call("GET", ORDERS, params={"limit": 2, "offset": 1})
    assert (part["total"], [order["id"] for order in part["orders"]]) == (4, ids[1:3])
    failed = await one.call("GET", ORDERS, params={"status": "failed"})
    assert (failed["total"], failed["orders"][0]["id"]) == (1, made[1]["id"])
    assert await one.call("GET", ORDERS, params={"status": "refunded"}) == {"orders": [], "total": 0}
    assert (await one.call("GET", ORDERS, params={"offset": 10}))["orders"] == []
    sales = await shop.call("GET", "sell/sales", params={"limit": 2, "offset": 1})
    assert (sales["total"], len(sales["sales"])) == (3, 2)
    assert {sale["order_id"] for sale in sales["sales"]} <= set(ids) - {made[1]["id"]}
    for path in (ORDERS, "sell/sales", "sell/transfers"):
        for query in ({"limit": 0}, {"limit": 101}, {"offset": -1}, {"limit": "x"}):
            wrong = refused(await one.ask("GET", path, params=query), 400)
            assert wrong["details"][0]["field"] == next(iter(query))
    assert refused(await one.ask("GET", ORDERS, params={"status": "lost"}), 400)["details"][0]["field"] == "status"


async def test_what_was_bought_is_told(people: People, seller: Person, product: str) -> None:
    one = await people.register()
    async with await one.connect() as buying, await seller.connect() as selling:
        order = await market.buy(one, product)
        paid = await market.heard(buying, "order_paid")
        sold = await market.heard(selling, "sale", order_id=order["id"])
        arrived = await market.heard(selling, "transfer_completed", order_id=order["id"])
    assert paid["data"] == {"order_id": order["id"], "total_cents": 2999, "currency": "EUR"}
    share = {"order_id": order["id"], "amount_cents": 2999, "platform_fee_cents": 300, "currency": "EUR"}
    assert sold["data"] == share
    assert (arrived["data"]["order_id"], arrived["data"]["amount_cents"]) == (order["id"], 2699)
    for person, event in ((one, paid), (seller, sold), (seller, arrived)):
        stored = await market.told(person, event["kind"], order_id=order["id"])
        assert (stored["id"], stored["data"]) == (event["id"], event["data"])
