"""The costs of the simulation, out of the figures that were measured and saved."""

import operator
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.audience.model import Costs
from benchmarks.support.figures import Curve, Result
from benchmarks.support.paths import RESULTS

# What no measurement tells. A hop is one between machines of a data centre; a ping is a write and, for its answer, a
# read, which takes about as long.
HOP_S = 250e-6
PING_WRITES = 2
# An actor at rest, most of it code.
ACTOR_BYTES = 85e6
# The load of which a shard's round is taken: at its pace each message has one to itself.
PACED = "50 messages/s"
GATEWAYS_MEASURED = 2
MESSAGE = "a message at its shard"
# Messages in the larger batch that was measured.
JOINED = 8


def line(x: Sequence[float], y: Sequence[float]) -> tuple[float, float]:
    """What y starts from, at least 0, and grows by: the straight line with the least errors in proportion to y, for
    otherwise the largest alone would decide.
    """
    weights = [1 / value**2 for value in y]
    total = sum(weights)
    x_mean = sum(map(operator.mul, weights, x)) / total
    y_mean = sum(map(operator.mul, weights, y)) / total
    spread = sum(weight * (each - x_mean) ** 2 for weight, each in zip(weights, x, strict=True))
    slope = sum(w * (a - x_mean) * (b - y_mean) for w, a, b in zip(weights, x, y, strict=True)) / spread
    return max(y_mean - slope * x_mean, 0.0), slope


def _step(result: Result, name: str) -> tuple[float, float]:
    """The line of a curve in µs, in seconds."""
    curve = _curve(result, name)
    start, slope = line(curve.x, curve.values)
    return start / 1e6, max(slope, 0.0) / 1e6


def costs(directory: Path = RESULTS) -> Costs:
    """Ends with a sentence where something has not been measured."""
    steps, live, reply = (_saved(directory, name) for name in ("stream_costs", "live_stream", "reply"))
    message, _ = _step(steps, MESSAGE)
    # The more gateways, the more each costs; what it costs among the most is taken for all.
    calls = _curve(steps, MESSAGE)
    call = calls.values[-1] / calls.x[-1] / 1e6
    report, report_gateway = _step(steps, "a report at its shard")
    batch, write = _step(steps, "a batch of 1 at")
    _, write_joined = _step(steps, "a batch of 8 at")
    _, notice = _step(steps, "finding out who")
    runs = _runs(live)
    shard = statistics.median(run["cpu_seconds"]["ray::StreamShard"] / run["total"] for run in runs)
    return Costs(
        round=max(shard - message - call * GATEWAYS_MEASURED, 0.0),
        message=message,
        commit=_figure(reply, "p50") / 1e3,
        call=call,
        report=report,
        report_gateway=report_gateway,
        batch=batch,
        write=write,
        frame=max(write_joined - write, 0.0) / (JOINED - 1),
        notice=notice,
        ping=PING_WRITES * write,
        hop=HOP_S,
        gateway_bytes=_figure(live, f"{PACED}*memory a viewer") * 1024,
        gateway_base=ACTOR_BYTES,
        shard_bytes=_figure(steps, "memory for a viewer"),
        frame_bytes=statistics.median(run["bytes"] / run["frames"] for run in runs),
    )


def measured_frame(directory: Path = RESULTS) -> float:
    """What a frame took of the gateways in the running platform, with all they do besides."""
    runs = _runs(_saved(directory, "live_stream"))
    return float(statistics.median(run["cpu_seconds"]["ray::Gateway"] / run["whole_frames"] for run in runs))


def _saved(directory: Path, name: str) -> Result:
    path = directory / f"{name}.json"
    if not path.exists():
        raise SystemExit(f"audience: nothing is known of {name}; measure it: python -m benchmarks {name}")
    return msgspec.json.decode(path.read_bytes(), type=Result)


def _curve(result: Result, name: str) -> Curve:
    return next(curve for curve in result.curves if curve.name.startswith(name))


def _figure(result: Result, words: str) -> float:
    """The value of the first figure whose name has these words, `*` between them for anything."""
    parts = words.split("*")
    return next(figure.value for figure in result.figures if all(part in figure.name for part in parts))


def _runs(live: Result) -> list[dict[str, Any]]:
    runs: list[dict[str, Any]] = next(found["ours"] for title, found in live.details.items() if PACED in title)
    return runs
