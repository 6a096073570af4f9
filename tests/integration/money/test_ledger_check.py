"""The check of the ledger: silent about books that are right, and loud about each fault that is planted in them."""

from typing import Any

import pytest
from market import Market, Person

from veza.storage import ledger
from veza.storage.ledger_check import Report, check_provider
from veza.storage.ledger_check.books import look
from veza.storage.ledger_check.provider import BALANCE, PAYMENTS, REFUNDS, TRANSFERS


@pytest.fixture(scope="module")
async def history(market: Market) -> Market:
    """A market on which everything has happened that can."""
    one, two, waiting = await market.seller(), await market.seller(), await market.seller(connected=False)
    buyer, other = await market.buyer(), await market.buyer()
    aria, blues = await one.offer(), await two.offer(price_cents=1001)
    single, later = await one.offer(price_cents=5000, stock=1), await waiting.offer(price_cents=777)
    await market.status_is(buyer, await buyer.buy(aria), "paid")
    await market.status_is(buyer, await buyer.buy(later), "paid")
    await market.status_is(buyer, await buyer.buy(aria, method="card_declined"), "failed")
    both = await buyer.buy(aria, blues, quantity=2)
    await market.status_is(buyer, both, "paid")
    await market.quiet()
    assert (await buyer.refund(both, items=[aria])).status_code == 200
    whole = await buyer.buy(blues)
    await market.status_is(buyer, whole, "paid")
    assert (await buyer.refund(whole)).status_code == 200
    await market.status_is(buyer, whole, "refunded")
    await _too_late(market, buyer, other, single)
    disputed = await buyer.buy(aria)
    paid = await market.status_is(buyer, disputed, "paid")
    dispute = {"payment_id": paid["payment"]["payment_id"], "status": "opened"}
    await market.sandbox.ask("POST", "/sandbox/disputes", dispute)
    await market.status_is(buyer, disputed, "refunded")
    await market.quiet()
    return market


async def _too_late(market: Market, buyer: Person, other: Person, single: str) -> None:
    """The last piece is bought by somebody else before a payment comes: it goes back."""
    late = await buyer.buy(single, method="card_manual")
    await market.pool.execute("UPDATE orders SET expires_at = now() WHERE status = 'pending'")
    await market.status_is(buyer, late, "expired")
    await market.status_is(other, await other.buy(single), "paid")
    name = (await buyer.call("GET", f"/marketplace/orders/{late}"))["payment"]["payment_id"]
    await market.sandbox.ask("POST", f"/sandbox/payments/{name}/webhook")


async def test_right_books_are_found_right(history: Market) -> None:
    # Only what is an hour old is closed.
    async with history.pool.acquire() as connection, connection.transaction():
        await connection.execute("SET LOCAL session_replication_role = replica")
        await connection.execute("UPDATE ledger_movements SET created_at = now() - interval '2 hours' WHERE id % 2 = 0")
    assert await ledger.close(history.pool) > 0
    assert await ledger.close(history.pool) == 0
    report = await history.report()
    assert report.findings == []
    assert BALANCE in report.checks
    assert report.clean


ANY_ENTRY = "(SELECT movement_id, position FROM ledger_entries LIMIT 1)"
A_SALE = "(SELECT id FROM ledger_movements WHERE kind = 'sale' LIMIT 1)"
SENT = "(SELECT id FROM transfers WHERE status = 'completed' AND reversed_cents = 0 LIMIT 1)"
UNSENT = "(SELECT id FROM transfers WHERE status = 'pending' LIMIT 1)"
REFUND = "(SELECT id FROM refunds WHERE kind = 'refund' AND status = 'succeeded' LIMIT 1)"
PAID = "(SELECT id FROM orders WHERE status = 'paid' LIMIT 1)"

