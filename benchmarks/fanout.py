"""Fan-out: how many deliveries a second does one room make?

One room, 1,000 and 200 sockets, messages of 200 bytes, and a number of them in flight at any time: the sender
writes the next one when the number on their way falls below it. A message of ours is committed to PostgreSQL before
anybody is shown it. The peer, a plain node `ws` server that stores nothing, is measured by the same client in turns
with us; its clients stay connected, silent, while we are measured, and ours while it is.

The first socket sends everything, but for one figure where 64 sockets take turns. The rate limit for people is
lifted (CHAT_MESSAGES_PER_MINUTE, CHAT_MESSAGE_BURST): one person writes here what thousands would.
"""

import asyncio
from typing import Any

from benchmarks.support.figures import Figure
from benchmarks.support.load import BARE, Load, members, opened
from benchmarks.support.peers import node_broadcast
from benchmarks.support.people import make_room, people, stored_events
from benchmarks.support.question import Answer, Options, Question, ask
from benchmarks.support.system import UNLIMITED, System, running

PEOPLE = 50
# sockets, in flight, senders, the target as a multiple of the peer
CASES = (
    (1000, 8, 1, 2.0),
    (1000, 64, 1, 6.0),
    (1000, 64, 64, None),
    (1000, 256, 1, None),
    (200, 8, 1, None),
    (200, 64, 1, None),
)


async def _measure(options: Options) -> Answer:
    figures, details = [], {}
    with running(**UNLIMITED) as system, node_broadcast() as peer:
        async with people(system.url, PEOPLE) as crowd:
            for size in sorted({case[0] for case in CASES}, reverse=True):
                room_id = await make_room(crowd, f"fan-out {size}")
                # Tokens are good for five minutes: they are made when they are needed.
                plans = await members(crowd, room_id, size)
                before, sent = (await stored_events(crowd[:1]))[room_id], 0
                with opened(system.port, plans) as ours, opened(peer.port, [BARE] * size) as theirs:
                    for case in (case for case in CASES if case[0] == size):
                        figure, seen = _case(system, (ours, theirs), case, options)
                        figures.append(figure)
                        details[figure.name] = seen
                        sent += sum(run["total"] for run in seen["ours"])
                stored = (await stored_events(crowd[:1]))[room_id] - before
                if stored != sent:
                    raise RuntimeError(f"{sent} messages were shown, {stored} are stored")
    return Answer(figures=figures, settings=UNLIMITED, details=details)


def _case(
    system: System, loads: tuple[Load, Load], case: tuple[int, int, int, float | None], options: Options
) -> tuple[Figure, dict[str, Any]]:
    """The figure of one case, and what the load generator saw in each run."""
    ours, theirs = loads
    size, in_flight, senders, target = case
    seen: dict[str, list[dict[str, Any]]] = {"ours": [], "peer": []}
    for _ in range(options.runs):
        seen["peer"].append(theirs.window(in_flight, senders, options.seconds))
        cores: dict[str, float] = {}
        with system.using(cores):
            seen["ours"].append(ours.window(in_flight, senders, options.seconds))
        seen["ours"][-1]["cores"] = cores
    figure = Figure(
        name=f"fan-out, {size:,} sockets, {in_flight} in flight" + (f", {senders} senders" if senders > 1 else ""),
        unit="deliveries/s",
        runs=[run["deliveries"] / run["seconds"] for run in seen["ours"]],
        peer_runs=[run["deliveries"] / run["seconds"] for run in seen["peer"]],
        target=target,
        of_ratio=True,
    )
    return figure, dict(seen)


def measure(options: Options) -> Answer:
    return asyncio.run(_measure(options))


QUESTION = Question(
    "fanout", "How many deliveries a second does one room make, each message stored first?", measure, seconds=2.5
)

if __name__ == "__main__":
    ask(QUESTION)
