"""Whatever comes of a payment, early, late or twice, leaves the order in one legal state and books it once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veza.realtime import order
from veza.realtime.order import OrderStatus, Verdict

UNPAID = [OrderStatus.PENDING, OrderStatus.FAILED, OrderStatus.EXPIRED]


@pytest.mark.parametrize("status", UNPAID)
def test_a_success_sells_however_late_it_comes(status: OrderStatus) -> None:
    assert order.on_success(status, received=False, as_charged=True, in_stock=True) is Verdict.SELL


@pytest.mark.parametrize("status", UNPAID)
def test_money_that_buys_nothing_goes_back(status: OrderStatus) -> None:
    assert order.on_success(status, received=False, as_charged=True, in_stock=False) is Verdict.GIVE_BACK


@pytest.mark.parametrize("status", UNPAID)
@pytest.mark.parametrize("in_stock", [True, False])
def test_another_amount_pays_nothing_and_calls_for_a_person(status: OrderStatus, in_stock: bool) -> None:
    assert order.on_success(status, received=False, as_charged=False, in_stock=in_stock) is Verdict.ALERT


@pytest.mark.parametrize("status", list(OrderStatus))
@pytest.mark.parametrize("as_charged", [True, False])
def test_a_success_that_was_booked_does_nothing_again(status: OrderStatus, as_charged: bool) -> None:
    assert order.on_success(status, received=True, as_charged=as_charged, in_stock=True) is Verdict.IGNORE


@pytest.mark.parametrize("status", list(order.BOUGHT))
def test_a_bought_order_is_not_sold_again(status: OrderStatus) -> None:
    assert order.on_success(status, received=False, as_charged=True, in_stock=True) is Verdict.IGNORE


@pytest.mark.parametrize("status", list(OrderStatus))
def test_a_failure_ends_what_is_pending_only(status: OrderStatus) -> None:
    assert (order.on_failure(status) is Verdict.FAIL) == (status is OrderStatus.PENDING)


@given(st.integers(1, 1_000_000), st.data())
def test_the_status_after_refunds(charged: int, data: st.DataObject) -> None:
    returned = data.draw(st.integers(0, charged))
    status = order.after_refunds(charged, returned)
    assert (status is OrderStatus.PAID) == (returned == 0)
    assert (status is OrderStatus.REFUNDED) == (returned == charged)
    assert status in order.BOUGHT


@pytest.mark.parametrize("returned", [-1, 101])
def test_no_more_goes_back_than_was_charged(returned: int) -> None:
    with pytest.raises(ValueError, match="went back"):
        order.after_refunds(100, returned)
