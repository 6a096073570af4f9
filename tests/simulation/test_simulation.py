"""A few hundred worlds keep every promise, and a world with a planted bug does not."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from simulation.__main__ import run_seeds
from simulation.actions import Action, Plan
from simulation.mutants import MUTANTS
from simulation.plan import make_plan
from simulation.run import simulate
from simulation.shrink import Shrinker, story_of

# Each planted bug is found within so many seeds; most of them within twenty.
MUTANT_SEEDS = 1000
SEEDS = 400


def first_broken(name: str) -> Plan:
    """The first plan that finds a planted bug."""
    scene = MUTANTS[name][1]
    _, seed, _ = run_seeds(range(MUTANT_SEEDS), scene)
    assert seed is not None, f"not found within {MUTANT_SEEDS} seeds"
    return make_plan(seed, scene)


@pytest.mark.parametrize("first", range(0, SEEDS, 100))
def test_every_promise_is_kept(first: int) -> None:
    seen, broken, _ = run_seeds(range(first, first + 100))
    assert broken is None, f"make simulate SEEDS=1 FROM={broken}"
    assert seen["event shown"] > 1000


@pytest.mark.parametrize("name", MUTANTS)
def test_a_planted_bug_is_found(name: str) -> None:
    with MUTANTS[name][0]():
        assert simulate(first_broken(name)) is not None


def test_a_seed_tells_one_story() -> None:
    """Also in another process, whose sets are in another order."""
    command = [sys.executable, "-m", "simulation", "--story", "--from", "12"]
    told = [
        subprocess.run(
            command,
            capture_output=True,
            check=True,
            cwd=Path(__file__).parents[1],
            env=os.environ | {"PYTHONHASHSEED": number},
        ).stdout
        for number in ("1", "2")
    ]
    assert told[0] == told[1]
    assert len(told[0].splitlines()) > 20


def test_the_shortest_story_has_what_it_takes() -> None:
    """A message is stored late, by a shard that was taken for dead."""
    with MUTANTS["no_fence"][0]():
        plan = first_broken("no_fence")
        broken = simulate(plan)
        assert broken is not None
        shortest = Shrinker(simulate, broken.promise).shrink(plan)
        story = story_of(shortest, lambda plan, tell: simulate(plan, tell=tell))
    assert len(shortest.actions) < len(plan.actions) / 3
    assert f"promise {broken.promise}" in story[-1]


def test_without_the_bug_its_story_ends_well() -> None:
    plan = Plan(1, (Action(0.1, "join", 0, 0, ("resume", 0.0)), Action(0.5, "send", 0, 0, (0.9, 0.0))))
    assert story_of(plan, lambda plan, tell: simulate(plan, tell=tell))[-1].strip() == "nothing is broken"
