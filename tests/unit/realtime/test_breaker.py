"""The circuit breaker."""

from hypothesis import given
from hypothesis import strategies as st

from veza.realtime.breaker import Breaker


def test_it_opens_after_failures_in_a_row_and_closes_with_a_success() -> None:
    breaker = Breaker(failures=3, seconds=2.0)
    breaker.failed(0.0)
    breaker.failed(0.0)
    breaker.succeeded()
    breaker.failed(1.0)
    breaker.failed(1.0)
    assert breaker.closed
    breaker.failed(1.0)
    assert not breaker.closed
    assert breaker.waits(2.0) == 1.0
    assert breaker.waits(3.0) == 0.0
    breaker.succeeded()
    assert breaker.closed


def test_each_try_that_fails_doubles_the_pause_up_to_the_longest() -> None:
    breaker = Breaker(failures=1, seconds=1.0, longest_seconds=4.0)
    now, pauses = 0.0, []
    for _ in range(4):
        breaker.failed(now)
        pauses.append(breaker.waits(now))
        now += breaker.waits(now)
    assert pauses == [1.0, 2.0, 4.0, 4.0]


def test_failures_of_what_was_under_way_do_not_prolong_it() -> None:
    breaker = Breaker(failures=1, seconds=1.0)
    for _ in range(5):
        breaker.failed(0.5)
    assert breaker.waits(0.5) == 1.0


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 10)), max_size=50))
def test_it_is_never_closed_for_longer_than_its_longest(steps: list[tuple[bool, float]]) -> None:
    breaker, now = Breaker(failures=2, seconds=1.0, longest_seconds=8.0), 0.0
    for good, later in steps:
        now += later
        if good:
            breaker.succeeded()
        else:
            breaker.failed(now)
        assert 0.0 <= breaker.waits(now) <= 8.0 + 1e-9
        assert not breaker.closed or breaker.waits(now) == 0.0
