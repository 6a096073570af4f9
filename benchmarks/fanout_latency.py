"""Fan-out latency: how long until the last of 1,000 readers has a message?

One room, 1,000 sockets, 20 messages of 200 bytes a second from one of them. Measured from the sending of a message
until its last reader has it, in the same client that reads all sockets, so that its own time is in all figures. The
peers store nothing; ours commits each message first. Each peer is started, measured in turns with us, and ended before
the next: node `ws`, Socket.IO 4, and on uvicorn Starlette, python-socketio and Django Channels. Medians of the runs'
percentiles; ours are of all its runs.
"""

import asyncio
from typing import Any

from benchmarks.support.figures import Figure, PeerRuns
from benchmarks.support.load import Load, members, opened
from benchmarks.support.peers import IN_NODE, IN_PYTHON, Kind, started
from benchmarks.support.people import make_room, people
from benchmarks.support.progress import progress
from benchmarks.support.question import Answer, Options, Question, ask
from benchmarks.support.system import UNLIMITED, System, running

PEOPLE = 50
SOCKETS = 1000
PER_SECOND = 20
# As multiples of the best peer's.
TARGETS = {"p50": 1.15, "p99": 1.0}

Seen = dict[str, list[dict[str, Any]]]


async def _measure(options: Options) -> Answer:
    seen: Seen = {"ours": []}
    failed = {}
    size = options.sized(SOCKETS, 50)
    with running(**UNLIMITED) as system:
        async with people(system.url, options.sized(PEOPLE, 4)) as crowd:
            plans = await members(crowd, await make_room(crowd), size)
        with opened(system.port, plans) as ours:
            progress("the platform runs, all sockets are open")
            for kind in (*IN_NODE, *IN_PYTHON):
                try:
                    _in_turns(kind, system, ours, seen, options)
                    progress(kind.name)
                except RuntimeError as failure:
                    seen.pop(kind.name, None)
                    failed[kind.name] = str(failure)
                    progress(f"{kind.name} could not: {failure}")
    figures = [
        Figure(
            name=f"last of {size:,} readers, {PER_SECOND} messages/s, {part}",
            unit="ms",
            runs=[run["last_reader_ms"][part] for run in seen["ours"]],
            peers=[
                PeerRuns(name=name, runs=[run["last_reader_ms"][part] for run in runs])
                for name, runs in seen.items()
                if name != "ours"
            ]
            + [PeerRuns(name=name, note="could not") for name in failed],
            target=target,
            bound="at most",
            of_ratio=True,
        )
        for part, target in TARGETS.items()
    ]
    return Answer(figures=figures, settings=UNLIMITED, details={**seen, "failed": failed})


def _in_turns(kind: Kind, system: System, ours: Load, seen: Seen, options: Options) -> None:
    with started(kind) as peer, opened(peer.port, peer.one_room(ours.sockets)) as theirs:
        for _ in range(options.runs):
            seen.setdefault(kind.name, []).append(theirs.rate(PER_SECOND, options.seconds))
            cores: dict[str, float] = {}
            with system.using(cores):
                found = ours.rate(PER_SECOND, options.seconds)
            seen["ours"].append({**found, "cores": cores})


def measure(options: Options) -> Answer:
    return asyncio.run(_measure(options))


QUESTION = Question("fanout_latency", "How long until the last of 1,000 readers has a message?", measure, 5, 5.0)

if __name__ == "__main__":
    ask(QUESTION)
