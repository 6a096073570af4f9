"""Where the only actor of its kind runs, and how many a node has of the others."""

import pytest

from veza.actors.kinds import INGEST, LIMITER, PROCESSOR, RUNNER, SHARD, STREAM_SHARD, gateway_kind, seat
from veza.actors.nodes import Node, Wanted

A, B = Node("aaaaaaaa-rest", "a", "10.0.0.1"), Node("bbbbbbbb-rest", "b", "10.0.0.2")
NOBODY: frozenset[str] = frozenset()


@pytest.mark.parametrize(
    ("actors", "nodes", "drained", "expected"),
    [
        ([], [], NOBODY, None),
        ([], [B, A], NOBODY, A.key),
        # It stays where it is, also when a node comes that would be first.
        ([f"JobRunner-{B.key}-1"], [A, B], NOBODY, B.key),
        # Two started at once: one of them is right.
        ([f"JobRunner-{B.key}-1", f"JobRunner-{A.key}-2"], [A, B], NOBODY, A.key),
        ([f"JobRunner-{A.key}-1"], [A, B], frozenset({A.key}), B.key),
        ([f"JobRunner-{A.key}-1"], [B], NOBODY, B.key),
        ([], [A], frozenset({A.key}), None),
    ],
)
def test_the_seat_of_the_only_one(
    actors: list[str], nodes: list[Node], drained: frozenset[str], expected: str | None
) -> None:
    assert seat(actors, nodes, drained) == expected


def test_how_many_a_node_has() -> None:
    wanted = Wanted(shards=3, gateways=4, processors=2, stream_shards=5)
    kinds = (SHARD, STREAM_SHARD, gateway_kind(object), INGEST, LIMITER, RUNNER, PROCESSOR)
    assert [kind.count(wanted) for kind in kinds] == [3, 5, 4, 1, 1, 1, 2]
    assert [kind.single for kind in kinds] == [False, False, False, False, False, True, False]
