"""Many rooms: how many messages a second are stored when everybody talks?

1,000 rooms of two members, 2,000 sockets. Each socket sends 200 bytes to its room, waits for the reply that says
the message is stored, and sends the next. Replies are counted, and afterwards what the rooms hold is compared with
what was sent: no more, no less.
"""

import asyncio
from typing import Any

from benchmarks.support.figures import Figure
from benchmarks.support.load import Plan, member, opened
from benchmarks.support.people import Person, at_once, make_room, people, stored_events
from benchmarks.support.question import Answer, Options, Question, ask
from benchmarks.support.system import UNLIMITED, running

PEOPLE = 50
ROOMS = 1000
TARGET = 5000.0


async def _measure(options: Options) -> Answer:
    runs: list[dict[str, Any]] = []
    with running(**UNLIMITED) as system:
        async with people(system.url, PEOPLE) as crowd:
            plans = await _plans(crowd)
            before = sum((await stored_events(crowd)).values())
            sent = 0
            with opened(system.port, plans) as sockets:
                for _ in range(options.runs):
                    cores: dict[str, float] = {}
                    with system.using(cores):
                        measured, total = sockets.rooms(options.seconds)
                    if total["unanswered"] or total["replies"] != total["sent"]:
                        raise RuntimeError(f"not every message was answered: {total}")
                    runs.append({**measured, "cores": cores})
                    sent += total["sent"]
            stored = sum((await stored_events(crowd)).values()) - before
    if stored != sent:
        raise RuntimeError(f"{sent} messages were acknowledged, {stored} are stored")
    figures = [
        Figure(
            name=f"{ROOMS:,} rooms of two, all talking",
            unit="stored messages/s",
            runs=[run["replies"] / run["seconds"] for run in runs],
            target=TARGET,
        ),
        Figure(
            name="the reply to each, with 2,000 in flight, p50",
            unit="ms",
            runs=[run["reply_ms"]["p50"] for run in runs],
        ),
    ]
    return Answer(figures=figures, settings=UNLIMITED, details={"runs": runs, "stored": stored, "sent": sent})


async def _plans(crowd: list[Person]) -> list[Plan]:
    """Two sockets a room, of two people who share no other room."""
    pairs = [(room % PEOPLE, (room + 1 + room // PEOPLE) % PEOPLE) for room in range(ROOMS)]
    rooms = await at_once(make_room([crowd[one], crowd[other]]) for one, other in pairs)
    paths = [await person.socket_path() for person in crowd]
    return [member(paths[index], room_id) for room_id, pair in zip(rooms, pairs, strict=True) for index in pair]


def measure(options: Options) -> Answer:
    return asyncio.run(_measure(options))


QUESTION = Question("rooms", "How many messages a second are stored when 1,000 rooms talk?", measure, seconds=5.0)

if __name__ == "__main__":
    ask(QUESTION)
