"""Connect storm: 5,000 sockets are cut and come back at once; when has each all it missed?

Ten rooms of 500 sockets. One socket of each room stays and writes, 100 messages a second in all, from before the cut
until after the last one has come back; the others are cut without a word, stay away for two seconds, and then connect,
authenticate and join all at once, with the `last_seq` they have, page after page until nothing is missing. Measured is
the time from the first of them until the last has caught up with the room. What each socket got is checked event by
event: a gap is a loss. Every message that was written is answered as stored.
"""

import asyncio
from typing import Any

from benchmarks.support.figures import Figure
from benchmarks.support.load import Plan, member, opened
from benchmarks.support.people import Person, at_once, make_room, people
from benchmarks.support.progress import progress
from benchmarks.support.question import Answer, Options, Question, ask
from benchmarks.support.system import UNLIMITED, running

PEOPLE = 100
ROOMS = 10
IN_A_ROOM = 500
PER_SECOND = 100
DOWN_S = 2.0
PATIENCE_S = 60.0
TARGET_S = 15.0
# The new sockets of a person may come before the gateways have noticed the end of all old ones.
SETTINGS = {**UNLIMITED, "VEZA_MAX_SOCKETS_PER_USER": "128"}


async def _measure(options: Options) -> Answer:
    in_a_room = options.sized(IN_A_ROOM, 10)
    runs: list[dict[str, Any]] = []
    with running(**SETTINGS) as system:
        async with people(system.url, options.sized(PEOPLE, 10)) as crowd:
            plans = await _plans(crowd, in_a_room)
            with opened(system.port, plans) as sockets:
                progress(f"{len(plans):,} sockets are open")
                for _ in range(options.runs):
                    cores: dict[str, float] = {}
                    with system.using(cores):
                        found = sockets.storm(PER_SECOND, DOWN_S, PATIENCE_S)
                    runs.append({**found, "cores": cores})
                    progress(f"all back after {found['took']:.1f} s")
    back = len(plans) - ROOMS
    figures = [
        Figure(
            name=f"{back:,} sockets cut, back and caught up: the last one",
            unit="s",
            # One that did not come back in all the patience is as late as that.
            runs=[run["caught_up_ms"]["max"] / 1000 if run["ready"] == len(plans) else PATIENCE_S for run in runs],
            target=TARGET_S,
            bound="at most",
        ),
        Figure(name="half of them", unit="s", runs=[run["caught_up_ms"]["p50"] / 1000 for run in runs]),
        Figure(
            name="events that a socket missed or got twice, sockets left behind",
            unit="events or sockets",
            runs=[run["gaps"] + run["repeats"] + run["behind"] for run in runs],
            target=0,
            bound="at most",
        ),
    ]
    return Answer(figures=figures, settings=SETTINGS, details={"runs": runs})


async def _plans(crowd: list[Person], in_a_room: int) -> list[Plan]:
    rooms = await at_once(make_room(crowd) for _ in range(ROOMS))
    paths = [await person.socket_path() for person in crowd]
    return [
        member(paths[place % len(crowd)], room_id, number)
        for number, room_id in enumerate(rooms)
        for place in range(in_a_room)
    ]


def measure(options: Options) -> Answer:
    return asyncio.run(_measure(options))


QUESTION = Question("storm", "When have 5,000 sockets caught up that were cut?", measure, 3, 1.0)

if __name__ == "__main__":
    ask(QUESTION)
