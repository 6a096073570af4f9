"""`make simulate`: as many worlds as are wanted; the first that breaks a promise tells its shortest story."""

import argparse
import gc
import os
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from typing import TextIO

from simulation.plan import ACTIONS, FAULTS, make_plan
from simulation.promises import Broken
from simulation.run import simulate
from simulation.shrink import Shrinker, story_of

PROGRESS_SEEDS = 250
CHUNK_SEEDS = 50


def main() -> int:
    parser = argparse.ArgumentParser(prog="make simulate", description=__doc__)
    parser.add_argument("--seeds", type=int, default=2000, help="how many worlds")
    parser.add_argument("--from", type=int, default=0, dest="first", help="the first seed")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--story", action="store_true", help="tell the story of the first seed, whole, broken or not")
    options = parser.parse_args()
    out = sys.stdout
    if options.story:
        out.write("\n".join(story_of(make_plan(options.first), _tell)) + "\n")
        return 0
    return _many(options.first, options.seeds, options.jobs, out)


def _tell(plan: object, tell: object) -> Broken | None:
    return simulate(plan, tell=tell)  # type: ignore[arg-type]


def _many(first: int, seeds: int, jobs: int, out: TextIO) -> int:
    started, done, told = time.monotonic(), 0, 0
    seen: Counter[str] = Counter()
    chunks = [
        range(start, min(start + CHUNK_SEEDS, first + seeds)) for start in range(first, first + seeds, CHUNK_SEEDS)
    ]
    with ProcessPoolExecutor(jobs) as pool:
        for found, failed, count in pool.map(run_seeds, chunks):
            seen.update(found)
            done += count
            if failed is not None:
                pool.shutdown(cancel_futures=True)
                _explain(failed, out)
                return 1
            if done - told >= PROGRESS_SEEDS or done == seeds:
                told = done
                out.write(f"{done:7} of {seeds}: {done / (time.monotonic() - started) * 60:,.0f} a minute\n")
                out.flush()
    _report(seen, seeds, out)
    return 0


def run_seeds(seeds: range, scene: str | None = None) -> tuple[Counter[str], int | None, int]:
    """What was seen, the seed that broke a promise, and how many were run."""
    seen: Counter[str] = Counter()
    # A world is one large cycle; looking for cycles inside it while it runs would cost half of the time.
    gc.freeze()
    gc.disable()
    try:
        for count, seed in enumerate(seeds, 1):
            if simulate(make_plan(seed, scene), seen) is not None:
                return seen, seed, count
            if count % 10 == 0:
                gc.collect()
    finally:
        gc.enable()
    return seen, None, len(seeds)


def _explain(seed: int, out: TextIO) -> None:
    plan = make_plan(seed)
    broken = simulate(plan)
    if broken is None:
        raise AssertionError(f"seed {seed} is not repeatable")
    out.write(f"\nSeed {seed} breaks {broken}\n\nLooking for its shortest story …\n")
    out.flush()
    shrinker = Shrinker(simulate, broken.promise)
    shortest = shrinker.shrink(plan)
    out.write(f"{len(shortest.actions)} of {len(plan.actions)} actions are needed:\n\n")
    out.write("\n".join(story_of(shortest, _tell)) + "\n\n")
    out.write(f"Again: make simulate SEEDS=1 FROM={seed}\n")


def _report(seen: Counter[str], seeds: int, out: TextIO) -> None:
    """What the worlds went through."""
    groups = {
        "actions": sorted(ACTIONS),
        "faults": sorted(FAULTS),
        "answers": sorted(name for name in seen if name.startswith("answered ")),
    }
    rest = set(seen) - {name for names in groups.values() for name in names}
    out.write(f"\n{seeds} worlds kept every promise.\n")
    for title, names in [*groups.items(), ("what happened", sorted(rest))]:
        out.write(f"\n{title}\n")
        for name in names:
            out.write(f"  {name.removeprefix('answered '):24} {seen[name]:>10,}\n")


if __name__ == "__main__":
    sys.exit(main())
