"""Idle sockets: what does one cost, and do they stay?

10,000 sockets of 100 people, each authenticated and in one of 100 rooms, saying nothing. Counted is what the resident
memory of all gateways and shards grew by, from before the first socket until all are open and at rest, divided by
their number: whatever they build up on the way is in it. People and rooms are made in a run before, for the hashing of
passwords leaves free memory behind, which would hide what sockets need.

Then they are held for ten minutes (`--minutes`), answering pings. Afterwards one message is written in each room: a
socket that was closed meanwhile, or does not get its room's message, is lost.

The peers are a plain node `ws` server, where a socket has no identity and no room, and Socket.IO 4.
"""

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import psutil

from benchmarks.support.figures import Figure, PeerRuns
from benchmarks.support.load import Plan, member, opened
from benchmarks.support.peers import IN_NODE, Kind, started
from benchmarks.support.people import at_once, make_room, people
from benchmarks.support.processes import resident_bytes
from benchmarks.support.progress import progress
from benchmarks.support.question import Answer, Options, Question, ask
from benchmarks.support.system import UNLIMITED, System, new_home, running_at

PEOPLE = 100
ROOMS = 100
SOCKETS = 10_000
TARGET_KIB = 16.0
SETTINGS = {**UNLIMITED, "VEZA_MAX_SOCKETS_PER_USER": "128"}


async def _plans(url: str, sockets: int, crowd_size: int, room_count: int) -> list[Plan]:
    """Different people in each room, all of them in all of the rooms."""
    async with people(url, crowd_size) as crowd:
        rooms = await at_once(make_room(crowd) for _ in range(room_count))
        paths = [await person.socket_path() for person in crowd]
    return [
        member(paths[(number + place) % crowd_size], room_id, number)
        for number, room_id in enumerate(rooms)
        for place in range(sockets // room_count)
    ]


def measure(options: Options) -> Answer:
    sockets, crowd, rooms = options.sized((SOCKETS, PEOPLE, ROOMS), (100, 10, 10))
    ours, grown, lost, held = [], [], [], []
    for run in range(options.runs):
        with new_home() as home:
            with running_at(home, **SETTINGS) as system:
                plans = asyncio.run(_plans(system.url, sockets, crowd, rooms))
            progress("people and rooms are made")
            with running_at(home, **SETTINGS) as system:
                # Once is enough: the first run is the long one.
                minutes = options.minutes if run == 0 else 0.0
                growth, found = _grow(system, plans, options.seconds, minutes)
        grown.append(growth)
        ours.append(sum(growth.values()))
        if minutes:
            held.append(found)
            lost.append(found["closed"] + found["lost"])
    peers = [PeerRuns(name=kind.name, runs=[_peer(kind, sockets, options.seconds)]) for kind in IN_NODE]
    figures = [
        Figure(
            name=f"an idle socket in one room, at {sockets:,}",
            unit="KiB",
            runs=ours,
            peers=peers,
            target=TARGET_KIB,
            bound="at most",
        ),
        Figure(
            name=f"of {sockets:,} idle sockets lost in {options.minutes:g} minutes",
            unit="sockets",
            runs=lost,
            target=0,
            bound="at most",
        ),
    ]
    return Answer(figures=figures, settings=SETTINGS, details={"kib_by_kind": grown, "after": held})


def _grow(
    system: System, plans: Sequence[Plan], seconds: float, minutes: float
) -> tuple[dict[str, float], dict[str, Any]]:
    """KiB a socket of each kind of actor; and what became of the sockets in so many minutes."""
    actors = {kind: system.actors(kind) for kind in ("Gateway", "RoomShard")}
    before = {kind: resident_bytes(found) for kind, found in actors.items()}
    with opened(system.port, plans) as sockets:
        time.sleep(seconds)
        growth = {kind: (resident_bytes(actors[kind]) - before[kind]) / 1024 / len(plans) for kind in actors}
        progress(f"{len(plans):,} sockets are open")
        if not minutes:
            return growth, {}
        time.sleep(minutes * 60)
        progress(f"held for {minutes:g} minutes")
        return growth, sockets.round()


def _peer(kind: Kind, sockets: int, seconds: float) -> float:
    """KiB a socket."""
    with started(kind) as peer:
        servers = [psutil.Process(peer.pid)]
        before = resident_bytes(servers)
        with opened(peer.port, peer.one_room(sockets)):
            time.sleep(seconds)
            growth = (resident_bytes(servers) - before) / 1024 / sockets
    progress(kind.name)
    return growth


QUESTION = Question("idle_sockets", "What does an idle socket cost, and does it stay?", measure, 1, 10.0, 10.0)

if __name__ == "__main__":
    ask(QUESTION)
