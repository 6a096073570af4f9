"""Idle sockets: what does one cost the gateway?

5,000 sockets of 100 people, each authenticated and in one of 100 rooms, saying nothing. Counted is what the resident
memory of all gateways grew by, from before the first socket until all are open and at rest, divided by their number:
whatever the gateway builds up on the way is in it. People and rooms are made in a run before, for the hashing of
passwords leaves free memory behind, which would hide what sockets need. The peer is a plain node `ws` server, where
a socket has no identity and no room.
"""

import asyncio
import time
from collections.abc import Sequence

import psutil

from benchmarks.support.figures import Figure
from benchmarks.support.load import BARE, Plan, member, opened
from benchmarks.support.peers import node_broadcast
from benchmarks.support.people import at_once, make_room, people
from benchmarks.support.processes import resident_bytes
from benchmarks.support.question import Answer, Options, Question, ask
from benchmarks.support.system import new_home, running_at

PEOPLE = 100
ROOMS = 100
SOCKETS = 5000
IN_A_ROOM = SOCKETS // ROOMS
TARGET_KIB = 25.0


async def _plans(url: str) -> list[Plan]:
    """Fifty different people in each room, fifty sockets of each person."""
    async with people(url, PEOPLE) as crowd:
        rooms = await at_once(make_room(crowd) for _ in range(ROOMS))
        paths = [await person.socket_path() for person in crowd]
    return [
        member(paths[(number + place) % PEOPLE], room_id)
        for number, room_id in enumerate(rooms)
        for place in range(IN_A_ROOM)
    ]


def measure(options: Options) -> Answer:
    ours, peers = [], []
    for _ in range(options.runs):
        with new_home() as home:
            with running_at(home) as system:
                plans = asyncio.run(_plans(system.url))
            with running_at(home) as system:
                ours.append(_growth(system.actors("Gateway"), system.port, plans, options.seconds))
        with node_broadcast() as peer:
            peers.append(_growth([psutil.Process(peer.pid)], peer.port, [BARE] * SOCKETS, options.seconds))
    figure = Figure(
        name=f"an idle socket in one room, at {SOCKETS:,}",
        unit="KiB",
        runs=ours,
        peer_runs=peers,
        target=TARGET_KIB,
        bound="at most",
    )
    return Answer(figures=[figure])


def _growth(servers: list[psutil.Process], port: int, plans: Sequence[Plan], seconds: float) -> float:
    """KiB a socket."""
    before = resident_bytes(servers)
    with opened(port, plans):
        time.sleep(seconds)
        return (resident_bytes(servers) - before) / 1024 / len(plans)


QUESTION = Question("idle_sockets", "What does an idle socket cost the gateway?", measure, runs=1, seconds=10.0)

if __name__ == "__main__":
    ask(QUESTION)
