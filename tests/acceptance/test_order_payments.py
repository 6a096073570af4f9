"""What becomes of an order when its payment succeeds, fails, takes its time, or comes too late."""

import asyncio
import uuid
from typing import Any, NamedTuple

import pytest
from system import market
from system.books import Books
from system.people import People, Person
from system.running import refused
from system.sandbox import Sandbox
from system.waiting import until

pytestmark = pytest.mark.usefixtures("balanced")

# Reconciliation looks every ten seconds.
RECONCILED_S = 30.0


@pytest.fixture(scope="module")
async def product(seller: Person) -> str:
    return await market.offer(seller)


async def stock_of(seller: Person, product_id: str) -> Any:
    return (await seller.call("GET", f"marketplace/products/{product_id}"))["stock"]


class Late(NamedTuple):
    """An order that has expired; the provider has its money, and its webhook is withheld."""

    buyer: Person
    product: str
    order: dict[str, Any]

    async def tell(self, sandbox: Sandbox) -> str:
        """Let the webhook go; its event."""
        payment_id = self.order["payment"]["payment_id"]
        found: str = (await sandbox.tell(f"payments/{payment_id}/webhook"))["event_id"]
        return found


@pytest.fixture(scope="module")
async def late(people: People, seller: Person, books: Books) -> list[Late]:
    """Of two pieces, of one, and of a product without an end; all at once, for they are looked for every five
    seconds.
    """
    found = []
    for stock, pieces in ((2, 2), (1, 1), (None, 1)):
        person, product = await people.register(), await market.offer(seller, 1234, stock=stock)
        order = await market.order(person, (product, pieces), method="card_manual")
        assert await stock_of(seller, product) == (stock and 0)
        found.append(Late(person, product, order))
    orders = [uuid.UUID(each.order["id"]) for each in found]
    await books.change("UPDATE orders SET expires_at = now() WHERE id = ANY ($1)", orders)
    for each in found:
        await market.order_is(each.buyer, each.order["id"], "expired")
    return found


async def make_old(books: Books, order: dict[str, Any]) -> None:
    """Nothing was heard of a payment for ten minutes."""
    await books.change(
        "UPDATE payments SET created_at = now() - interval '10 min', asked_at = now() - interval '10 min' "
        "WHERE order_id = $1",
        uuid.UUID(order["id"]),
    )


# -- the magic methods -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "method", ["card", "card_duplicate", "card_reordered", "card_error_after", "card_refund_declined"]
)
async def test_what_pays(buyer: Person, seller: Person, product: str, method: str) -> None:
    order = await market.buy(buyer, product, method=method)
    sent = await market.transfer_is(seller, order["id"])
    assert len(await market.transfers(seller, order["id"])) == 1
    assert sent["sent_cents"] == 2699
    paid = await buyer.call("GET", f"marketplace/orders/{order['id']}")
    assert (paid["status"], paid["payment"]["status"], paid["payment"]["error"]) == ("paid", "succeeded", None)


async def test_a_declined_card(buyer: Person, seller: Person, product: str, books: Books) -> None:
    order = await market.order(buyer, product, method="card_declined")
    failed = await market.order_is(buyer, order["id"], "failed")
    assert failed["payment"]["status"] == "failed"
    assert failed["payment"]["error"]
    assert failed["paid_at"] is None
    assert await market.transfers(seller, order["id"]) == []
    refused(await seller.ask("GET", f"sell/sales/{order['id']}"), 404)
    query = "SELECT count(*) FROM ledger_movements WHERE reference = $1"
    assert await books.value(query, uuid.UUID(order["id"])) == 0


async def test_a_slow_card(buyer: Person, product: str) -> None:
    order = await market.order(buyer, product, method="card_slow")
    assert order["status"] == "pending"
    assert order["payment"]["client_secret"]
    await market.order_is(buyer, order["id"], "paid")


async def test_a_card_whose_webhook_is_withheld(buyer: Person, product: str, sandbox: Sandbox) -> None:
    order = await market.order(buyer, product, method="card_manual")
    payment_id = order["payment"]["payment_id"]
    known = await sandbox.payment(payment_id)
    assert known is not None
    assert (known["status"], known["amount"], known["currency"]) == ("succeeded", 2999, "EUR")
    assert (await buyer.call("GET", f"marketplace/orders/{order['id']}"))["status"] == "pending"
    await sandbox.tell(f"payments/{payment_id}/webhook")
    await market.order_is(buyer, order["id"], "paid")


async def test_what_nobody_knows_is_asked_for(
    buyer: Person, seller: Person, product: str, books: Books, sandbox: Sandbox
) -> None:
    """All at once, for each takes its time: charged without an answer, never charged, and charged without a webhook."""
    rare = await market.offer(seller, 500, stock=2)
    lost = [await market.order(buyer, rare, method="card_error")]
    await sandbox.fault("payments.create", "unavailable")
    lost.append(await market.order(buyer, rare))
    assert [order["status"] for order in lost] == ["pending", "pending"]
    assert await stock_of(seller, rare) == 0
    silent = await market.order(buyer, product, method="card_manual")
    for order in (*lost, silent):
        await make_old(books, order)

    async def unanswered() -> None:
        order = await market.order(buyer, product, method="card_timeout")
        await market.order_is(buyer, order["id"], "paid")

    await asyncio.gather(
        unanswered(),
        market.order_is(buyer, silent["id"], "paid", RECONCILED_S),
        *(market.order_is(buyer, order["id"], "failed", RECONCILED_S) for order in lost),
    )
    assert await stock_of(seller, rare) == 2


