"""Refunds and reversals whose answers are lost or misleading, and disputes beside them: nobody is paid twice, and each
loss is whose it is.
"""

from collections.abc import AsyncIterator

import asyncpg
import msgspec
import pytest
from gateways import until
from market import Market, Person
from sandboxes import WEBHOOK_SECRET

from veza.realtime.payment_events import sign
from veza.realtime.transfer import FOLLOWS, TransferStatus
from veza.storage import sellers


@pytest.fixture(autouse=True)
async def faults(market: Market) -> AsyncIterator[None]:
    """None of another test's, and all of one's own are met."""
    yield
    met = await market.sandbox.faultless()
    await market.sandbox.ask("DELETE", "/sandbox/faults")
    assert met


@pytest.fixture
async def seller(market: Market) -> Person:
    return await market.seller()


@pytest.fixture
async def buyer(market: Market) -> Person:
    return await market.buyer()


async def bought(market: Market, seller: Person, buyer: Person, *prices: int) -> tuple[str, list[str]]:
    """A paid order of products at these prices, whose transfer has arrived."""
    products = [await seller.offer(price_cents=price) for price in prices]
    order = await buyer.buy(*products)
    await market.status_is(buyer, order, "paid")
    await market.quiet()
    return order, products


async def refund_is(market: Market, buyer: Person, order: str, *wanted: str) -> None:
    """Wait for an order's refunds to have these statuses, oldest first."""

    async def there() -> bool:
        await market.hurry()
        found = (await buyer.call("GET", f"/marketplace/orders/{order}/refunds"))["refunds"]
        return [each["status"] for each in found] == list(wanted)

    await until(there, 30.0)


async def balance(person: Person) -> tuple[int, int]:
    found = await person.call("GET", "/sell/balance")
    return found["available"], found["pending"]


async def proven(market: Market) -> None:
    await market.quiet()
    assert (await market.report()).findings == []


async def test_a_refund_that_is_refused_after_a_lost_answer_was_made(
    market: Market, seller: Person, buyer: Person
) -> None:
    order, _ = await bought(market, seller, buyer, 1000)
    await market.sandbox.ask("POST", "/sandbox/webhooks/hold")
    await market.sandbox.fault("refunds.create", "error_after")
    await market.sandbox.fault("refunds.create", "refuse")
    assert (await buyer.refund(order)).status_code == 200
    await refund_is(market, buyer, order, "succeeded")
    await market.sandbox.ask("POST", "/sandbox/webhooks/release")
    await proven(market)
    assert await balance(seller) == (0, 0)


async def test_a_refund_that_is_refused_and_was_never_made(market: Market, seller: Person, buyer: Person) -> None:
    order, _ = await bought(market, seller, buyer, 1000)
    await market.sandbox.fault("refunds.create", "refuse")
    assert (await buyer.refund(order)).status_code == 200
    await refund_is(market, buyer, order, "failed")
    await proven(market)
    assert await balance(seller) == (900, 0)
    assert (await market.status_is(buyer, order, "paid"))["refunded_cents"] == 0


async def test_an_event_that_does_not_name_its_refund_closes_no_other(
    market: Market, seller: Person, buyer: Person
) -> None:
    order, products = await bought(market, seller, buyer, 500, 500)
    assert (await buyer.refund(order, items=[products[0]])).status_code == 200
    await refund_is(market, buyer, order, "succeeded")
    # The second of the same amount cannot be asked for at the moment, and the first one's event comes once more.
    await market.sandbox.fault("refunds.create", "unavailable", times=None)
    assert (await buyer.refund(order, items=[products[1]])).status_code == 200
    name = (await buyer.call("GET", f"/marketplace/orders/{order}"))["payment"]["payment_id"]
    data = {"payment_id": name, "amount": 500, "currency": "EUR"}
    body = msgspec.json.encode({"event_id": f"again {name}", "event": "refund.succeeded", "data": data})
    answer = await market.gateway.call(
        "POST",
        "/webhooks/hyperswitch",
        content=body,
        headers={"X-Hyperswitch-Signature": sign(body, WEBHOOK_SECRET), "Content-Type": "application/json"},
    )
    assert answer.status_code == 200

    async def worked_off() -> bool:
        status = await market.pool.fetchval("SELECT status FROM webhooks WHERE event_id = $1", f"again {name}")
        return status == "processed"

    await until(worked_off, 20.0)
    await refund_is(market, buyer, order, "succeeded", "pending")
    await market.sandbox.ask("DELETE", "/sandbox/faults")
    await refund_is(market, buyer, order, "succeeded", "succeeded")
    await proven(market)


