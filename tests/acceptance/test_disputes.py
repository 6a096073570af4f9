"""Disputes: a bank takes money back, and returns it or does not."""

import uuid
from typing import Any

import pytest
from system import market
from system.books import Books
from system.people import People, Person
from system.running import refused
from system.sandbox import Sandbox
from system.waiting import until

pytestmark = pytest.mark.usefixtures("balanced")


@pytest.fixture
async def shop(people: People) -> Person:
    person = await people.register()
    await person.call("POST", "users/me/creator")
    await market.connect(person)
    return person


async def sold(buyer: Person, shop: Person, price: int = 2999) -> tuple[dict[str, Any], str]:
    """An order that is paid out, and its payment."""
    order = await market.buy(buyer, await market.offer(shop, price))
    await market.transfer_is(shop, order["id"])
    return order, order["payment"]["payment_id"]


async def status_of(books: Books, dispute_id: str) -> Any:
    return await books.value("SELECT status FROM disputes WHERE reference = $1", dispute_id)


async def dispute_is(books: Books, dispute_id: str, status: str) -> None:
    async def look() -> bool:
        return bool(await status_of(books, dispute_id) == status)

    await until(look, f"dispute {dispute_id} to be {status}", market.SOON_S)


async def test_one_that_is_lost(buyer: Person, shop: Person, sandbox: Sandbox, books: Books) -> None:
    order, payment_id = await sold(buyer, shop)
    dispute_id = await sandbox.dispute(payment_id, "opened")
    notice = await market.told(shop, "refund", order_id=order["id"], status="disputed")
    assert notice["data"]["amount_cents"] == 2999
    found = await market.order_is(buyer, order["id"], "refunded")
    assert found["refunded_cents"] == 2999
    await market.transfer_is(shop, order["id"], "reversed")
    await market.balance_is(shop, 0, 0)
    for person in (buyer, shop):
        refused(await market.try_refund(person, order["id"]), 409)
    await sandbox.dispute(payment_id, "lost")
    await dispute_is(books, dispute_id, "lost")
    await market.told(shop, "refund", order_id=order["id"], status="lost")
    assert (await market.order_is(buyer, order["id"], "refunded"))["refunded_cents"] == 2999
    assert await market.balance(shop) == (0, 0)


async def test_one_that_is_won(buyer: Person, shop: Person, sandbox: Sandbox, books: Books) -> None:
    order, payment_id = await sold(buyer, shop)
    await sandbox.dispute(payment_id, "opened")
    await market.transfer_is(shop, order["id"], "reversed")
    await sandbox.dispute(payment_id, "won")
    await market.told(shop, "refund", order_id=order["id"], status="won")
    again = await market.transfer_is(shop, order["id"], "completed", 1)
    assert (again["amount_cents"], again["sent_cents"]) == (2699, 2699)
    found = await market.order_is(buyer, order["id"], "paid")
    assert found["refunded_cents"] == 0
    await market.balance_is(shop, 2699, 0)
    # It can be refunded now, and the new transfer is what is taken back.
    await market.refunded(buyer, order["id"])
    await market.transfer_is(shop, order["id"], "reversed", 1)
    await market.balance_is(shop, 0, 0)


async def test_of_a_part(buyer: Person, shop: Person, sandbox: Sandbox) -> None:
    products = [await market.offer(shop, price) for price in (1000, 500)]
    order = await market.buy(buyer, *products)
    await market.transfer_is(shop, order["id"])
    await sandbox.dispute(order["payment"]["payment_id"], "opened", amount=600)
    found = await market.order_is(buyer, order["id"], "partially_refunded")
    assert found["refunded_cents"] == 600
    await market.balance_is(shop, 1350 - 540, 0)
    # A dispute names no items: what is left of the sum may go back.
    refused(await market.try_refund(buyer, order["id"], items=[products[0]]), 409)
    await market.refunded(buyer, order["id"], items=[products[1]])
    assert (await buyer.call("GET", f"marketplace/orders/{order['id']}"))["refunded_cents"] == 1100
    await market.balance_is(shop, 1350 - 540 - 450, 0)
    await sandbox.dispute(order["payment"]["payment_id"], "won")
    await market.transfer_is(shop, order["id"], "completed", 1)
    await market.balance_is(shop, 900, 0)
    found = await market.order_is(buyer, order["id"], "partially_refunded")
    assert found["refunded_cents"] == 500