async def test_a_provider_that_turns_us_away(buyer: Person, seller: Person, sandbox: Sandbox) -> None:
    rare = await market.offer(seller, stock=1)
    await sandbox.fault("payments.create", "rate_limit")
    headers, body = market.new_key(), market.cart(rare)
    answer = await buyer.ask("POST", "marketplace/orders", json=body, headers=headers)
    refused(answer, 503, "unavailable")
    assert int(answer.headers["retry-after"]) >= 1
    assert await stock_of(seller, rare) == 1
    [failed] = (await buyer.call("GET", "marketplace/orders", params={"limit": 1}))["orders"]
    assert failed["status"] == "failed"
    assert await sandbox.payment(failed["payment"]["payment_id"]) is None
    # The key is good for the same request, which did nothing.
    again = await buyer.call("POST", "marketplace/orders", json=body, headers=headers)
    assert again["id"] != failed["id"]
    await market.order_is(buyer, again["id"], "paid")


async def test_a_provider_that_refuses(buyer: Person, seller: Person, sandbox: Sandbox) -> None:
    rare = await market.offer(seller, stock=1)
    await sandbox.fault("payments.create", "refuse")
    order = await market.order(buyer, rare)
    assert (order["status"], order["payment"]["status"]) == ("failed", "failed")
    # What the provider said is in the log, and no buyer's to read.
    assert order["payment"]["error"] == "The payment provider does not take this payment."
    assert await stock_of(seller, rare) == 1


# -- too late ----------------------------------------------------------------------------------------------------


async def test_late_and_there_are_pieces_it_is_sold(late: list[Late], seller: Person, sandbox: Sandbox) -> None:
    one = late[0]
    assert await stock_of(seller, one.product) == 2
    refused(await market.try_refund(one.buyer, one.order["id"]), 409)
    await one.tell(sandbox)
    await market.order_is(one.buyer, one.order["id"], "paid")
    assert await stock_of(seller, one.product) == 0
    assert (await market.transfer_is(seller, one.order["id"]))["amount_cents"] == 2468 - 247


async def test_late_and_without_an_end_of_stock(late: list[Late], sandbox: Sandbox) -> None:
    await late[2].tell(sandbox)
    await market.order_is(late[2].buyer, late[2].order["id"], "paid")


async def test_a_success_after_a_failure(buyer: Person, seller: Person, sandbox: Sandbox) -> None:
    rare = await market.offer(seller, stock=1)
    order = await market.order(buyer, rare, method="card_manual")
    payment_id = order["payment"]["payment_id"]
    failure = {"event_id": f"early {payment_id}", "event": "payment.failed", "data": {"payment_id": payment_id}}
    assert (await sandbox.post(failure)).status_code == 200
    await market.order_is(buyer, order["id"], "failed")
    assert await stock_of(seller, rare) == 1
    await sandbox.tell(f"payments/{payment_id}/webhook")
    await market.order_is(buyer, order["id"], "paid")
    assert await stock_of(seller, rare) == 0


async def test_too_late_for_the_last_piece_the_money_goes_back(
    late: list[Late], buyer: Person, seller: Person, books: Books, sandbox: Sandbox
) -> None:
    loser, rare, order = late[1]
    payment_id = order["payment"]["payment_id"]
    sold = await market.buy(buyer, rare)
    await late[1].tell(sandbox)

    async def back() -> Any:
        return [each for each in await sandbox.refunds(payment_id) if each["status"] == "succeeded"]

    [made] = await until(back, "the money to go back")
    assert made["amount"] == 1234
    notice = await market.told(loser, "refund", order_id=order["id"])
    assert (notice["data"]["amount_cents"], notice["data"]["status"]) == (1234, "succeeded")
    found = await loser.call("GET", f"marketplace/orders/{order['id']}")
    assert (found["status"], found["payment"]["status"]) == ("expired", "succeeded")
    [shown] = (await loser.call("GET", f"marketplace/orders/{order['id']}/refunds"))["refunds"]
    assert (shown["amount_cents"], shown["status"], shown["items"]) == (1234, "succeeded", [])
    # It was never a sale.
    refused(await loser.ask("GET", f"marketplace/orders/{order['id']}/invoice"), 404)
    refused(await market.try_refund(loser, order["id"]), 409)
    assert await market.transfers(seller, order["id"]) == []
    assert await stock_of(seller, rare) == 0
    assert (await buyer.call("GET", f"marketplace/orders/{sold['id']}"))["status"] == "paid"
    # Told again, nothing is given back twice.
    event_id = await late[1].tell(sandbox)
    assert await books.value("SELECT count(*) FROM webhooks WHERE event_id = $1", event_id) == 1
    assert len(await sandbox.refunds(payment_id)) == 1


async def test_a_failure_after_the_success_changes_nothing(buyer: Person, product: str, sandbox: Sandbox) -> None:
    order = await market.buy(buyer, product)
    payment_id = order["payment"]["payment_id"]
    for name in ("payment.failed", "payment.cancelled", "payment.expired"):
        event = {"event_id": f"{name} {payment_id}", "event": name, "data": {"payment_id": payment_id}}
        assert (await sandbox.post(event)).status_code == 200
    other = await market.buy(buyer, product)
    assert other["status"] == "paid"
    found = await buyer.call("GET", f"marketplace/orders/{order['id']}")
    assert (found["status"], found["payment"]["status"]) == ("paid", "succeeded")
