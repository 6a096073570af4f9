"""A sale is split to the cent, and comes back to the cent."""

from decimal import Decimal
from itertools import pairwise
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veza.errors import InvalidArgument
from veza.realtime.money import CURRENCIES, Line, Share, currency, fee_back, fee_of, shares

amounts = st.integers(0, 10_000_000)
rates = st.decimals(0, 1, places=4)
lines = st.lists(
    st.builds(
        Line,
        item_id=st.uuids(),
        seller_id=st.integers(0, 3).map(lambda n: UUID(int=n)),
        unit_cents=st.integers(0, 1_000_000),
        quantity=st.integers(1, 10),
    ),
    max_size=12,
)


@pytest.mark.parametrize(
    ("amount", "rate", "fee"),
    [(2999, "0.10", 300), (5, "0.10", 1), (4, "0.10", 0), (15, "0.10", 2), (0, "0.10", 0), (999, "0", 0), (7, "1", 7)],
)
def test_the_fee_is_rounded_half_up(amount: int, rate: str, fee: int) -> None:
    assert fee_of(amount, Decimal(rate)) == fee


@pytest.mark.parametrize(("amount", "rate"), [(-1, "0.1"), (1, "-0.1"), (1, "1.1")])
def test_no_fee_of_what_cannot_be(amount: int, rate: str) -> None:
    with pytest.raises(ValueError, match="no fee"):
        fee_of(amount, Decimal(rate))


@given(lines, rates)
def test_shares_sum_to_what_the_buyer_pays(order: list[Line], rate: Decimal) -> None:
    parts = shares(order, rate)
    assert sum(part.fee_cents + part.net_cents for part in parts) == sum(line.amount_cents for line in order)
    assert [part.seller_id for part in parts] == list(dict.fromkeys(line.seller_id for line in order))
    for part in parts:
        own = sum(line.amount_cents for line in order if line.seller_id == part.seller_id)
        assert (part.amount_cents, part.fee_cents) == (own, fee_of(own, rate))
        assert part.net_cents >= 0


@given(amounts, rates, st.lists(st.integers(0, 10_000_000), max_size=8))
def test_refunds_give_back_the_whole_fee_however_they_are_cut(amount: int, rate: Decimal, cuts: list[int]) -> None:
    share = Share(UUID(int=1), amount, fee_of(amount, rate))
    at = [0, *sorted(min(cut, amount) for cut in cuts), amount]
    fees = [fee_back(share, before, after - before) for before, after in pairwise(at)]
    assert sum(fees) == share.fee_cents
    assert all(0 <= fee <= after - before for fee, (before, after) in zip(fees, pairwise(at), strict=True))


@pytest.mark.parametrize(("before", "amount"), [(0, 101), (60, 41), (-1, 1), (5, -1)])
def test_no_more_goes_back_than_came_in(before: int, amount: int) -> None:
    with pytest.raises(ValueError, match="cannot go back"):
        fee_back(Share(UUID(int=1), 100, 10), before, amount)


def test_currencies_are_those_that_people_pay_with() -> None:
    assert {"EUR", "USD", "GBP", "JPY", "CHF", "XOF", "KWD", "XCG"} <= CURRENCIES
    # Metals, funds, what is for tests or no currency, and what is no more.
    assert not CURRENCIES & {"XAU", "XDR", "CHE", "USN", "XTS", "XXX", "DEM", "HRK", "BGN", "ANG", "ZWL"}
    assert all(len(code) == 3 and code.isascii() and code.isupper() for code in CURRENCIES)


@pytest.mark.parametrize("code", ["EUR", "eur", "eUr"])
def test_a_currency_in_any_case(code: str) -> None:
    assert currency(code) == "EUR"


@given(st.text(max_size=4))
def test_what_is_no_currency_is_refused_by_name(code: str) -> None:
    if code.upper() in CURRENCIES:
        assert currency(code) in CURRENCIES
        return
    with pytest.raises(InvalidArgument) as refused:
        currency(code)
    assert [field for field, _ in refused.value.details] == ["currency"]
