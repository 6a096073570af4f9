"""A million viewers of one stream: how many gateways, when do they see what is said, and when does a shard need help?

Simulated, not measured: the steps take what `stream_costs`, `live_stream` and `reply` measured (benchmarks/results),
the machines are imagined, with two cores and a gateway on each. Prints Markdown, as it is in docs/scaling.md.
"""

import argparse
import math
from pathlib import Path

from benchmarks.audience.model import Costs, Load, Shape, gateways_needed
from benchmarks.audience.parameters import costs as measured
from benchmarks.audience.parameters import measured_frame
from benchmarks.audience.simulation import Outcome, simulate
from benchmarks.support.figures import number
from benchmarks.support.paths import RESULTS

# A core that is used more than this has nothing left for a crowd that comes at once.
SHARE = 0.7
# A shard that is used more than this answers nobody in time.
SHARD_SHARE = 0.8
GATEWAYS_A_MACHINE = 2
# Where the most that a shard can feed is looked for, and how long each attempt is simulated.
MOST_GATEWAYS, SEARCH_S = 2000, 5.0
DEGREES = (8, 16, 32)
WINDOWS = (0.0, 0.1, 0.25)
# Of what a stream's picture takes, in bits a second.
PICTURE_BPS = 3_000_000


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.audience", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--viewers", type=int, default=1_000_000)
    parser.add_argument("--messages", type=float, default=50.0, help="a second (default: 50)")
    parser.add_argument("--seconds", type=float, default=10.0, help="simulated of each row (default: 10)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--results", type=Path, default=RESULTS, help="where the figures are that were measured")
    words = parser.parse_args()
    load, costs = Load(viewers=words.viewers, messages=words.messages), measured(words.results)
    print(parameters_table(costs, measured_frame(words.results)))
    print()
    print(audience_table(costs, load, words.seconds, words.seed))
    print()
    print(shard_table(costs, load, words.seconds, words.seed))
    print()
    print(bandwidth(costs, load))


def parameters_table(costs: Costs, frame: float) -> str:
    rows = [
        ("a round of a shard, with its statements", costs.round),
        ("each message of it", costs.message),
        ("its commit, waited for", costs.commit),
        ("a call to one gateway, among 512", costs.call),
        ("a report at the shard", costs.report),
        ("a write to one socket", costs.write),
        ("each further message in the same write", costs.frame),
        ("a viewer looked at for a report", costs.notice),
    ]
    rows += [("a frame in the running platform, all else that gateways do included", frame)]
    lines = ["| step | µs of a core |", "|---|---|", *(f"| {name} | {number(value * 1e6)} |" for name, value in rows)]
    return "\n".join(lines)


def audience_table(costs: Costs, load: Load, seconds: float, seed: int) -> str:
    """The gateways that are needed, for each window, fed by the shard alone and by trees."""
    lines = [
        "| window | gateways | viewers each | fed | p50 | p99 | shard | gateway | memory of a gateway | machines |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for window in WINDOWS:
        needed = gateways_needed(costs, load, SHARE, window)
        for degree in (0, *DEGREES):
            shape = Shape(gateways=needed, degree=degree, window=window)
            lines.append(_audience_row(costs, load, shape, simulate(costs, load, shape, seconds, seed)))
    return "\n".join(lines)


def _audience_row(costs: Costs, load: Load, shape: Shape, found: Outcome) -> str:
    viewers = load.viewers / shape.gateways
    memory = costs.gateway_base + viewers * costs.gateway_bytes
    # One machine for the shard and one for PostgreSQL besides.
    machines = math.ceil(shape.gateways / GATEWAYS_A_MACHINE) + 2
    cells = (
        f"{shape.window:g} s" if shape.window else "none",
        f"{shape.gateways:,}",
        f"{viewers:,.0f}",
        f"by {shape.degree}, {shape.depth} deep" if shape.degree else "by the shard",
        _ms(found.p50),
        _ms(found.p99),
        f"{found.shard:.0%}",
        f"{found.gateway:.0%}",
        f"{memory / 1e6:,.0f} MB",
        f"{machines:,}",
    )
    return "| " + " | ".join(cells) + " |"


def shard_table(costs: Costs, load: Load, seconds: float, seed: int) -> str:
    """How many gateways one shard can feed: theirs have few viewers here, so that only the shard is seen."""
    most = most_fed(costs, load, seconds, seed)
    lines = [
        "| gateways | fed | batches a second | shard | p50 | p99 |",
        "|---|---|---|---|---|---|",
    ]
    counts = sorted({10, 50, 100, 200, 400, 800, most})
    shapes = [Shape(gateways=count) for count in counts]
    shapes += [Shape(gateways=max(counts), degree=degree) for degree in DEGREES]
    for shape in shapes:
        found = simulate(costs, _few(load, shape), shape, seconds, seed)
        fed = f"by {shape.degree}, {shape.depth} deep" if shape.degree else "by the shard"
        cells = (
            f"{shape.gateways:,}",
            fed,
            f"{found.calls:,.0f}",
            f"{found.shard:.0%}",
            _ms(found.p50),
            _ms(found.p99),
        )
        lines.append("| " + " | ".join(cells) + " |")
    lines += ["", f"One shard feeds {most:,} gateways with {SHARD_SHARE:.0%} of its core."]
    return "\n".join(lines)


def _few(load: Load, shape: Shape) -> Load:
    return Load(viewers=100 * shape.gateways, messages=load.messages, sums=load.sums)


def most_fed(costs: Costs, load: Load, seconds: float, seed: int) -> int:
    """The most gateways that a shard feeds by itself with SHARD_SHARE of its core."""
    low, high = 1, MOST_GATEWAYS
    while low < high:
        middle = (low + high + 1) // 2
        shape = Shape(gateways=middle)
        if simulate(costs, _few(load, shape), shape, min(seconds, SEARCH_S), seed).shard <= SHARD_SHARE:
            low = middle
        else:
            high = middle - 1
    return low


def bandwidth(costs: Costs, load: Load) -> str:
    chat = load.viewers * (load.messages + load.sums) * costs.frame_bytes * 8
    picture = load.viewers * PICTURE_BPS
    memory = load.viewers * costs.shard_bytes
    return (
        f"Chat: {chat / 1e9:,.0f} Gbit/s out of all gateways, {costs.frame_bytes:.0f} bytes a message. "
        f"Pictures without a CDN, at {PICTURE_BPS / 1e6:g} Mbit/s: {picture / 1e12:,.1f} Tbit/s. "
        f"The shard's memory for who watches: {memory / 1e6:,.0f} MB."
    )


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:,.3g} ms" if seconds < 1 else f"{seconds:,.3g} s"


if __name__ == "__main__":
    main()
