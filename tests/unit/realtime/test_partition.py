"""Partitions: the same everywhere, balanced, and moved only when they must be."""

import subprocess
import sys
from collections import Counter
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from veza.realtime.partition import PARTITIONS, partition_of, plan

names = st.sets(st.sampled_from([f"shard{number}" for number in range(1, 12)]), min_size=1)
holders = st.none() | st.sampled_from([f"shard{number}" for number in range(1, 15)])
maps = st.dictionaries(st.integers(0, PARTITIONS - 1), holders) | st.lists(
    holders, min_size=PARTITIONS, max_size=PARTITIONS
).map(lambda owners: dict(enumerate(owners)))


@given(st.uuids())
def test_a_partition_is_the_last_byte(subject: UUID) -> None:
    assert partition_of(subject) == subject.bytes[-1]


def test_every_process_agrees() -> None:
    subject = UUID("0192f0c1-2b3c-7def-8123-456789abcdef")
    code = f"from uuid import UUID; from veza.realtime.partition import partition_of as p; print(p(UUID('{subject}')))"
    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
            text=True,
        ).stdout.strip()
        for seed in ("1", "2")
    }
    assert found == {str(partition_of(subject))} == {"239"}


def test_nobody_owns_nothing() -> None:
    assert plan({0: "shard1"}, []) == {}


@given(maps, names)
def test_balanced_and_complete(current: dict[int, str | None], owners: set[str]) -> None:
    planned = plan(current, owners)
    assert planned.keys() == set(range(PARTITIONS))
    counts = Counter(planned.values())
    assert set(counts) <= owners
    low, odd = divmod(PARTITIONS, len(owners))
    assert sorted(counts[name] for name in owners) == [low] * (len(owners) - odd) + [low + 1] * odd


@given(maps, names)
def test_as_few_move_as_can_be(current: dict[int, str | None], owners: set[str]) -> None:
    """Each owner can keep its share, and as many as there are odd partitions can keep one more."""
    planned = plan(current, owners)
    held = Counter(owner for owner in current.values() if owner in owners)
    low, odd = divmod(PARTITIONS, len(owners))
    keepable = sum(min(held[name], low) for name in owners) + min(odd, sum(held[name] > low for name in owners))
    assert sum(planned[partition] == owner for partition, owner in current.items()) == keepable


@given(maps, names)
def test_stable(current: dict[int, str | None], owners: set[str]) -> None:
    planned = plan(current, owners)
    assert plan(planned, owners) == planned
    assert plan(current, sorted(owners, reverse=True)) == planned


@given(names, st.data())
def test_a_death_moves_only_what_the_dead_held(owners: set[str], data: st.DataObject) -> None:
    settled = plan({}, owners)
    dead = data.draw(st.sampled_from(sorted(owners)))
    if owners == {dead}:
        return
    after = plan(settled, owners - {dead})
    assert all(after[partition] == owner for partition, owner in settled.items() if owner != dead)


def test_who_has_too_many_gives_up_no_more_than_that() -> None:
    planned = plan(dict.fromkeys(range(PARTITIONS), "shard1"), ["shard1", "shard2", "shard3"])
    assert Counter(planned.values()) == {"shard1": 86, "shard2": 85, "shard3": 85}
