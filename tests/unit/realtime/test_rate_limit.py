"""A token bucket gives exactly what it may, whatever the clock does between."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veza.realtime.rate_limit import TokenBucket

rates = st.floats(1, 6000)
steps = st.lists(st.floats(0, 100), max_size=50)


@given(rates, st.integers(1, 20), steps)
def test_never_more_than_burst_and_refill(per_minute: float, burst: int, gaps: list[float]) -> None:
    bucket = TokenBucket(per_minute, burst, 0.0)
    now, granted = 0.0, 0
    for gap in gaps:
        now += gap
        granted += bucket.take(now) == 0.0
        assert granted <= burst + now * per_minute / 60 + 1e-6


@given(rates, st.integers(1, 20), st.floats(0, 1e6))
def test_a_burst_and_then_the_wait_it_names(per_minute: float, burst: int, now: float) -> None:
    bucket = TokenBucket(per_minute, burst, now)
    assert [bucket.take(now) for _ in range(burst)] == [0.0] * burst
    wait = bucket.take(now)
    assert wait == pytest.approx(60 / per_minute)
    assert bucket.take(now + wait * 0.9) == pytest.approx(wait * 0.1, rel=1e-3, abs=1e-6)
    assert bucket.take(now + wait * 1.001 + 1e-6) == 0.0


@given(rates, st.integers(1, 20), st.integers(0, 25))
def test_full_is_as_good_as_new(per_minute: float, burst: int, taken: int) -> None:
    bucket = TokenBucket(per_minute, burst, 0.0)
    assert bucket.full(0.0)
    for _ in range(taken):
        bucket.take(0.0)
    refilled = min(taken, burst) * 60 / per_minute
    assert bucket.full(refilled * 1.001)
    assert not taken or not bucket.full(refilled * 0.99)


@given(rates, st.integers(1, 20))
def test_no_more_than_the_burst_is_saved_up(per_minute: float, burst: int) -> None:
    bucket = TokenBucket(per_minute, burst, 0.0)
    assert [bucket.take(1e5) for _ in range(burst)] == [0.0] * burst
    assert bucket.take(1e5) > 0
