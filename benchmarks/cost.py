"""Cost: what does a message take as rooms, members, shards and nodes grow?

Processor time of the whole system (gateways, shards, database and all else) over a stretch at a fixed rate, less what
it uses at rest, divided by the messages stored and delivered. The load generator's own time is not in it.

- rooms: 1 to 1,000 of five members, 1,000 messages a second in all;
- members: one room of 10 to 1,000 sockets, 50 messages a second;
- shards: 1, 2 and 4 (VEZA_ROOM_SHARDS), 200 rooms of five, 1,000 messages a second; and how many a second they store
  when each room has one message waiting for its reply;
- nodes: the same on 1, 2 and 3 Ray nodes, which share the cores of this machine, each with a gateway and a shard of
  its own.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from benchmarks.support.figures import Curve
from benchmarks.support.load import Load, members, opened
from benchmarks.support.nodes import running_on
from benchmarks.support.people import make_room, people
from benchmarks.support.population import plan_rooms
from benchmarks.support.progress import progress
from benchmarks.support.question import Answer, Options, Question, ask
from benchmarks.support.system import UNLIMITED, System, running

PEOPLE = 100
IN_A_ROOM = 5
PER_SECOND = 1000
PER_SECOND_IN_ONE = 50
ROOMS = (1, 10, 100, 1000)
MEMBERS = (10, 50, 200, 500, 1000)
SHARDS = (1, 2, 4)
NODES = (1, 2, 3)
ROOMS_OF_SHARDS = 200
REST_S = 4.0


class Points(NamedTuple):
    """For each x the runs."""

    x: list[float]
    runs: list[list[float]]

    def add(self, x: float, runs: list[float]) -> None:
        self.x.append(x)
        self.runs.append(runs)


def _rest(system: System) -> float:
    """Processor seconds a second when nobody says anything."""
    before, began = system.cpu_seconds(), time.monotonic()
    time.sleep(REST_S)
    return (system.cpu_seconds() - before) / (time.monotonic() - began)


def _costs(system: System, rest: float, send: Callable[[], dict[str, Any]], runs: int) -> list[float]:
    """Microseconds of processor time a message, in each run."""
    found = []
    for _ in range(runs):
        before, began = system.cpu_seconds(), time.monotonic()
        sent = send()["total"]
        used = system.cpu_seconds() - before - rest * (time.monotonic() - began)
        found.append(1e6 * used / sent)
    return found


async def _rooms_and_members(options: Options) -> list[Curve]:
    room_counts = options.sized(ROOMS, (1, 10))
    sizes = options.sized(MEMBERS, (5, 20))
    by_rooms, by_members = Points([], []), Points([], [])
    with running(**UNLIMITED) as system:
        with opened(system.port, await plan_rooms(system, max(room_counts), IN_A_ROOM)) as sockets:
            rest = _rest(system)
            for count in room_counts:
                by_rooms.add(count, _costs(system, rest, _pacing(sockets, count, options), options.runs))
                progress(f"{count:,} rooms")
        async with people(system.url, options.sized(PEOPLE, 10)) as crowd:
            room_id = await make_room(crowd)
            for size in sizes:
                with opened(system.port, await members(crowd, room_id, size)) as sockets:
                    rest = _rest(system)
                    by_members.add(size, _costs(system, rest, _rate(sockets, options), options.runs))
                progress(f"a room of {size:,}")
    return [
        Curve(
            name=f"processor time a message, {PER_SECOND:,} messages/s in rooms of {IN_A_ROOM}",
            unit="µs",
            x_name="rooms",
            x=by_rooms.x,
            runs=by_rooms.runs,
        ),
        Curve(
            name=f"processor time a message, {PER_SECOND_IN_ONE} messages/s in one room",
            unit="µs",
            x_name="members",
            x=by_members.x,
            runs=by_members.runs,
        ),
    ]


def _pacing(sockets: Load, rooms: int, options: Options) -> Callable[[], dict[str, Any]]:
    return lambda: sockets.pace(PER_SECOND, options.seconds, rooms)


def _rate(sockets: Load, options: Options) -> Callable[[], dict[str, Any]]:
    return lambda: sockets.rate(PER_SECOND_IN_ONE, options.seconds)


async def _rooms_of(system: System, options: Options) -> tuple[list[float], list[float]]:
    """What a message costs in a number of rooms, and how many a second are stored at most, in each run."""
    with opened(system.port, await plan_rooms(system, options.sized(ROOMS_OF_SHARDS, 10), IN_A_ROOM)) as sockets:
        costs = _costs(system, _rest(system), _pacing(sockets, sockets.rooms_open, options), options.runs)
        peaks = [sockets.rooms(options.seconds) for _ in range(options.runs)]
    return costs, [run["replies"] / run["seconds"] for run in peaks]


async def _by_shards(options: Options) -> list[Curve]:
    costs, peaks = Points([], []), Points([], [])
    for shards in options.sized(SHARDS, (1, 2)):
        with running(**UNLIMITED, VEZA_ROOM_SHARDS=str(shards)) as system:
            cost, peak = await _rooms_of(system, options)
        costs.add(shards, cost)
        peaks.add(shards, peak)
        progress(f"{shards} shards")
    return _two_curves("shards", costs, peaks, options)


async def _by_nodes(options: Options) -> list[Curve]:
    costs, peaks = Points([], []), Points([], [])
    for nodes in options.sized(NODES, (1, 2)):
        with running_on(nodes, **UNLIMITED, VEZA_ROOM_SHARDS="1", VEZA_GATEWAYS="1") as system:
            cost, peak = await _rooms_of(system, options)
        costs.add(nodes, cost)
        peaks.add(nodes, peak)
        progress(f"{nodes} nodes")
    return _two_curves("nodes", costs, peaks, options)


def _two_curves(what: str, costs: Points, peaks: Points, options: Options) -> list[Curve]:
    rooms = options.sized(ROOMS_OF_SHARDS, 10)
    return [
        Curve(
            name=f"processor time a message, {PER_SECOND:,} messages/s in {rooms} rooms of {IN_A_ROOM}",
            unit="µs",
            x_name=what,
            x=costs.x,
            runs=costs.runs,
        ),
        Curve(
            name=f"stored when {rooms} rooms of {IN_A_ROOM} talk",
            unit="messages/s",
            x_name=what,
            x=peaks.x,
            runs=peaks.runs,
        ),
    ]


async def _measure(options: Options) -> Answer:
    curves = await _rooms_and_members(options)
    curves += await _by_shards(options)
    curves += await _by_nodes(options)
    return Answer(figures=[], curves=curves, settings=UNLIMITED)


def measure(options: Options) -> Answer:
    return asyncio.run(_measure(options))


QUESTION = Question("cost", "What does a message take as rooms, members, shards and nodes grow?", measure, 3, 3.0)

if __name__ == "__main__":
    ask(QUESTION)
