"""Results as pictures."""

from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from benchmarks.support.figures import Curve, Figure, Result, target_text

OURS, PEERS, TARGET = "#2a6f97", "#a9a9a9", "#c1121f"
COLUMNS = 3
# Where the largest x is so many times the smallest, their logarithms are evenly spread.
WIDE = 20


def plot(result: Result, path: Path) -> None:
    """A panel a figure, since their units differ: bars of medians, dots of runs, a line for the target. A panel a
    curve: its medians joined.
    """
    mpl.rcParams["svg.hashsalt"] = result.name  # the same figures give the same file
    count = len(result.figures) + len(result.curves)
    columns = min(count, COLUMNS)
    rows = -(-count // columns)
    canvas = Canvas(figsize=(max(4 * columns, 5), 3.4 * rows), layout="constrained")
    panels = [canvas.add_subplot(rows, columns, place + 1) for place in range(count)]
    for figure, panel in zip(result.figures, panels, strict=False):
        _bars(figure, panel)
    for curve, panel in zip(result.curves, panels[len(result.figures) :], strict=True):
        _line(curve, panel)
    machine = result.machine
    canvas.suptitle(result.question, fontsize=10)
    canvas.supxlabel(f"{machine['processor']}, {machine['cores']} cores, {result.measured_at[:10]}", fontsize=7)
    canvas.savefig(path, metadata={"Date": None})


def _bars(figure: Figure, panel: Axes) -> None:
    bars = [("veza", figure.value, figure.runs, OURS)]
    bars += [(peer.name, peer.value, peer.runs, PEERS) for peer in figure.peers if peer.value is not None]
    for label, median, runs, colour in bars:
        panel.bar(label, median, color=colour, width=0.6)
        panel.plot([label] * len(runs), runs, "o", color="black", markersize=3)
    limit = _limit(figure)
    if limit is not None:
        panel.axhline(limit, color=TARGET, linewidth=1, linestyle="--", label=f"target {target_text(figure)}")
        panel.legend(fontsize=7)
    panel.set_title(figure.name, fontsize=8)
    panel.set_ylabel(figure.unit, fontsize=8)
    if len(bars) > 3:
        panel.tick_params(axis="x", labelsize=7, rotation=25)
    panel.set_xlim(-0.8, len(bars) - 0.2)
    panel.set_ylim(bottom=0)


def _line(curve: Curve, panel: Axes) -> None:
    panel.plot(curve.x, curve.values, "-", color=OURS)
    for x, runs in zip(curve.x, curve.runs, strict=True):
        panel.plot([x] * len(runs), runs, "o", color="black", markersize=3)
    if max(curve.x) > WIDE * min(curve.x):
        panel.set_xscale("log")
    panel.set_xticks(curve.x, [f"{x:,.0f}" for x in curve.x], minor=False)
    panel.minorticks_off()
    panel.set_title(curve.name, fontsize=8)
    panel.set_xlabel(curve.x_name, fontsize=8)
    panel.set_ylabel(curve.unit, fontsize=8)
    panel.set_ylim(bottom=0)


def _limit(figure: Figure) -> float | None:
    """Where the target lies on the axis of the values."""
    if figure.target is None or not figure.of_ratio:
        return figure.target
    return figure.target * figure.value / figure.ratio if figure.ratio else None
