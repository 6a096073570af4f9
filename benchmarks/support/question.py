"""A question: how it is asked from the command line, and what becomes of the answer."""

import argparse
import inspect
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any, TypeVar

import msgspec
import psutil

from benchmarks.support import progress
from benchmarks.support.figures import Curve, Figure, Result, describe, describe_curve, save
from benchmarks.support.machine import load_average, machine, now
from benchmarks.support.paths import QUICK, RESULTS
from benchmarks.support.plot import plot

T = TypeVar("T")

# Above this share of the cores in use beforehand the figures are not ours alone.
BUSY = 0.15


class Options(msgspec.Struct, frozen=True):
    """`runs` of each measurement; `seconds` each of them lasts; `minutes` to hold what is held.

    `quick` asks for small numbers of everything, to see that it works; such figures mean nothing.
    """

    runs: int
    seconds: float
    minutes: float = 0.0
    quick: bool = False

    def sized(self, whole: T, small: T) -> T:
        return small if self.quick else whole


class Answer(msgspec.Struct, kw_only=True):
    """Figures and curves, the settings that differed from the defaults, and whatever else is worth keeping."""

    figures: list[Figure]
    curves: list[Curve] = []
    settings: dict[str, str] = {}
    details: dict[str, Any] = {}


class Question(msgspec.Struct, frozen=True):
    """What is asked; how it is measured; how often and how long by default."""

    name: str
    text: str
    measure: Callable[[Options], Answer]
    runs: int = 3
    seconds: float = 4.0
    minutes: float = 0.0

    def options(
        self, runs: int | None = None, seconds: float | None = None, minutes: float | None = None, quick: bool = False
    ) -> Options:
        """What is not given is as the question wants it."""
        default = Options(1, 1.0, min(self.minutes, 0.1)) if quick else Options(self.runs, self.seconds, self.minutes)
        return Options(
            default.runs if runs is None else runs,
            default.seconds if seconds is None else seconds,
            default.minutes if minutes is None else minutes,
            quick,
        )


def add_arguments(parser: argparse.ArgumentParser, question: Question | None = None) -> None:
    """What every command line takes."""
    defaults = ["as each question wants"] * 3
    if question is not None:
        defaults = [f"{value:g}" for value in (question.runs, question.seconds, question.minutes)]
    runs, seconds, minutes = (f"(default: {default})" for default in defaults)
    parser.add_argument("--runs", type=int, help=f"times each thing is measured {runs}")
    parser.add_argument("--seconds", type=float, help=f"length of a measurement {seconds}")
    parser.add_argument("--minutes", type=float, help=f"how long idle sockets are held {minutes}")
    parser.add_argument("--quick", action="store_true", help="few and short, to see that it works; saved apart")
    parser.add_argument("--dry", action="store_true", help="print the figures, save nothing")


def check(parser: argparse.ArgumentParser, words: argparse.Namespace) -> None:
    if words.runs is not None and words.runs < 1:
        parser.error("runs is positive")
    if any(value is not None and value <= 0 for value in (words.seconds, words.minutes)):
        parser.error("seconds and minutes are positive")
    # A stop must pass through the blocks that end what was started.
    signal.signal(signal.SIGTERM, _leave)


def ask(question: Question) -> None:
    """The command line of one question; it measures, prints and saves."""
    module = inspect.getmodule(question.measure)
    parser = argparse.ArgumentParser(
        prog=f"python -m benchmarks.{question.name}",
        description=module.__doc__ if module else question.text,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_arguments(parser, question)
    words = parser.parse_args()
    check(parser, words)
    try:
        run(question, question.options(words.runs, words.seconds, words.minutes, words.quick), keep=not words.dry)
    except KeyboardInterrupt:
        print("Stopped.")
        sys.exit(130)


def run(question: Question, options: Options, *, keep: bool = True) -> Result:
    """Measure, print, save; quick results go where nobody takes them for figures."""
    busy = psutil.cpu_percent(1.0) / 100
    progress.restart()
    print(f"{question.name}: {question.text}", flush=True)
    if busy > BUSY:
        print(f"  others use {busy:.0%} of this machine; its figures will not be the best", flush=True)
    load = load_average()
    answer = question.measure(options)
    result = Result(
        name=question.name,
        question=question.text,
        measured_at=now(),
        took_s=round(progress.elapsed(), 1),
        busy_before=round(busy, 2),
        load_average_before=load,
        machine=machine(),
        settings=answer.settings,
        figures=answer.figures,
        curves=answer.curves,
        details=answer.details,
    )
    for line in (*map(describe, result.figures), *map(describe_curve, result.curves)):
        print(line, flush=True)
    if keep:
        path = save(result, QUICK if options.quick else RESULTS)
        plot(result, path.with_suffix(".svg"))
        print(f"  saved as {path.parent.name}/{path.name}", flush=True)
    print(f"  {question.name} took {progress.elapsed():.0f} s", flush=True)
    return result


def _leave(_number: int, _frame: FrameType | None) -> None:
    sys.exit(143)
