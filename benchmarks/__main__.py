"""The questions, one after another: all, or those named."""

import argparse
import time

from benchmarks import (
    at_rest,
    catalogue,
    checkout,
    cost,
    edge,
    fanout,
    fanout_latency,
    glass_to_glass,
    idle_sockets,
    killed_shard,
    limiter,
    live_stream,
    repackaging,
    reply,
    room_open,
    rooms,
    storm,
    stream_costs,
    transfers,
)
from benchmarks.support.figures import load_all, table
from benchmarks.support.question import Question, add_arguments, check, run

QUESTIONS: dict[str, Question] = {
    module.QUESTION.name: module.QUESTION
    for module in (
        fanout,
        fanout_latency,
        reply,
        rooms,
        room_open,
        storm,
        live_stream,
        stream_costs,
        repackaging,
        glass_to_glass,
        killed_shard,
        cost,
        at_rest,
        edge,
        limiter,
        idle_sockets,
        transfers,
        checkout,
        catalogue,
    )
}


def main() -> int:
    """The exit status: 1 when a question could not be answered. A target that is missed is an answer."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure everything, in 90 minutes or less, or what is named. How each question is measured: "
        "python -m benchmarks.<name> --help.",
        epilog="\n".join(f"  {question.name:<16}{question.text}" for question in QUESTIONS.values()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="question", help="one or more of those below (default: all)")
    parser.add_argument("--table", action="store_true", help="print the saved figures in Markdown, measure nothing")
    add_arguments(parser)
    words = parser.parse_args()
    check(parser, words)
    unknown = set(words.names) - set(QUESTIONS)
    if unknown:
        parser.error(f"no such question: {', '.join(sorted(unknown))}")
    if words.table:
        print(table(load_all()))
        return 0
    try:
        return _run_all([QUESTIONS[name] for name in words.names or QUESTIONS], words)
    except KeyboardInterrupt:
        print("Stopped.")
        return 130


def _run_all(questions: list[Question], words: argparse.Namespace) -> int:
    began, results, failed = time.monotonic(), [], []
    for question in questions:
        options = question.options(words.runs, words.seconds, words.minutes, words.quick)
        try:
            results.append(run(question, options, keep=not words.dry))
        except Exception as failure:
            failed.append(f"{question.name} could not be answered: {type(failure).__name__}: {failure}")
            print("  " + failed[-1], flush=True)
    print()
    print(table(results))
    print()
    for line in failed:
        print(line)
    if results:
        machine = results[0].machine
        print(f"On {machine['processor']}, {machine['cores']} cores, {machine['memory_gib']} GiB, {machine['kernel']}.")
    print(f"{len(results)} questions answered in {(time.monotonic() - began) / 60:.1f} minutes.")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
