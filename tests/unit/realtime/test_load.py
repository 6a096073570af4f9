"""The load of partitions: a rate that follows what happens, and forgets."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veza.realtime import commands as c
from veza.realtime.load import HALF_LIFE_S, LoadMeter, subject_of
from veza.realtime.partition import partition_of

ROOM = UUID("0192f0c1-2b3c-7def-8123-456789abcdef")
USER = UUID("0192f0c1-2b3c-7def-8123-4567894711aa")


def metered() -> LoadMeter:
    """A meter that was read at 0."""
    meter = LoadMeter()
    assert meter.rates(0.0) == {}
    return meter


def typing(count: int) -> list[tuple[str, c.ShardCommand]]:
    return [("gateway", c.Unsubscribe(ROOM))] * count


def test_a_steady_rate_is_learned() -> None:
    meter = metered()
    for second in range(1, 101):
        meter.took(typing(40))
        found = meter.rates(float(second))
    assert found == {partition_of(ROOM): pytest.approx(40.0, rel=0.01)}


def test_it_halves_with_each_half_life_of_silence() -> None:
    meter = metered()
    for second in range(1, 101):
        meter.took(typing(64))
        meter.rates(float(second))
    assert meter.rates(100 + HALF_LIFE_S)[partition_of(ROOM)] == pytest.approx(32.0, rel=0.01)
    assert meter.rates(100 + 20 * HALF_LIFE_S) == {}


@given(st.lists(st.tuples(st.integers(0, 100), st.floats(0.0, 5.0)), max_size=30))
def test_never_above_what_came_or_below_nothing(story: list[tuple[int, float]]) -> None:
    """Whatever the pauses between readings, also none at all."""
    meter = metered()
    now, most = 0.0, 0.0
    since, counted = 0.0, 0
    for count, pause in story:
        meter.took(typing(count))
        now += pause
        counted += count
        if now - since >= 0.05:
            most, since, counted = max(most, counted / (now - since)), now, 0
        assert all(0 <= rate <= most + 0.01 for rate in meter.rates(now).values())


def test_a_partition_that_was_given_away_is_forgotten() -> None:
    meter = metered()
    meter.took(typing(100))
    meter.rates(1.0)
    meter.took(typing(100))
    meter.forget([partition_of(ROOM)])
    assert meter.rates(2.0) == {}


def test_what_a_command_is_about() -> None:
    assert subject_of(c.Unsubscribe(ROOM)) == ROOM
    assert subject_of(c.Attend(USER, 1, "online", False)) == USER
    assert subject_of(c.GetPresence(1, [USER])) is None
