"""Figures: what was measured, beside its peers', against the target; as JSON and as a table."""

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

from benchmarks.support.paths import RESULTS

Bound = Literal["at least", "at most"]


class PeerRuns(msgspec.Struct, kw_only=True, omit_defaults=True):
    """The same of somebody else. `ratio` is ours divided by this; without runs, `note` says why it has none."""

    name: str
    runs: list[float] = []
    value: float | None = None
    ratio: float | None = None
    note: str = ""

    def __post_init__(self) -> None:
        if self.runs:
            self.value = statistics.median(self.runs)


class Figure(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One thing measured; values are medians over the runs.

    A target is of the ratio where `of_ratio` is set: that to the peer `against`, or to the best of them.
    """

    name: str
    unit: str
    runs: list[float]
    value: float = 0.0
    peers: list[PeerRuns] = []
    against: str = ""
    ratio: float | None = None
    target: float | None = None
    bound: Bound = "at least"
    of_ratio: bool = False
    met: bool | None = None

    def __post_init__(self) -> None:
        self.value = statistics.median(self.runs)
        for peer in self.peers:
            peer.ratio = self.value / peer.value if peer.value else None
        ratios = [peer.ratio for peer in self.peers if peer.ratio and self.against in ("", peer.name)]
        if ratios:
            self.ratio = min(ratios) if self.bound == "at least" else max(ratios)
        seen = self.ratio if self.of_ratio else self.value
        if self.target is not None:
            self.met = seen is not None and (seen >= self.target if self.bound == "at least" else seen <= self.target)


class Curve(msgspec.Struct, kw_only=True):
    """How something grows with something else: for each `x` the runs, and their median in `values`."""

    name: str
    unit: str
    x_name: str
    x: list[float]
    runs: list[list[float]]
    values: list[float] = []

    def __post_init__(self) -> None:
        self.values = [statistics.median(runs) for runs in self.runs]


class Result(msgspec.Struct, kw_only=True):
    """The answer to one question. `busy_before` is the share of all cores that others used just before."""

    name: str
    question: str
    measured_at: str
    took_s: float = 0.0
    busy_before: float
    load_average_before: float
    machine: dict[str, Any]
    settings: dict[str, str]
    figures: list[Figure]
    curves: list[Curve] = []
    details: dict[str, Any]


def save(result: Result, directory: Path = RESULTS) -> Path:
    """Write `<name>.json`; its path."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{result.name}.json"
    path.write_bytes(msgspec.json.format(msgspec.json.encode(result)) + b"\n")
    return path


def load_all() -> list[Result]:
    """The results that were saved, by name."""
    return [msgspec.json.decode(path.read_bytes(), type=Result) for path in sorted(RESULTS.glob("*.json"))]


def describe(figure: Figure) -> str:
    """One line for the terminal."""
    words = [f"{figure.name}: {number(figure.value)} {figure.unit}"]
    if figure.peers:
        words.append(f"({'; '.join(peer_text(peer) for peer in figure.peers)})")
    if figure.target is not None:
        words.append(f"target {target_text(figure)}: {'met' if figure.met else 'MISSED'}")
    return "  " + "  ".join(words)


def describe_curve(curve: Curve) -> str:
    return f"  {curve.name}: {curve_text(curve)} {curve.unit}"


def table(results: Sequence[Result]) -> str:
    """All figures in Markdown, and below them the curves."""
    rows = ["| what | ours | peers (ours divided by theirs) | target | met |", "|---|---|---|---|---|"]
    for result in results:
        for figure in result.figures:
            met = "" if figure.met is None else "yes" if figure.met else "**no**"
            cells = (
                figure.name,
                f"{number(figure.value)} {figure.unit}",
                "; ".join(peer_text(peer) for peer in figure.peers),
                "" if figure.target is None else target_text(figure),
                met,
            )
            rows.append("| " + " | ".join(cells) + " |")
    curves = [curve for result in results for curve in result.curves]
    if curves:
        rows += ["", "| what grows | so it goes |", "|---|---|"]
        rows += [f"| {curve.name}, {curve.unit} | {curve_text(curve)} |" for curve in curves]
    return "\n".join(rows)


def peer_text(peer: PeerRuns) -> str:
    if peer.value is None:
        return f"{peer.name}: {peer.note}"
    return f"{peer.name} {number(peer.value)}" + ("" if peer.ratio is None else f", {number(peer.ratio)} ×")


def curve_text(curve: Curve) -> str:
    return f"{curve.x_name} " + ", ".join(
        f"{number(x)}: {number(value)}" for x, value in zip(curve.x, curve.values, strict=True)
    )


def number(value: float | None) -> str:
    """Three digits that matter; whole and grouped when large."""
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def target_text(figure: Figure) -> str:
    sign = "≥" if figure.bound == "at least" else "≤"
    if not figure.of_ratio:
        return f"{sign} {number(figure.target)} {figure.unit}"
    return f"{sign} {number(figure.target)} × {figure.against or 'the best peer'}"
