"""Opening a room: how long does one with 100,000 stored events take?

Three rooms of 100,000 messages of 200 bytes each, written straight into the database, after which the platform is
started anew: no shard has any of them in memory. A client of the Python SDK that is connected already joins a room and
then asks for the first page of its history, 50 messages. Each room is opened once; the time is that of both together.
The first one also pays for whatever the platform does for the first time.
"""

import asyncio
import time
from pathlib import Path

from benchmarks.support.figures import Figure
from benchmarks.support.people import PASSWORD, make_room, people
from benchmarks.support.progress import progress
from benchmarks.support.question import Answer, Options, Question, ask
from benchmarks.support.stored import fill
from benchmarks.support.system import UNLIMITED, new_home, running_at
from veza.client import Client

EVENTS = 100_000
PAGE = 50
TARGET_MS = 50.0


async def _fill(home: Path, url: str, rooms: int, events: int) -> list[str]:
    """The ids of so many rooms that hold so many events."""
    async with people(url, 2) as crowd:
        room_ids = [await make_room(crowd) for _ in range(rooms)]
        for room_id in room_ids:
            await fill(home, room_id, crowd[0].id, events)
            progress(f"a room has {events:,} events")
    return room_ids


async def _open(url: str, room_ids: list[str], events: int) -> list[float]:
    """Milliseconds a room."""
    times = []
    async with Client(url) as client:
        await client.login("bench0@example.com", PASSWORD)
        async with client.connect() as chat:
            for room_id in room_ids:
                began = time.monotonic()
                room = await chat.join(room_id)
                page = await room.history(limit=PAGE)
                times.append((time.monotonic() - began) * 1000)
                if [message.seq for message in page.messages] != list(range(events, events - PAGE, -1)):
                    raise RuntimeError("the page is not the newest one")
    return times


def measure(options: Options) -> Answer:
    events = options.sized(EVENTS, 1000)
    with new_home() as home:
        with running_at(home, **UNLIMITED) as system:
            room_ids = asyncio.run(_fill(home, system.url, options.runs, events))
        with running_at(home, **UNLIMITED) as system:
            times = asyncio.run(_open(system.url, room_ids, events))
    figures = [
        Figure(
            name=f"a room of {events:,} events opens: join and first page",
            unit="ms",
            runs=times,
            target=TARGET_MS,
            bound="at most",
        ),
        Figure(name="the slowest of them", unit="ms", runs=[max(times)], target=TARGET_MS, bound="at most"),
    ]
    return Answer(figures=figures, settings=UNLIMITED)


QUESTION = Question("room_open", "How long does a room with 100,000 stored events take to open?", measure, 3, 1.0)

if __name__ == "__main__":
    ask(QUESTION)
