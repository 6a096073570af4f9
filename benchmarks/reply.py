"""Reply: how long does one client wait for `stored`?

One client of the Python SDK sends 200 bytes, waits for the reply that says the message is committed to PostgreSQL,
then sends the next. Nothing else runs. There is no peer: the node server stores nothing.
"""

import asyncio
import time

from benchmarks.support.figures import Figure
from benchmarks.support.people import make_room, people
from benchmarks.support.question import Answer, Options, Question, ask
from benchmarks.support.system import UNLIMITED, running
from veza.client import Room

CONTENT = "x" * 200
# The first ones pay for what is done once: connections, plans, caches.
WARM_UP = 50
TARGETS_MS = {"p50": 8.0, "p99": 25.0}


async def _measure(options: Options) -> Answer:
    with running(**UNLIMITED) as system:
        async with people(system.url, 2) as crowd:
            room_id = await make_room(crowd)
            async with crowd[0].client.connect() as chat:
                room = await chat.join(room_id)
                for _ in range(WARM_UP):
                    await _send(room)
                runs = [await _run(room, options.seconds) for _ in range(options.runs)]
    figures = [
        Figure(
            name=f"send → stored reply, {part}",
            unit="ms",
            runs=[run[int(len(run) * share)] for run in runs],
            target=TARGETS_MS[part],
            bound="at most",
        )
        for part, share in (("p50", 0.5), ("p99", 0.99))
    ]
    return Answer(figures=figures, settings=UNLIMITED, details={"messages": [len(run) for run in runs]})


async def _run(room: Room, seconds: float) -> list[float]:
    """Milliseconds, sorted."""
    end = time.monotonic() + seconds
    times = []
    while time.monotonic() < end:
        times.append(await _send(room))
    return sorted(times)


async def _send(room: Room) -> float:
    began = time.monotonic()
    stored = await room.send(CONTENT)
    waited = (time.monotonic() - began) * 1000
    # It comes back as an event too; taken here, for a room that nobody reads pauses the socket.
    while (await anext(room)).seq < stored.seq:
        pass
    return waited


def measure(options: Options) -> Answer:
    return asyncio.run(_measure(options))


QUESTION = Question("reply", "How long does one client wait for its message to be stored?", measure, seconds=5.0)

if __name__ == "__main__":
    ask(QUESTION)
