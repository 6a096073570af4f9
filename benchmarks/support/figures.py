"""Figures: what was measured, beside the peer's, against the target; as JSON and as a table."""

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

from benchmarks.support.paths import RESULTS

Bound = Literal["at least", "at most"]


class Figure(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One thing measured. `value`, `peer` are medians over the runs; a target is of `ratio` where `of_ratio` is set."""

    name: str
    unit: str
    runs: list[float]
    value: float = 0.0
    peer_runs: list[float] = []
    peer: float | None = None
    ratio: float | None = None
    target: float | None = None
    bound: Bound = "at least"
    of_ratio: bool = False
    met: bool | None = None

    def __post_init__(self) -> None:
        self.value = statistics.median(self.runs)
        if self.peer_runs:
            self.peer = statistics.median(self.peer_runs)
            self.ratio = self.value / self.peer if self.peer else None
        seen = self.ratio if self.of_ratio else self.value
        if self.target is not None and seen is not None:
            self.met = seen >= self.target if self.bound == "at least" else seen <= self.target


class Result(msgspec.Struct, kw_only=True):
    """The answer to one question. `busy_before` is the share of all cores that others used just before."""

    name: str
    question: str
    measured_at: str
    busy_before: float
    load_average_before: float
    machine: dict[str, Any]
    settings: dict[str, str]
    figures: list[Figure]
    details: dict[str, Any]


def save(result: Result) -> Path:
    """Write `results/<name>.json`; its path."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{result.name}.json"
    path.write_bytes(msgspec.json.format(msgspec.json.encode(result)) + b"\n")
    return path


def load_all() -> list[Result]:
    """The results that were saved, by name."""
    return [msgspec.json.decode(path.read_bytes(), type=Result) for path in sorted(RESULTS.glob("*.json"))]


def describe(figure: Figure) -> str:
    """One line for the terminal."""
    words = [f"{figure.name}: {number(figure.value)} {figure.unit}"]
    if figure.peer is not None:
        words.append(f"(peer {number(figure.peer)}, ratio {number(figure.ratio)})")
    if figure.target is not None:
        words.append(f"target {target_text(figure)}: {'met' if figure.met else 'MISSED'}")
    return "  " + "  ".join(words)


def table(results: Sequence[Result]) -> str:
    """All figures in Markdown."""
    rows = ["| what | ours | peer | ratio | target | met |", "|---|---|---|---|---|---|"]
    for result in results:
        for figure in result.figures:
            met = "" if figure.met is None else "yes" if figure.met else "**no**"
            cells = (
                figure.name,
                f"{number(figure.value)} {figure.unit}",
                "" if figure.peer is None else number(figure.peer),
                "" if figure.ratio is None else number(figure.ratio),
                "" if figure.target is None else target_text(figure),
                met,
            )
            rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(rows)


def number(value: float | None) -> str:
    """Three digits that matter; whole and grouped when large."""
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def target_text(figure: Figure) -> str:
    sign = "≥" if figure.bound == "at least" else "≤"
    return f"{sign} {number(figure.target)}" + (" ×" if figure.of_ratio else f" {figure.unit}")
