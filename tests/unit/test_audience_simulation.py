"""The simulation of large audiences: its own arithmetic, whatever the costs are."""

import msgspec
import pytest

from benchmarks.audience.model import Costs, Load, Shape, gateway_load, gateways_needed, written
from benchmarks.audience.parameters import line
from benchmarks.audience.simulation import Delays, Outcome, simulate

COSTS = Costs(
    round=1e-3,
    message=50e-6,
    commit=1e-3,
    call=50e-6,
    report=40e-6,
    report_gateway=0.1e-6,
    batch=30e-6,
    write=4e-6,
    frame=0.3e-6,
    notice=0.2e-6,
    ping=8e-6,
    hop=250e-6,
    gateway_bytes=8000.0,
    gateway_base=85e6,
    shard_bytes=300.0,
    frame_bytes=450.0,
)
LOAD = Load(viewers=40_000)
SECONDS = 4.0


def run(shape: Shape, load: Load = LOAD, costs: Costs = COSTS, seed: int = 1) -> Outcome:
    return simulate(costs, load, shape, SECONDS, seed)


@pytest.mark.parametrize(("gateways", "degree"), [(1, 0), (7, 0), (1, 4), (4, 4), (21, 4), (100, 3), (100, 100)])
def test_a_tree_reaches_each_gateway_once(gateways: int, degree: int) -> None:
    shape = Shape(gateways=gateways, degree=degree)
    reached, level, depth = list(range(shape.fed)), list(range(shape.fed)), 1
    while below := [child for gateway in level for child in shape.children(gateway)]:
        reached += below
        level, depth = below, depth + 1
    assert sorted(reached) == list(range(gateways))
    assert depth == shape.depth


@pytest.mark.parametrize("degree", [0, 3, 8])
@pytest.mark.parametrize("window", [0.0, 0.1])
def test_everything_said_reaches_every_gateway(degree: int, window: float) -> None:
    found = run(Shape(gateways=20, degree=degree, window=window))
    assert found.messages > SECONDS * LOAD.messages / 2
    # Only what was said just before the end is still on its way.
    late = found.undelivered / 20
    assert late <= LOAD.messages * (found.p99 + window) * 2 + 3
    assert found.delivered + found.undelivered == found.messages * 20


def test_a_seed_tells_one_story() -> None:
    shape = Shape(gateways=20, degree=4)
    assert run(shape) == run(shape)
    assert run(shape) != run(shape, seed=2)


def test_nothing_arrives_sooner_than_its_way_takes() -> None:
    free = Costs(**dict.fromkeys(Costs.__struct_fields__, 0.0) | {"hop": 1e-3, "commit": 2e-3})
    for degree, hops in ((0, 1), (2, Shape(gateways=14, degree=2).depth)):
        found = run(Shape(gateways=14, degree=degree), costs=free)
        assert found.p50 >= 3e-3
        # Those at the end of a tree wait for each hop; what was in flight meanwhile adds to it.
        assert found.p99 >= (2e-3 + hops * 1e-3) * 0.98
        assert (found.shard, found.gateway) == (0.0, 0.0)


def test_a_tree_takes_work_from_the_shard_and_adds_delay() -> None:
    few = msgspec.structs.replace(LOAD, viewers=4_000)
    alone, tree = run(Shape(gateways=200), few), run(Shape(gateways=200, degree=8), few)
    assert tree.shard < alone.shard / 2
    assert tree.calls < alone.calls / 5


def test_a_shard_that_feeds_too_many_joins_what_it_sends() -> None:
    few = msgspec.structs.replace(LOAD, viewers=5_000)
    found = run(Shape(gateways=500), few)
    assert found.shard > 0.9
    assert found.calls < 500 * (LOAD.messages + LOAD.sums) * 0.75
    assert found.p99 < 1.0


def test_a_gateway_beyond_its_core_falls_behind() -> None:
    shape = Shape(gateways=2)
    assert gateway_load(COSTS, LOAD, shape) > 1
    found = run(shape)
    assert found.p99 > 1.0
    assert found.undelivered > found.delivered / 4


def test_simulated_work_is_what_was_computed() -> None:
    shape = Shape(gateways=20)
    assert run(shape).gateway == pytest.approx(gateway_load(COSTS, LOAD, shape), rel=0.25)


def test_a_window_saves_writes_and_costs_its_length() -> None:
    at_once, joined = Shape(gateways=20), Shape(gateways=20, window=0.25)
    assert written(LOAD, joined) <= 4.0 < written(LOAD, at_once)
    sooner, later = run(at_once), run(joined)
    assert later.gateway < sooner.gateway / 2
    assert sooner.p50 < later.p50 < 0.25 + 0.25


def test_enough_gateways_and_not_one_more() -> None:
    needed = gateways_needed(COSTS, LOAD, 0.7)
    assert gateway_load(COSTS, LOAD, Shape(gateways=needed)) <= 0.7
    assert gateway_load(COSTS, LOAD, Shape(gateways=needed - 1)) > 0.7


def test_percentiles_are_within_two_in_a_hundred() -> None:
    delays = Delays()
    for milliseconds in range(1, 1001):
        delays.add(milliseconds / 1000)
    assert delays.percentile(0.5) == pytest.approx(0.5, rel=0.03)
    assert delays.percentile(0.99) == pytest.approx(0.99, rel=0.03)


def test_a_line_is_found_again_and_starts_at_nothing_less_than_zero() -> None:
    x = [2.0, 16.0, 64.0, 256.0]
    assert line(x, [60 + 25 * each for each in x]) == pytest.approx((60, 25))
    start, slope = line(x, [25 * each - 20 for each in x])
    assert start == 0.0
    assert slope > 0
