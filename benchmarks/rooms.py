"""Many rooms: how many messages a second are stored when all of them talk, and how long is a reply at half of that?

2,000 rooms of five members, all connected: 10,000 people with a socket each. Each room has one message of 200 bytes
waiting for the reply that says it is stored; then its next member writes, and all five read. Replies are counted, and
afterwards what the rooms hold is compared with what was sent: no more, no less.

Then half of the rate that was found is sent, at a fixed pace whatever the replies do, over the same rooms. A reply's
time counts from the moment its message was due, so that a server that stalls is not spared by a client that waits.

Beside it Socket.IO 4 with as many rooms and sockets, which acknowledges at once and stores nothing; the same client.
"""

import asyncio
import statistics
from typing import Any

from benchmarks.support.figures import Figure, PeerRuns
from benchmarks.support.load import Load, opened
from benchmarks.support.peers import SOCKET_IO_4, started
from benchmarks.support.population import plan_rooms
from benchmarks.support.progress import progress
from benchmarks.support.question import Answer, Options, Question, ask
from benchmarks.support.stored import count_events
from benchmarks.support.system import UNLIMITED, System, running

ROOMS = 2000
MEMBERS = 5
TARGET = 6000.0
REPLY_TARGET_MS = 50.0

Runs = list[dict[str, Any]]


async def _measure(options: Options) -> Answer:
    rooms = options.sized(ROOMS, 20)
    with running(**UNLIMITED) as system:
        plans = await plan_rooms(system, rooms, MEMBERS)
        progress(f"{rooms:,} rooms are made")
        before = await count_events(system.home)
        with opened(system.port, plans) as sockets:
            progress(f"{len(plans):,} sockets are open")
            runs = _runs(system, sockets, options)
            progress("all talking")
            rate = statistics.median(_rates(runs)) / 2
            half = [sockets.pace(rate, options.seconds, rooms) for _ in range(options.runs)]
            progress("half of it")
        stored = await count_events(system.home) - before
    sent = sum(run["total"] for run in (*runs, *half))
    if stored != sent:
        raise RuntimeError(f"{sent} messages were acknowledged, {stored} are stored")
    with started(SOCKET_IO_4) as peer, opened(peer.port, peer.rooms(rooms, MEMBERS)) as sockets:
        theirs = [sockets.rooms(options.seconds) for _ in range(options.runs)]
        progress(SOCKET_IO_4.name)
    details = {"runs": runs, "half": half, SOCKET_IO_4.name: theirs, "stored": stored, "sent": sent}
    return Answer(figures=_figures(rooms, runs, half, theirs), settings=UNLIMITED, details=details)


def _runs(system: System, sockets: Load, options: Options) -> Runs:
    runs: Runs = []
    for _ in range(options.runs):
        cores: dict[str, float] = {}
        with system.using(cores):
            measured = sockets.rooms(options.seconds)
        runs.append({**measured, "cores": cores})
    return runs


def _rates(runs: Runs) -> list[float]:
    return [run["replies"] / run["seconds"] for run in runs]


def _figures(rooms: int, runs: Runs, half: Runs, theirs: Runs) -> list[Figure]:
    return [
        Figure(
            name=f"{rooms:,} rooms of {MEMBERS}, all talking",
            unit="stored messages/s",
            runs=_rates(runs),
            peers=[PeerRuns(name=f"{SOCKET_IO_4.name}, storing nothing", runs=_rates(theirs))],
            target=TARGET,
        ),
        Figure(
            name=f"the reply to each, with {rooms:,} in flight, p50",
            unit="ms",
            runs=[run["reply_ms"]["p50"] for run in runs],
            peers=[PeerRuns(name=SOCKET_IO_4.name, runs=[run["reply_ms"]["p50"] for run in theirs])],
        ),
        Figure(
            name="send → stored reply at half of that rate, p50",
            unit="ms",
            runs=[run["reply_ms"]["p50"] for run in half],
        ),
        Figure(
            name="send → stored reply at half of that rate, p99",
            unit="ms",
            runs=[run["reply_ms"]["p99"] for run in half],
            target=REPLY_TARGET_MS,
            bound="at most",
        ),
    ]


def measure(options: Options) -> Answer:
    return asyncio.run(_measure(options))


QUESTION = Question("rooms", "How many messages a second are stored when 2,000 rooms talk?", measure, 5, 4.0)

if __name__ == "__main__":
    ask(QUESTION)
