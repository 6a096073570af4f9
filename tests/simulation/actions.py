"""A plan, and what it is made of."""

from dataclasses import dataclass, field
from typing import Any

CLIENTS = 6
ROOMS = 4
DIRECT = 3  # the room of two
GATEWAYS = 2
SHARDS = 2
SECONDS = 6.0
# Messages a minute and at once: so many that nobody notices.
LOOSE = (6000, 1000)
ACTORS = (
    [f"gateway {i}" for i in range(GATEWAYS)] + [f"shard {i}" for i in range(SHARDS)] + ["Supervisor", "PostgreSQL"]
)


@dataclass(frozen=True)
class Action:
    """`who` is a client's number or -1, `what` a key of ACTIONS or FAULTS, `how` what is needed besides."""

    at: float
    what: str
    who: int = -1
    room: int = 0
    how: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Plan:
    seed: int
    actions: tuple[Action, ...] = field(default=())
    calm: bool = False  # the network has no moods
    limits: tuple[int, int] = LOOSE
