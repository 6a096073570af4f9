"""Whatever happens to an order, its entries sum to zero and what it passed through is empty again."""

from collections import Counter
from decimal import Decimal
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veza.realtime import ledger
from veza.realtime.ledger import Account, Entry, Kind, Movement
from veza.realtime.money import Share, fee_of

ID = UUID(int=9)
# What a movement passes through on its way, and must leave empty.
CLEARING = frozenset({Account.BUYER_CLEARING, Account.REFUNDS})
Balances = Counter[tuple[Account, UUID | None]]
parts = st.lists(st.integers(1, 1_000_000), min_size=1, max_size=4).map(
    lambda amounts: tuple(Share(UUID(int=n), cents, fee_of(cents, Decimal("0.1"))) for n, cents in enumerate(amounts))
)


def book(*movements: Movement) -> Balances:
    balances: Balances = Counter()
    for movement in movements:
        for entry in movement.entries:
            balances[entry.account, entry.seller_id] += entry.amount_cents
    return balances


def paid(shares: tuple[Share, ...]) -> list[Movement]:
    return [ledger.payment(ID, "EUR", total(shares)), ledger.sale(ID, "EUR", shares)]


def total(shares: tuple[Share, ...]) -> int:
    return sum(share.amount_cents for share in shares)


def cleared(balances: Balances) -> bool:
    return not any(amount for (account, _), amount in balances.items() if account in CLEARING)


@given(parts)
def test_a_sale_owes_each_seller_their_share(shares: tuple[Share, ...]) -> None:
    balances = book(*paid(shares))
    assert balances[Account.PROVIDER, None] == total(shares)
    assert balances[Account.PLATFORM_FEE, None] == -sum(share.fee_cents for share in shares)
    assert all(balances[Account.SELLER_PAYABLE, share.seller_id] == -share.net_cents for share in shares)
    assert cleared(balances)
    assert not balances.total()


@given(parts)
def test_after_transfers_the_fee_is_what_lies_at_the_provider(shares: tuple[Share, ...]) -> None:
    transfers = [ledger.transfer(ID, "EUR", share.seller_id, share.net_cents) for share in shares]
    balances = book(*paid(shares), *transfers)
    assert balances[Account.PROVIDER, None] == sum(share.fee_cents for share in shares)
    assert not any(balances[Account.SELLER_PAYABLE, share.seller_id] for share in shares)


@given(parts)
def test_what_is_undone_leaves_nothing(shares: tuple[Share, ...]) -> None:
    amount = total(shares)
    refunded = [ledger.refund_owed(ID, "EUR", shares), ledger.refund_paid(ID, "EUR", amount)]
    given_back = [ledger.payment(ID, "EUR", amount), ledger.give_back(ID, "EUR", amount)]
    for movements in ([*paid(shares), *refunded], given_back, [*paid(shares), ledger.dispute(ID, "EUR", shares)]):
        assert not any(book(*movements).values())


@given(parts)
def test_a_refund_that_failed_and_a_dispute_that_was_won_leave_the_sale(shares: tuple[Share, ...]) -> None:
    sale = book(*paid(shares))
    failed = [ledger.refund_owed(ID, "EUR", shares), ledger.refund_failed(ID, "EUR", shares)]
    won = [ledger.dispute(ID, "EUR", shares), ledger.dispute_won(ID, "EUR", shares)]
    for movements in (failed, won):
        assert +book(*paid(shares), *movements) == +sale
        assert -book(*paid(shares), *movements) == -sale


def test_a_reversal_undoes_a_transfer() -> None:
    there = ledger.transfer(ID, "EUR", UUID(int=1), 2699)
    back = ledger.reversal(ID, "EUR", UUID(int=1), 2699)
    assert not any(book(there, back).values())


@pytest.mark.parametrize(
    "entries",
    [
        (Entry(Account.PROVIDER, 1),),
        (Entry(Account.PROVIDER, 1), Entry(Account.SELLER_PAYABLE, -1)),
        (Entry(Account.PROVIDER, 1, ID), Entry(Account.PLATFORM_FEE, -1)),
    ],
)
def test_no_movement_that_is_not_balanced_or_owned(entries: tuple[Entry, ...]) -> None:
    with pytest.raises(ValueError, match="a payment"):
        Movement(Kind.PAYMENT, ID, "EUR", entries)