FAULTS = {
    "an amount is changed": (
        f"UPDATE ledger_entries SET amount_cents = amount_cents + 1 WHERE (movement_id, position) = {ANY_ENTRY}",
        {"movements are balanced", "currencies sum to zero"},
    ),
    "an entry is lost": (
        f"DELETE FROM ledger_entries WHERE (movement_id, position) = {ANY_ENTRY}",
        {"movements are balanced", "currencies sum to zero"},
    ),
    "an entry is in another currency": (
        f"UPDATE ledger_entries SET currency = 'USD' WHERE (movement_id, position) = {ANY_ENTRY}",
        {"movements are balanced", "currencies sum to zero"},
    ),
    "a sale is lost": (
        f"WITH gone AS (DELETE FROM ledger_movements WHERE id = {A_SALE} RETURNING id) "
        "DELETE FROM ledger_entries WHERE movement_id IN (SELECT id FROM gone)",
        {"buyer clearing returns to zero", "orders and their booking agree", "each seller was credited their share"},
    ),
    "a sale is of no order": (
        f"UPDATE ledger_movements SET reference = gen_random_uuid() WHERE id = {A_SALE}",
        {"buyer clearing returns to zero", "orders and their booking agree", "each seller was credited their share"},
    ),
    "the fee went to a seller": (
        f"UPDATE ledger_entries SET account = 'seller_payable', seller_id = (SELECT id FROM users LIMIT 1) "
        f"WHERE account = 'platform_fee' AND movement_id = {A_SALE}",
        {"orders and their booking agree", "each seller was credited their share"},
    ),
    "one seller has another's share": (
        f"UPDATE ledger_entries SET seller_id = (SELECT buyer_id FROM orders LIMIT 1) "
        f"WHERE account = 'seller_payable' AND movement_id = {A_SALE}",
        {"each seller was credited their share", "sellers are owed what is on its way to them"},
    ),
    "a failed order is called paid": (
        "UPDATE orders SET status = 'paid', paid_at = now() WHERE status = 'failed'",
        {"orders and their booking agree", "invoices are without a gap"},
    ),
    "a paid order is called failed": (
        f"UPDATE orders SET status = 'failed', paid_at = NULL WHERE id = {PAID}",
        {"orders and their booking agree"},
    ),
    "a total is changed": (
        f"UPDATE orders SET total_cents = total_cents + 1 WHERE id = {PAID}",
        {"orders and their booking agree", "items and shares sum to their order"},
    ),
    "a price is changed": (
        f"UPDATE order_items SET unit_cents = unit_cents - 1 WHERE order_id = {PAID}",
        {"items and shares sum to their order"},
    ),
    "a refund is larger than its booking": (
        f"UPDATE refunds SET amount_cents = amount_cents + 1 WHERE id = {REFUND}",
        {"refunds and their booking agree", "no more goes back than was charged", REFUNDS},
    ),
    "a refund is called failed": (
        f"UPDATE refunds SET status = 'failed' WHERE id = {REFUND}",
        {"refunds and their booking agree", "no more goes back than was charged", REFUNDS},
    ),
    "what goes back is not counted": (
        "UPDATE orders SET returned_cents = 0 WHERE returned_cents > 0",
        {"no more goes back than was charged"},
    ),
    "a refunded order is called paid": (
        "UPDATE orders SET status = 'paid' WHERE status = 'refunded'",
        {"no more goes back than was charged"},
    ),
    "a transfer is lost": (
        f"DELETE FROM transfers WHERE id = {UNSENT}",
        {"every share sold has its transfer", "sellers are owed what is on its way to them"},
    ),
    "a transfer is less than the share": (
        f"UPDATE transfers SET amount_cents = amount_cents - 1 WHERE id = {UNSENT}",
        {"every share sold has its transfer", "sellers are owed what is on its way to them"},
    ),
    "a part of a transfer is kept for nothing": (
        f"UPDATE transfers SET returned_cents = 1 WHERE id = {UNSENT}",
        {"sellers are owed what is on its way to them"},
    ),
    "a transfer is called sent": (
        "UPDATE transfers SET status = 'completed', completed_at = now(), sent_cents = amount_cents "
        f"WHERE id = {UNSENT}",
        {"transfers and their booking agree", "sellers are owed what is on its way to them", TRANSFERS},
    ),
    "a transfer brought less than is booked": (
        f"UPDATE transfers SET sent_cents = sent_cents - 1 WHERE id = {SENT}",
        {"transfers and their booking agree", TRANSFERS},
    ),
    "a transfer is another at the provider": (
        f"UPDATE transfers SET provider_id = 'tr_other' WHERE id = {SENT}",
        {TRANSFERS},
    ),
    "a reversal is lost": (
        "DELETE FROM reversals WHERE status = 'completed'",
        {"reversals and their booking agree"},
    ),
    "a reversal is not counted": (
        "UPDATE transfers SET reversed_cents = 0 WHERE reversed_cents > 0",
        {"reversals and their booking agree", TRANSFERS},
    ),
    "a closed balance is another": (
        "UPDATE ledger_closings SET cents = cents + 1",
        {"closed balances are the sums of what they close"},
    ),
    "an invoice is lost": (
        "DELETE FROM invoices WHERE refund_id IS NULL AND number = (SELECT min(number) FROM invoices)",
        {"invoices are without a gap"},
    ),
    "a number was given to nothing": (
        "UPDATE invoice_numbers SET last = last + 1",
        {"invoices are without a gap"},
    ),
    "a payment was of another amount": (
        "UPDATE payments SET alert = 'the provider took 1 EUR for 2 EUR' WHERE status = 'failed'",
        {"nothing waits for a person"},
    ),
    "money was taken, and here it failed": (
        f"UPDATE payments SET status = 'failed', received_at = NULL, asked_at = NULL WHERE order_id = {PAID}",
        {"orders and their booking agree", PAYMENTS},
    ),
    "a payment is not at the provider": (
        f"UPDATE payments SET payment_id = 'pay_of_nobody' WHERE order_id = {PAID}",
        {PAYMENTS},
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_planted_fault_is_found(history: Market, fault: str) -> None:
    statement, expected = FAULTS[fault]
    async with history.pool.acquire() as connection:
        planted = connection.transaction()
        await planted.start()
        try:
            # As somebody would who has the database in their hands: past its rules.
            await connection.execute("SET LOCAL session_replication_role = replica")
            done = await connection.execute(statement)
            assert not done.endswith(" 0"), "there was nothing to plant it in"
            report = await _all(history, connection)
        finally:
            await planted.rollback()
    assert {finding.check for finding in report.findings} >= expected, report.findings


async def _all(market: Market, connection: Any) -> Report:
    report = Report()
    await look(connection, report)
    await check_provider(connection, market.payments, report, balance=True)
    return report


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE ledger_entries SET amount_cents = 1",
        "DELETE FROM ledger_movements",
        "TRUNCATE ledger_movements, ledger_entries",
        "UPDATE invoices SET year = 2000",
        "WITH m AS (INSERT INTO ledger_movements (kind, reference, currency) "
        "VALUES ('payment', gen_random_uuid(), 'EUR') RETURNING id) "
        "INSERT INTO ledger_entries SELECT id, 0, 'provider', NULL, 'EUR', 5 FROM m",
        "INSERT INTO ledger_movements (kind, reference, currency) VALUES ('payment', gen_random_uuid(), 'EUR')",
        "INSERT INTO ledger_movements (kind, reference, currency) "
        "SELECT kind, reference, currency FROM ledger_movements LIMIT 1",
        "UPDATE transfers SET status = 'pending' WHERE status = 'completed'",
        "UPDATE orders SET returned_cents = total_cents + 1",
    ],
)
async def test_the_database_itself_refuses_it(history: Market, statement: str) -> None:
    with pytest.raises(Exception, match=r"only ever added to|not balanced|once|does not become|check"):
        await history.pool.execute(statement)


# -- last, for they cannot be taken back: faults at the provider ---------------------------------------------------


async def test_a_transfer_that_was_sent_twice_is_found(history: Market) -> None:
    row = await history.pool.fetchrow(
        "SELECT t.id::text, a.account_id FROM transfers t JOIN seller_accounts a USING (seller_id) "
        "WHERE t.status = 'completed' LIMIT 1"
    )
    await history.payments.sellers.send(
        "somebody else's",
        account_id=row["account_id"],
        amount_cents=5,
        currency="EUR",
        group=row["id"],
        metadata={},
    )
    report = await history.report()
    assert {finding.check for finding in report.findings} == {TRANSFERS, BALANCE}
    assert any("sent 2 times" in finding.message for finding in report.findings)


async def test_a_payment_that_is_nobodys_is_found(history: Market) -> None:
    await history.sandbox.pay("pay_nobodys", 1234)
    report = await history.report()
    assert "pay_nobodys" in {finding.subject for finding in report.findings if finding.check == PAYMENTS}
