"""All questions, one after another; `--table` prints the figures of the last time in Markdown."""

import argparse

from benchmarks import at_rest, fanout, fanout_latency, health, idle_sockets, killed_shard, reply, rooms
from benchmarks.support.figures import load_all, table
from benchmarks.support.question import Options, run

QUESTIONS = [
    module.QUESTION for module in (fanout, fanout_latency, reply, rooms, idle_sockets, killed_shard, at_rest, health)
]


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure everything, in ten minutes or less. Each question alone: python -m benchmarks.<name>.",
        epilog="Questions: " + "; ".join(f"{question.name}: {question.text}" for question in QUESTIONS),
    )
    parser.add_argument("--table", action="store_true", help="print the saved figures in Markdown, measure nothing")
    if parser.parse_args().table:
        print(table(load_all()))
        return
    results = [run(question, Options(question.runs, question.seconds)) for question in QUESTIONS]
    print()
    print(table(results))


if __name__ == "__main__":
    main()
