"""A question: how it is asked from the command line, and what becomes of the answer."""

import argparse
import inspect
import signal
import sys
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

import msgspec
import psutil

from benchmarks.support.figures import Figure, Result, describe, save
from benchmarks.support.machine import load_average, machine, now
from benchmarks.support.plot import plot

# Above this share of the cores in use beforehand the figures are not ours alone.
BUSY = 0.15


class Options(msgspec.Struct, frozen=True):
    """`runs` of each measurement; `seconds` each of them lasts."""

    runs: int
    seconds: float


class Answer(msgspec.Struct, kw_only=True):
    """Figures, the settings that differed from the defaults, and whatever else is worth keeping."""

    figures: list[Figure]
    settings: dict[str, str] = {}
    details: dict[str, Any] = {}


class Question(msgspec.Struct, frozen=True):
    """What is asked; how it is measured; how often and how long by default."""

    name: str
    text: str
    measure: Callable[[Options], Answer]
    runs: int = 3
    seconds: float = 4.0


def ask(question: Question) -> None:
    """The command line of one question; it measures, prints and saves."""
    module = inspect.getmodule(question.measure)
    parser = argparse.ArgumentParser(
        prog=f"python -m benchmarks.{question.name}",
        description=module.__doc__ if module else question.text,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--runs", type=int, default=question.runs, help="times each is measured (default %(default)s)")
    parser.add_argument(
        "--seconds", type=float, default=question.seconds, help="length of a measurement (default %(default)s)"
    )
    parser.add_argument("--dry", action="store_true", help="print the figures, save nothing")
    words = parser.parse_args()
    if words.runs < 1 or words.seconds <= 0:
        parser.error("runs and seconds are positive")
    # A stop must pass through the blocks that end what was started.
    signal.signal(signal.SIGTERM, _leave)
    run(question, Options(words.runs, words.seconds), keep=not words.dry)


def run(question: Question, options: Options, *, keep: bool = True) -> Result:
    """Measure, print, save."""
    busy = psutil.cpu_percent(1.0) / 100
    print(f"{question.name}: {question.text}", flush=True)
    if busy > BUSY:
        print(f"  others use {busy:.0%} of this machine; its figures will not be the best", flush=True)
    load, began = load_average(), time.monotonic()
    answer = question.measure(options)
    result = Result(
        name=question.name,
        question=question.text,
        measured_at=now(),
        busy_before=round(busy, 2),
        load_average_before=load,
        machine=machine(),
        settings=answer.settings,
        figures=answer.figures,
        details=answer.details,
    )
    for figure in result.figures:
        print(describe(figure), flush=True)
    if keep:
        path = save(result)
        plot(result, path.with_suffix(".svg"))
        print(f"  saved as results/{path.name}, after {time.monotonic() - began:.0f} s", flush=True)
    return result


def _leave(_number: int, _frame: FrameType | None) -> None:
    sys.exit(143)
