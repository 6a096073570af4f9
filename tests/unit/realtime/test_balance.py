"""Hot partitions: exchanged for quiet ones, a few at a time, and never back and forth."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from veza.realtime.balance import BUSY, ENOUGH, EXCHANGES, TOO_MUCH, exchanges
from veza.realtime.partition import PARTITIONS, plan

Owners = dict[int, str]
Rates = dict[int, float]

shards = st.integers(2, 8).map(lambda count: [f"shard{number}" for number in range(count)])
# Most rooms are quiet, some are busy, a few are as busy as all others together.
some_rates = st.dictionaries(
    st.integers(0, PARTITIONS - 1), st.floats(0, 20) | st.floats(20, 300) | st.floats(300, 5000), max_size=60
)


def loads(owners: Owners, rates: Rates) -> dict[str, float]:
    found = dict.fromkeys(owners.values(), 0.0)
    for partition, owner in owners.items():
        found[owner] += rates.get(partition, 0.0)
    return found


def squares(owners: Owners, rates: Rates) -> float:
    return sum(load * load for load in loads(owners, rates).values())


def settle(owners: Owners, rates: Rates) -> tuple[Owners, int]:
    """Plan and move until there is nothing to move; how often that was."""
    for count in range(200):
        moved = exchanges(owners, rates)
        if not moved:
            return owners, count
        owners = owners | moved
    raise AssertionError("it never ends")


@given(shards, some_rates)
def test_nothing_goes_in_circles(names: list[str], rates: Rates) -> None:
    """What the loads differ by shrinks with each plan, so no arrangement comes twice."""
    owners = plan({}, names)
    for _ in range(200):
        moved = exchanges(owners, rates)
        if not moved:
            return
        after = owners | moved
        assert squares(after, rates) < squares(owners, rates)
        assert max(loads(after, rates).values()) <= max(loads(owners, rates).values()) * (1 + 1e-9)
        owners = after
    raise AssertionError("it never ends")


@given(shards, some_rates)
def test_few_moves_and_counts_stay(names: list[str], rates: Rates) -> None:
    owners = plan({}, names)
    moved = exchanges(owners, rates)
    assert len(moved) <= 2 * EXCHANGES
    assert all(owners[partition] != owner for partition, owner in moved.items())
    assert Counter((owners | moved).values()) == Counter(owners.values())
    # So the plan for counts has nothing to undo.
    assert plan(owners | moved, names) == owners | moved


@given(shards, some_rates)
def test_within_bounds_nothing_moves(names: list[str], rates: Rates) -> None:
    owners = plan({}, names)
    found = loads(owners, rates)
    mean = sum(found.values()) / len(found)
    if max(found.values()) < max(BUSY, TOO_MUCH * mean):
        assert exchanges(owners, rates) == {}


@given(shards, some_rates, st.data())
def test_small_changes_move_nothing_that_has_settled(names: list[str], rates: Rates, data: st.DataObject) -> None:
    owners, _ = settle(plan({}, names), rates)
    found = loads(owners, rates)
    if max(found.values()) > ENOUGH * sum(found.values()) / len(found):
        return  # one partition is the whole load: it cannot be settled better
    wobble = data.draw(st.lists(st.floats(0.95, 1.05), min_size=PARTITIONS, max_size=PARTITIONS))
    assert exchanges(owners, {partition: rate * wobble[partition] for partition, rate in rates.items()}) == {}


@given(shards, some_rates, st.sets(st.integers(0, PARTITIONS - 1)))
def test_what_moved_lately_rests(names: list[str], rates: Rates, resting: set[int]) -> None:
    assert not exchanges(plan({}, names), rates, resting).keys() & resting


@given(shards)
def test_many_busy_partitions_of_one_shard_are_spread(names: list[str]) -> None:
    owners = plan({}, names)
    rates = {partition: 100.0 for partition, owner in owners.items() if owner == names[0]}
    settled, _ = settle(owners, rates)
    found = loads(settled, rates).values()
    assert max(found) <= TOO_MUCH * sum(found) / len(names)


def test_one_busy_partition_stays_and_its_neighbours_leave() -> None:
    owners = plan({}, ["a", "b"])
    mine = [partition for partition, owner in owners.items() if owner == "a"]
    rates = {mine[0]: 1000.0, **dict.fromkeys(mine[1:5], 60.0)}
    settled, _ = settle(owners, rates)
    assert settled[mine[0]] == "a"
    assert [settled[partition] for partition in mine[1:5]] == ["b"] * 4


def test_idle_shards_are_left_alone() -> None:
    owners = plan({}, ["a", "b"])
    rates = {partition: 1.0 for partition, owner in list(owners.items())[:90] if owner == "a"}
    assert exchanges(owners, rates) == {}
    assert exchanges({}, {}) == {}
