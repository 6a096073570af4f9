"""Refunds of an order, one after another and in any order, give back all of it and no more."""

from collections import Counter
from collections.abc import Collection
from decimal import Decimal
from random import Random
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veza.errors import Conflict, InvalidArgument
from veza.realtime.money import Line, shares
from veza.realtime.refund import Before, Plan, plan

RATE = Decimal("0.1")
ANN, BEN = UUID(int=1), UUID(int=2)
ONE, TWO, THREE = (UUID(int=n) for n in (11, 12, 13))
ORDER = [Line(ONE, ANN, 1005, 1), Line(TWO, BEN, 2999, 1), Line(THREE, ANN, 333, 3)]

orders = st.lists(
    st.tuples(st.sampled_from([ANN, BEN]), st.integers(1, 100_000), st.integers(1, 5)), min_size=1, max_size=6
).map(lambda rows: [Line(UUID(int=n), *row) for n, row in enumerate(rows, 100)])


def refund(before: Before, wanted: Collection[UUID] | None, seller: UUID | None = None) -> Plan:
    return plan(ORDER, shares(ORDER, RATE), before, wanted, seller)


def held(before: Before, done: Plan) -> Before:
    cents = Counter(before.cents)
    for share in done.shares:
        cents[share.seller_id] += share.amount_cents
    items = before.items | {line.item_id for line in done.items}
    return Before(items, cents)


@given(orders, st.randoms())
def test_item_by_item_comes_to_the_same_as_at_once(order: list[Line], random: Random) -> None:
    whole, before, fees = shares(order, RATE), Before(), Counter[UUID]()
    items = [line.item_id for line in order]
    random.shuffle(items)
    for item in items:
        part = plan(order, whole, before, [item])
        for share in part.shares:
            fees[share.seller_id] += share.fee_cents
        before = held(before, part)
    assert sum(before.cents.values()) == sum(line.amount_cents for line in order)
    assert all(fees[share.seller_id] == share.fee_cents for share in whole)
    assert plan(order, whole, Before(), None).shares == whole
    with pytest.raises(Conflict):
        plan(order, whole, before, None)


def test_all_that_is_left_goes_back_without_naming_it() -> None:
    left = refund(held(Before(), refund(Before(), [TWO])), None)
    assert {line.item_id for line in left.items} == {ONE, THREE}
    assert left.amount_cents == 1005 + 999


def test_a_seller_refunds_only_their_own() -> None:
    assert {line.item_id for line in refund(Before(), None, ANN).items} == {ONE, THREE}
    with pytest.raises(InvalidArgument):
        refund(Before(), [TWO], ANN)


@pytest.mark.parametrize("wanted", [[], [UUID(int=99)], [ONE, UUID(int=99)]])
def test_only_items_of_the_order_can_be_named(wanted: list[UUID]) -> None:
    with pytest.raises(InvalidArgument):
        refund(Before(), wanted)


def test_an_item_goes_back_once() -> None:
    before = held(Before(), refund(Before(), [ONE]))
    with pytest.raises(Conflict):
        refund(before, [ONE, TWO])


def test_what_is_disputed_is_not_refunded_too() -> None:
    with pytest.raises(Conflict, match="dispute"):
        refund(Before(cents={ANN: 1001, BEN: 2999}), [TWO])
    assert refund(Before(cents={ANN: 2000}), [TWO]).amount_cents == 2999


def test_a_dispute_of_another_sellers_share_leaves_room_for_no_more_of_ones_own() -> None:
    # The order as a whole had room for it: what each seller got is what bounds their refunds.
    with pytest.raises(Conflict, match="dispute"):
        refund(Before(cents={ANN: 1000, BEN: 1000}), [TWO])
    assert refund(Before(cents={ANN: 1000, BEN: 1000}), [THREE]).amount_cents == 999