async def test_of_what_was_refunded_the_platform_bears_it(
    buyer: Person, shop: Person, sandbox: Sandbox, books: Books
) -> None:
    order, payment_id = await sold(buyer, shop, 1000)
    await market.refunded(buyer, order["id"])
    await market.balance_is(shop, 0, 0)
    dispute_id = await sandbox.dispute(payment_id, "opened")
    await dispute_is(books, dispute_id, "opened")
    query = """
        SELECT e.account, e.amount_cents FROM ledger_entries e JOIN ledger_movements m ON m.id = e.movement_id
        JOIN disputes d ON d.id = m.reference WHERE d.reference = $1 ORDER BY e.account
        """
    assert await books.rows(query, dispute_id) == [("platform_fee", 1000), ("provider", -1000)]
    assert (await market.order_is(buyer, order["id"], "refunded"))["refunded_cents"] == 1000
    assert await market.balance(shop) == (0, 0)
    await sandbox.dispute(payment_id, "won")
    await dispute_is(books, dispute_id, "won")
    assert (await market.order_is(buyer, order["id"], "refunded"))["refunded_cents"] == 1000
    assert await market.balance(shop) == (0, 0)
    assert len(await market.transfers(shop, order["id"])) == 1


async def test_before_the_seller_was_paid(buyer: Person, waiting_seller: Person, sandbox: Sandbox) -> None:
    order = await market.buy(buyer, await market.offer(waiting_seller, 1000))
    before = await market.balance(waiting_seller)
    await sandbox.dispute(order["payment"]["payment_id"], "opened")
    await market.transfer_is(waiting_seller, order["id"], "reversed")
    await market.balance_is(waiting_seller, before[0], before[1] - 900)
    await sandbox.dispute(order["payment"]["payment_id"], "won")
    await market.transfer_is(waiting_seller, order["id"], "pending", 1)
    await market.balance_is(waiting_seller, *before)


async def test_of_several_sellers_each_loses_their_part(
    buyer: Person, shop: Person, waiting_seller: Person, sandbox: Sandbox
) -> None:
    order = await market.buy(buyer, await market.offer(shop, 1000), await market.offer(waiting_seller, 500))
    await market.transfer_is(shop, order["id"])
    _, pending = await market.balance(waiting_seller)
    await sandbox.dispute(order["payment"]["payment_id"], "opened", amount=750)
    await market.balance_is(shop, 450, 0)
    await market.balance_is(waiting_seller, 0, pending - 225)
    await sandbox.dispute(order["payment"]["payment_id"], "lost")
    for person in (shop, waiting_seller):
        notice = await market.told(person, "refund", order_id=order["id"], status="lost")
        assert notice["data"]["amount_cents"] == (500 if person is shop else 250)


async def test_the_decision_before_the_news(buyer: Person, shop: Person, sandbox: Sandbox, books: Books) -> None:
    """Both are told twice, and in the wrong order."""
    order, payment_id = await sold(buyer, shop)
    await sandbox.tell("webhooks/hold")
    dispute_id = await sandbox.dispute(payment_id, "opened")
    await sandbox.dispute(payment_id, "won")
    about = {"payment_id": payment_id, "dispute_id": dispute_id, "amount": "2999", "currency": "EUR"}
    for name in ("dispute_won", "dispute_opened", "dispute_opened", "dispute_won"):
        content = {"type": "dispute_details", "object": about}
        event = {"event_id": f"{name} {dispute_id} {uuid.uuid4()}", "event_type": name, "content": content}
        assert (await sandbox.post(event)).status_code == 200
    await dispute_is(books, dispute_id, "won")
    await sandbox.mend()
    await market.transfer_is(shop, order["id"], "completed", 1)
    await market.balance_is(shop, 2699, 0)
    assert len(await market.transfers(shop, order["id"])) == 2
