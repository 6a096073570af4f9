"""Stream costs: what does each step of a live stream take of its process?

The platform's own code for streams, a step at a time, in one process that does nothing else; what it sends is taken by
another. Counted is the processor time of the process measured, system calls included, not that of the taker.

- a shard's message: deciding it, encoding it for each gateway, sending it to each and taking the acknowledgement, at 2
  to 512 gateways; the database is not in it;
- a report to a shard: decoding and adding up who came and left, at 2 to 512 gateways; the memory for each person;
- a delivery at a gateway: decoding a batch and writing it to 500 and 2,000 sockets, with one message in it and with
  eight;
- a report at a gateway: finding out who came and left, among 500 and 2,000.

The simulation of large audiences is made of these (`python -m benchmarks.audience`).
"""

import time
from contextlib import AbstractAsyncContextManager

import psutil
import uvloop

from benchmarks.support import stream_steps as steps
from benchmarks.support.figures import Curve, Figure
from benchmarks.support.load import raise_file_limit
from benchmarks.support.processes import resident_bytes
from benchmarks.support.progress import progress
from benchmarks.support.question import Answer, Options, Question, ask

GATEWAYS = (2, 16, 64, 256, 512)
SOCKETS = (500, 2000)
JOINED = (1, 8)
PEOPLE = 200_000
# Those of whom the reports are, in all.
REPORTED = 10_000
A_REPORT = 1000


async def _cost_us(step: AbstractAsyncContextManager[steps.Step], options: Options) -> list[float]:
    """Processor time of one step, in each run."""
    found = []
    async with step as take:
        await take(0)
        turn = 0
        for _ in range(options.runs):
            first, began, used = turn, time.monotonic(), time.process_time()
            while time.monotonic() - began < options.seconds:
                turn += 1
                await take(turn)
            found.append(1e6 * (time.process_time() - used) / (turn - first))
    return found


def _person_bytes(people: int) -> float:
    """What a shard's memory grows by for each person who watches."""
    core, process = steps.core_with(["Gateway-0"]), [psutil.Process()]
    before = resident_bytes(process)
    for start in range(0, people, A_REPORT):
        came = [steps.person(number) for number in range(start, start + A_REPORT)]
        steps.submit(core, steps.encoded_report(0, came, []))
    return (resident_bytes(process) - before) / people


async def _measure(options: Options) -> Answer:
    gateways, sockets = options.sized(GATEWAYS, (2, 16)), options.sized(SOCKETS, (50, 100))
    raise_file_limit(max(sockets))
    # Before anything else: memory that was freed would be taken again and not be seen.
    memory = Figure(
        name="a shard's memory for a viewer", unit="bytes", runs=[_person_bytes(options.sized(PEOPLE, 20_000))]
    )
    progress("memory")
    messages = [await _cost_us(steps.saying(count), options) for count in gateways]
    progress("messages")
    reports = [await _cost_us(steps.reporting(count, REPORTED), options) for count in gateways]
    progress("reports")
    written = {
        joined: [await _cost_us(steps.delivering(count, joined), options) for count in sockets] for joined in JOINED
    }
    progress("deliveries")
    noticed = [await _cost_us(steps.noticing(count), options) for count in sockets]
    curves = [
        _curve("a message at its shard, without the database", "gateways", gateways, messages),
        _curve("a report at its shard", "gateways", gateways, reports),
        *(_curve(f"a batch of {joined} at a gateway", "sockets", sockets, runs) for joined, runs in written.items()),
        _curve("finding out who came and left at a gateway", "sockets", sockets, noticed),
    ]
    return Answer(figures=[memory], curves=curves)


def _curve(name: str, x_name: str, x: tuple[int, ...], runs: list[list[float]]) -> Curve:
    return Curve(name=name, unit="µs", x_name=x_name, x=[float(each) for each in x], runs=runs)


def measure(options: Options) -> Answer:
    return uvloop.run(_measure(options))


QUESTION = Question("stream_costs", "What does each step of a live stream take of its process?", measure, 3, 1.0)

if __name__ == "__main__":
    ask(QUESTION)
