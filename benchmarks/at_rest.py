"""At rest: what does the whole default system need when nobody uses it?

Started by `veza serve` with nothing configured: Ray, gateways, shards, Supervisor, PostgreSQL, Redis and the object
store. Memory is the sum of PSS over all its processes (pages shared by several are counted once); processor time is
that of all of them over the time measured, as a share of one core.
"""

import time

from benchmarks.support.figures import Figure
from benchmarks.support.processes import cpu_by_name, name, proportional_bytes
from benchmarks.support.question import Answer, Options, Question, ask
from benchmarks.support.system import running

# What runs once after the start is over by then.
SETTLE_S = 15.0
TARGET_MB = 1300.0
TARGET_CORE = 5.0


def measure(options: Options) -> Answer:
    shares: list[float] = []
    used: dict[str, float] = {}
    with running() as system:
        time.sleep(options.sized(SETTLE_S, 1.0))
        for _ in range(options.runs):
            before, began = cpu_by_name(system.processes()), time.monotonic()
            time.sleep(options.seconds)
            after, lasted = cpu_by_name(system.processes()), time.monotonic() - began
            used = {title: 100 * (seconds - before.get(title, 0.0)) / lasted for title, seconds in after.items()}
            shares.append(sum(used.values()))
        found = system.processes()
        memory = proportional_bytes(found)
        largest = sorted(((name(p), proportional_bytes([p])) for p in found), key=lambda row: -row[1])
    figures = [
        Figure(name="memory at rest (PSS)", unit="MB", runs=[memory / 1e6], target=TARGET_MB, bound="at most"),
        Figure(name="processor at rest", unit="% of a core", runs=shares, target=TARGET_CORE, bound="at most"),
    ]
    busiest = sorted(used.items(), key=lambda row: -row[1])
    details = {
        "processes": len(found),
        "busiest_percent": [[title, round(share, 2)] for title, share in busiest[:12]],
        "largest_mb": [[title, round(size / 1e6, 1)] for title, size in largest[:12]],
    }
    return Answer(figures=figures, details=details)


QUESTION = Question("at_rest", "What does the default system need at rest?", measure, runs=1, seconds=30.0)

if __name__ == "__main__":
    ask(QUESTION)
