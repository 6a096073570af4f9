"""The provider's own records against ours.

Theirs are read first, ours afterwards; what is under way meanwhile is no finding. What we have and they did not list is
asked for by name.
"""

from collections import Counter
from collections.abc import AsyncIterator
from typing import Any, TypeVar

from veza.storage.database import Connection
from veza.storage.ledger_check.findings import Report
from veza.storage.payments import Payment, Payments, PaymentStatus, Refund, Sent
from veza.storage.refunds import refund_id_of

PAYMENTS = "the provider's payments are ours"
REFUNDS = "the provider's refunds are ours"
TRANSFERS = "the provider's transfers are ours"
BALANCE = "the provider's balance is the ledger's"

T = TypeVar("T")


async def check_provider(pool: Connection, payments: Payments, report: Report, *, balance: bool) -> None:
    """Compare everything. `balance` is for a provider where nothing but our own sales lies, and no fees are taken.

    Raises ProviderError when it cannot be asked.
    """
    held = await payments.sellers.balance() if balance else {}
    taken = await _all(payments.buyers.payments())
    given = await _all(payments.buyers.refunds())
    sent = await _all(payments.sellers.all_sent())
    await _payments(pool, payments, report, taken)
    await _refunds(pool, payments, report, given)
    await _transfers(pool, payments, report, sent)
    if balance:
        await _balance(pool, report, held)


async def _all(found: AsyncIterator[T]) -> list[T]:
    return [each async for each in found]


async def _payments(pool: Connection, payments: Payments, report: Report, listed: list[Payment]) -> None:
    report.checked(PAYMENTS)
    rows = await pool.fetch(
        """
        SELECT p.payment_id, p.status, p.asked_at, o.total_cents, o.currency FROM payments p
        JOIN orders o ON o.id = p.order_id
        """
    )
    ours = {row["payment_id"]: row for row in rows}
    theirs = {each.payment_id: each for each in listed}
    for each in listed:
        row = ours.get(each.payment_id)
        if each.status is not PaymentStatus.SUCCEEDED:
            continue
        if row is None:
            report.add(PAYMENTS, each.payment_id, f"they took {each.amount_cents} {each.currency} for no order of ours")
        elif row["status"] != "succeeded" and row["asked_at"] is None:
            report.add(PAYMENTS, each.payment_id, f"they have the money, and here it is {row['status']}")
        elif row["status"] == "succeeded" and (each.amount_cents, each.currency) != (
            row["total_cents"],
            row["currency"],
        ):
            report.add(
                PAYMENTS,
                each.payment_id,
                f"they took {each.amount_cents} {each.currency}, here it is {row['total_cents']} {row['currency']}",
            )
    for name, row in ours.items():
        if row["status"] == "succeeded":
            found = theirs.get(name) or await payments.buyers.find(name)
            if found is None or found.status is not PaymentStatus.SUCCEEDED:
                report.add(PAYMENTS, name, "here it is paid, and they have no such money")


async def _refunds(pool: Connection, payments: Payments, report: Report, listed: list[Refund]) -> None:
    report.checked(REFUNDS)
    rows = await pool.fetch("SELECT id, status, amount_cents FROM refunds")
    ours = {refund_id_of(row["id"]): row for row in rows}
    theirs = {each.refund_id: each for each in listed}
    for each in listed:
        row = ours.get(each.refund_id)
        if each.status is not PaymentStatus.SUCCEEDED:
            continue
        if row is None:
            report.add(
                REFUNDS, each.refund_id, f"they gave {each.amount_cents} {each.currency} back for nothing of ours"
            )
        elif row["status"] == "failed" or row["amount_cents"] != each.amount_cents:
            report.add(
                REFUNDS,
                each.refund_id,
                f"they gave {each.amount_cents} back, here {row['amount_cents']} {row['status']}",
            )
    for name, row in ours.items():
        if row["status"] == "succeeded":
            found = theirs.get(name) or await payments.buyers.find_refund(name)
            if found is None or found.status is not PaymentStatus.SUCCEEDED:
                report.add(REFUNDS, name, "here it is refunded, and they gave nothing back")


async def _transfers(pool: Connection, payments: Payments, report: Report, listed: list[Sent]) -> None:
    report.checked(TRANSFERS)
    rows = await pool.fetch(
        """
        SELECT t.id::text AS id, t.status, t.provider_id, t.sent_cents, t.reversed_cents, t.currency, t.completed_at,
               EXISTS (SELECT FROM reversals r WHERE r.transfer_id = t.id AND r.status = 'pending') AS reversing
        FROM transfers t
        """
    )
    ours = {row["id"]: row for row in rows}
    theirs = {each.group: each for each in listed}
    for group, count in Counter(each.group for each in listed).items():
        if count > 1:
            report.add(TRANSFERS, group, f"it was sent {count} times")
    for each in listed:
        row = ours.get(each.group)
        if row is None:
            report.add(
                TRANSFERS, each.provider_id, f"they sent {each.amount_cents} {each.currency} for nothing of ours"
            )
        elif row["completed_at"] is None and row["status"] in {"dead", "reversed"}:
            report.add(TRANSFERS, each.group, f"they sent {each.amount_cents}, and here it is {row['status']}")
        elif row["completed_at"] is not None:
            _compare(report, each, row)
    for group, row in ours.items():
        if row["completed_at"] is not None and row["sent_cents"] and group not in theirs:
            found = await payments.sellers.find_sent(group)
            if found is None:
                report.add(TRANSFERS, group, f"here {row['sent_cents']} are sent, and they sent nothing")


def _compare(report: Report, sent: Sent, row: Any) -> None:
    if (sent.provider_id, sent.amount_cents, sent.currency) != (
        row["provider_id"],
        row["sent_cents"],
        row["currency"],
    ):
        report.add(
            TRANSFERS,
            sent.group,
            f"they sent {sent.amount_cents} {sent.currency} as {sent.provider_id}, here it is {row['sent_cents']} "
            f"{row['currency']} as {row['provider_id']}",
        )
    # A reversal that is under way may be there already; one that came since they were asked, here only.
    if sent.reversed_cents > row["reversed_cents"] and not row["reversing"]:
        report.add(TRANSFERS, sent.group, f"they took {sent.reversed_cents} back, here it is {row['reversed_cents']}")


async def _balance(pool: Connection, report: Report, held: dict[str, int]) -> None:
    """Only when nothing is under way: else the two are of different moments."""
    under_way = await pool.fetchval(
        """
        SELECT EXISTS (SELECT FROM payments WHERE asked_at IS NOT NULL AND status <> 'failed')
            OR EXISTS (SELECT FROM refunds WHERE status = 'pending')
            OR EXISTS (SELECT FROM transfers WHERE sent_at IS NOT NULL)
            OR EXISTS (SELECT FROM reversals WHERE sent_at IS NOT NULL)
            OR EXISTS (SELECT FROM webhooks WHERE status IN ('received', 'waiting'))
        """
    )
    if under_way:
        return
    report.checked(BALANCE)
    rows = await pool.fetch(
        """
        SELECT currency, sum(amount_cents)::bigint AS cents FROM ledger_entries
        WHERE account = 'provider' GROUP BY currency
        """
    )
    booked = {row["currency"]: row["cents"] for row in rows}
    for currency in sorted(booked.keys() | held.keys()):
        if booked.get(currency, 0) != held.get(currency, 0):
            report.add(BALANCE, currency, f"{held.get(currency, 0)} lie there, {booked.get(currency, 0)} by the ledger")
