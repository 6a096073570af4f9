"""Fan-out latency: how long until the last of 1,000 readers has a message?

One room, 1,000 sockets, 20 messages of 200 bytes a second from one of them. Measured from the sending of a message
until its last reader has it, in the same client that reads all sockets, so that its own time is in both figures.
The peer is a plain node `ws` server that stores nothing; ours commits each message first. In turns, medians of the
runs' percentiles.
"""

import asyncio
from typing import Any

from benchmarks.support.figures import Figure
from benchmarks.support.load import BARE, members, opened
from benchmarks.support.peers import node_broadcast
from benchmarks.support.people import make_room, people
from benchmarks.support.question import Answer, Options, Question, ask
from benchmarks.support.system import UNLIMITED, running

PEOPLE = 50
SOCKETS = 1000
PER_SECOND = 20
TARGETS = {"p50": 1.3, "p99": 1.5}


async def _measure(options: Options) -> Answer:
    seen: dict[str, list[dict[str, Any]]] = {"ours": [], "peer": []}
    with running(**UNLIMITED) as system, node_broadcast() as peer:
        async with people(system.url, PEOPLE) as crowd:
            plans = await members(crowd, await make_room(crowd), SOCKETS)
        with opened(system.port, plans) as ours, opened(peer.port, [BARE] * SOCKETS) as theirs:
            for _ in range(options.runs):
                seen["peer"].append(theirs.rate(PER_SECOND, options.seconds))
                cores: dict[str, float] = {}
                with system.using(cores):
                    seen["ours"].append(ours.rate(PER_SECOND, options.seconds))
                seen["ours"][-1]["cores"] = cores
    figures = [
        Figure(
            name=f"last of {SOCKETS:,} readers, {PER_SECOND} messages/s, {part}",
            unit="ms",
            runs=[run["last_reader_ms"][part] for run in seen["ours"]],
            peer_runs=[run["last_reader_ms"][part] for run in seen["peer"]],
            target=target,
            bound="at most",
            of_ratio=True,
        )
        for part, target in TARGETS.items()
    ]
    return Answer(figures=figures, settings=UNLIMITED, details=dict(seen))


def measure(options: Options) -> Answer:
    return asyncio.run(_measure(options))


QUESTION = Question(
    "fanout_latency", "How long until the last of 1,000 readers has a message?", measure, runs=5, seconds=8.0
)

if __name__ == "__main__":
    ask(QUESTION)
