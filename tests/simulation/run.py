"""One seed, one world."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from simulation.actions import Plan
from simulation.acts import perform
from simulation.loop import running
from simulation.promises import Broken
from simulation.world import World
from veza.http import websocket
from veza.realtime import feed, following, joins, known, presence, protocol, room

# So small that a short story reaches them.
BOUNDS = [
    (protocol, "PAGE_EVENTS", 4),
    (following, "CATCH_UP_EVENTS", 3),
    (joins, "JOINER_BYTES", 1500),
    (feed, "HELD_FRAMES", 5),
    (known, "REMEMBERED", 4),
    (room, "REMEMBERED_MESSAGES", 2),
    (websocket, "HIGH_WATER", 1000),
    (websocket, "BACKLOG_BYTES", 5000),
    (websocket, "BACKLOG_S", 1.5),
    (websocket, "CLOSE_S", 0.5),
    (presence, "BEAT_S", 0.75),
    (presence, "LEASE_S", 2.4),
    (presence, "GRACE_S", 0.9),
    (presence, "AWAKE_S", 0.3),
]


@contextmanager
def small_bounds() -> Iterator[None]:
    before = [(module, name, getattr(module, name)) for module, name, _ in BOUNDS]
    for module, name, value in BOUNDS:
        setattr(module, name, value)
    try:
        yield
    finally:
        for module, name, value in before:
            setattr(module, name, value)


def simulate(
    plan: Plan, seen: Counter[str] | None = None, tell: Callable[[float, str], None] | None = None
) -> Broken | None:
    """Perform a plan; the promise that it broke, if it did. Adds what happened to `seen`."""
    with small_bounds():
        world = World(plan, perform, tell)
        try:
            with running(world.clock):
                world.run()
        except Broken as broken:
            return broken
        finally:
            if seen is not None:
                seen.update(world.seen)
                seen["step"] += world.clock.steps
    return None
