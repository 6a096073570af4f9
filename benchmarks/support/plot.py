"""Results as pictures."""

from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure as Canvas

from benchmarks.support.figures import Figure, Result, target_text

OURS, PEERS, TARGET = "#2a6f97", "#a9a9a9", "#c1121f"
COLUMNS = 3


def plot(result: Result, path: Path) -> None:
    """A panel a figure, since their units differ: bars of medians, dots of runs, a line for the target."""
    mpl.rcParams["svg.hashsalt"] = result.name  # the same figures give the same file
    count = len(result.figures)
    columns = min(count, COLUMNS)
    rows = -(-count // columns)
    canvas = Canvas(figsize=(max(4 * columns, 5), 3.4 * rows), layout="constrained")
    for place, figure in enumerate(result.figures, 1):
        panel = canvas.add_subplot(rows, columns, place)
        bars = [("veza", figure.value, figure.runs, OURS)]
        if figure.peer is not None:
            bars.append(("peer", figure.peer, figure.peer_runs, PEERS))
        for label, median, runs, colour in bars:
            panel.bar(label, median, color=colour, width=0.6)
            panel.plot([label] * len(runs), runs, "o", color="black", markersize=3)
        limit = _limit(figure)
        if limit is not None:
            panel.axhline(limit, color=TARGET, linewidth=1, linestyle="--", label=f"target {target_text(figure)}")
            panel.legend(fontsize=7)
        panel.set_title(figure.name, fontsize=8)
        panel.set_ylabel(figure.unit, fontsize=8)
        panel.set_xlim(-0.8, len(bars) - 0.2)
        panel.set_ylim(bottom=0)
    canvas.suptitle(result.question, fontsize=10)
    canvas.savefig(path, metadata={"Date": None})


def _limit(figure: Figure) -> float | None:
    """Where the target lies on the axis of the values."""
    if figure.target is None or not figure.of_ratio:
        return figure.target
    return figure.target * figure.peer if figure.peer is not None else None