async def test_a_dispute_beside_a_refund_that_fails_is_the_sellers_loss(
    market: Market, seller: Person, buyer: Person
) -> None:
    order, _ = await bought(market, seller, buyer, 10_000)
    await market.sandbox.fault("refunds.create", "unavailable", times=None)
    assert (await buyer.refund(order)).status_code == 200
    name = (await buyer.call("GET", f"/marketplace/orders/{order}"))["payment"]["payment_id"]
    await market.sandbox.ask("POST", "/sandbox/disputes", {"payment_id": name, "status": "opened"})
    await market.status_is(buyer, order, "refunded")
    await market.sandbox.ask("DELETE", "/sandbox/faults")
    await market.sandbox.fault("refunds.create", "refuse")
    await refund_is(market, buyer, order, "failed")
    await proven(market)
    # The bank has it all: the seller has nothing of it, and the platform no fee.
    assert await balance(seller) == (0, 0)
    assert (await market.status_is(buyer, order, "refunded"))["refunded_cents"] == 10_000
    fee = await market.pool.fetchval(
        "SELECT coalesce(sum(e.amount_cents), 0) FROM ledger_entries e JOIN ledger_movements m ON m.id = e.movement_id "
        "WHERE e.account = 'platform_fee' AND (m.reference = $1::uuid "
        "OR m.reference IN (SELECT id FROM refunds WHERE order_id = $1::uuid) "
        "OR m.reference IN (SELECT id FROM disputes WHERE order_id = $1::uuid))",
        order,
    )
    assert fee == 0


async def test_a_reversal_whose_answers_are_errors_is_made_once(market: Market, seller: Person, buyer: Person) -> None:
    order, _ = await bought(market, seller, buyer, 1000)
    await market.sandbox.fault("reversals.create", "error", times=3)
    await market.sandbox.fault("reversals.create", "error_after")
    assert (await buyer.refund(order)).status_code == 200
    await proven(market)
    assert await balance(seller) == (0, 0)


async def test_a_seller_whose_account_was_closed_waits(market: Market, seller: Person, buyer: Person) -> None:
    product = await seller.offer(price_cents=1000)
    account = await sellers.account(market.pool, seller.id)
    assert account is not None
    # What the provider has done to it, we have not heard of.
    await market.pool.execute(
        "UPDATE seller_accounts SET account_id = $2 WHERE seller_id = $1", seller.id, await unfinished(market)
    )
    order = await buyer.buy(product)
    await market.status_is(buyer, order, "paid")

    async def waits() -> bool:
        found = (await seller.call("GET", "/sell/transfers"))["transfers"]
        connected = (await seller.call("GET", "/sell/balance"))["connected"]
        return not connected and [(each["status"], each["retry_count"]) for each in found] == [("pending", 0)]

    await until(waits, 20.0)
    await sellers.checked(market.pool, account.account_id, details_submitted=True, payouts_enabled=True)
    await market.pool.execute(
        "UPDATE seller_accounts SET account_id = $2 WHERE seller_id = $1", seller.id, account.account_id
    )
    await sellers.checked(market.pool, account.account_id, details_submitted=True, payouts_enabled=True)
    await proven(market)
    assert await balance(seller) == (900, 0)


async def unfinished(market: Market) -> str:
    """An account at the provider that cannot be paid."""
    made = await market.payments.sellers.create_account("another", seller_id="somebody", email="some@example.org")
    return made.account_id


async def test_the_database_knows_what_may_follow_what(market: Market, seller: Person, buyer: Person) -> None:
    order, _ = await bought(market, seller, buyer, 1000)
    for before in TransferStatus:
        for after in TransferStatus:
            async with market.pool.acquire() as connection:
                tried = connection.transaction()
                await tried.start()
                await connection.execute("SET LOCAL session_replication_role = replica")
                change = "UPDATE transfers SET status = $2 WHERE order_id = $1::uuid"
                await connection.execute(change, order, before.value)
                await connection.execute("SET LOCAL session_replication_role = origin")
                try:
                    await connection.execute(change, order, after.value)
                    allowed = True
                except asyncpg.CheckViolationError:
                    allowed = False
                await tried.rollback()
            assert allowed == (before is after or after in FOLLOWS[before]), (before, after)
