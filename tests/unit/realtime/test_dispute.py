"""Disputes: whose loss it is, whatever was refunded before."""

from decimal import Decimal
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from veza.realtime import ledger
from veza.realtime.dispute import given_up
from veza.realtime.money import Share, fee_of

SELLERS = [UUID(int=n) for n in range(1, 5)]


@st.composite
def cases(draw: st.DrawFn) -> tuple[tuple[Share, ...], dict[UUID, int], int]:
    amounts = draw(st.lists(st.integers(1, 10_000), min_size=1, max_size=4))
    shares = tuple(Share(SELLERS[i], amount, fee_of(amount, Decimal("0.1"))) for i, amount in enumerate(amounts))
    before = {share.seller_id: draw(st.integers(0, share.amount_cents + 50)) for share in shares}
    return shares, before, draw(st.integers(1, 20_000))


@given(cases())
def test_all_of_it_is_somebodys_and_no_seller_loses_more_than_they_had(
    case: tuple[tuple[Share, ...], dict[UUID, int], int],
) -> None:
    shares, before, amount = case
    lost = given_up(shares, before, amount)
    assert sum(share.amount_cents for share in lost) == amount
    had = {share.seller_id: share for share in shares}
    for share in lost:
        assert 0 <= share.net_cents <= max(0, had[share.seller_id].amount_cents - before[share.seller_id])
    assert sum(entry.amount_cents for entry in ledger.dispute(UUID(int=9), "EUR", lost).entries) == 0


def test_a_part_is_spread_in_proportion() -> None:
    shares = (Share(SELLERS[0], 1000, 100), Share(SELLERS[1], 3000, 300))
    assert given_up(shares, {}, 400) == (Share(SELLERS[0], 100, 10), Share(SELLERS[1], 300, 30))


def test_what_was_refunded_before_is_the_platforms_loss() -> None:
    shares = (Share(SELLERS[0], 1000, 100),)
    assert given_up(shares, {SELLERS[0]: 1000}, 1000) == (Share(SELLERS[0], 1000, 1000),)
