"""What is to happen, made from a seed: actions of clients and faults, each at its moment, each independent of the
others, so that a plan from which some are left out is a plan as well.
"""

from dataclasses import dataclass, field
from random import Random
from typing import Any

CLIENTS = 6
ROOMS = 3
GATEWAYS = 2
SHARDS = 2
SECONDS = 6.0

# How often each happens in a world that knows it.
ACTIONS = {
    "send": 10,
    "send again": 3,
    "burst": 3,
    "edit": 3,
    "delete": 3,
    "react": 2,
    "pin": 1,
    "typing": 1,
    "read": 1,
    "join": 4,
    "leave": 2,
    "remove": 2,
    "add": 3,
    "ban": 1,
    "mute": 1,
    "rename": 1,
    "delete room": 1,
}
FAULTS = {
    "move": 4,
    "kill shard": 3,
    "kill gateway": 2,
    "pause shard": 3,
    "pause gateway": 1,
    "cut": 4,
    "store away": 2,
    "lose connections": 4,
    "drop client": 3,
    "take back": 2,
    "retain": 2,
}
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


def make_plan(seed: int, scene: str | None = None) -> Plan:
    """With a scene, little else happens in it."""
    chance = Random(f"{seed} plan")  # noqa: S311 - repeatable, not secret
    # Each world knows some kinds of actions and faults only: what is rare together is then not rare alone.
    actions = {what: weight for what, weight in ACTIONS.items() if what.startswith("send") or chance.random() < 0.6}
    faults = {what: weight for what, weight in FAULTS.items() if chance.random() < 0.5}
    made = [_action(chance, actions) for _ in range(chance.randint(8, 10 if scene else 40))]
    if scene is not None:
        made += SCENES[scene](chance)
    else:
        if faults:
            made += [_fault(chance, faults) for _ in range(chance.choice((0, 1, 2, 4, 7)))]
        for play in SCENES.values():
            if chance.random() < 0.1:
                made += play(chance)
    joins = [
        Action(chance.random() * 0.3, "join", who, room, ("resume",))
        for who in range(CLIENTS)
        for room in range(ROOMS)
        if chance.random() < 0.6
    ]
    return Plan(seed, tuple(sorted(joins + made, key=lambda action: action.at)))


# -- scenes: what is rare to come together by itself ---------------------------------------------------------------


def _come_back(chance: Random) -> list[Action]:
    """Somebody is removed, and taken back by another shard while the first, paused, still has to tell of it."""
    at, room, person = chance.random(), chance.randrange(ROOMS), chance.randrange(2)
    how, clients = (person / 2, 0.9), (person + 1, person + 4)
    made = [Action(at, "remove", 0, room, how), Action(at + 1.8, "add", 0, room, how)]
    made.append(Action(at + chance.uniform(0.001, 0.012), "pause shard", -1, room, (room % SHARDS, 3.0)))
    made += [Action(at + wait, "join", who, room, ("resume", 0.0)) for who in clients for wait in (2.1, 2.4)]
    return made + [Action(at + wait, "send", 3, room, (0.7, 0.0)) for wait in (2.6, 3.4)]


def _removed_by_the_dead(chance: Random) -> list[Action]:
    """Two are removed from everywhere by shards that die while they tell of it."""
    at, rooms = chance.random() * SECONDS / 2, range(ROOMS)
    made = [Action(at, "burst", 0, room, (chance.randint(1, 3),)) for room in rooms]
    made += [Action(at + 0.002, "remove", 0, room, (person / 2, 0.9)) for room in rooms for person in range(2)]
    made += [
        Action(at + chance.uniform(0.007, 0.013), "kill shard", -1, 0, (shard, 0.0))
        for shard in reversed(range(SHARDS))
    ]
    return made + [Action(at + 2.5, "send", 3, room, (0.7, 0.0)) for room in rooms]


def _there_and_back(chance: Random) -> list[Action]:
    """A partition is taken and given back while a gateway does not reach its owner."""
    at, room = chance.random() * SECONDS / 2, chance.randrange(ROOMS)
    made = [Action(at + 0.15 * n, "move", -1, room, ((room + n) % SHARDS, 0.0)) for n in (1, 2)]
    gateway, shard = f"gateway {chance.randrange(GATEWAYS)}", f"shard {room % SHARDS}"
    made.append(Action(at - 0.05, "cut", -1, 0, (gateway, shard, 0.5)))
    made += [Action(at + chance.uniform(-0.1, 0.3), "send", who, room, (0.7, 0.0)) for who in range(CLIENTS)]
    return made


def _followers_forgotten(chance: Random) -> list[Action]:
    """A shard gives its rooms up and keeps them while it stores what it has decided; somebody joins just then."""
    at, room, who = chance.uniform(1.0, SECONDS - 2), chance.randrange(ROOMS), chance.randrange(CLIENTS)
    made = [Action(at - 0.5, "leave", other, room) for other in range(CLIENTS)]
    made += [Action(at, "burst", (who + 1) % CLIENTS, room, (3,)), Action(at, "join", who, room, ("fresh", 0.0))]
    made.append(Action(at + chance.uniform(0.002, 0.01), "take back", -1, room, (room % SHARDS, 0.0)))
    return [*made, Action(at + 1.5, "send", (who + 1) % CLIENTS, room, (0.7, 0.0))]


def _left_while_written(chance: Random) -> list[Action]:
    """Sockets leave and come back while a room is written to."""
    made = []
    for at in (1.0, 2.0, 3.0, 4.0):
        room = chance.randrange(ROOMS)
        made += [Action(at, "burst", chance.randrange(CLIENTS), room, (4,))]
        made += [Action(at + chance.random() * 0.03, "leave", who, room) for who in range(CLIENTS)]
        made += [Action(at + 0.5, "join", who, room, ("resume", 0.0)) for who in range(CLIENTS)]
    return made


def _behind_retention(chance: Random) -> list[Action]:
    """Retention removes what a gateway has not yet passed on."""
    at, room = chance.uniform(0.5, SECONDS - 3), chance.randrange(ROOMS)
    gateway, shard = f"gateway {chance.randrange(GATEWAYS)}", f"shard {room % SHARDS}"
    made = [Action(at, "cut", -1, 0, (gateway, shard, 1.3))]
    made += [Action(at + 0.1 + 0.05 * n, "burst", n, room, (4,)) for n in range(CLIENTS)]
    return [*made, Action(at + 1.0, "retain", -1, room, (2,)), Action(at + 2.5, "send", 0, room, (0.7, 0.0))]


SCENES = {
    "come back": _come_back,
    "removed by the dead": _removed_by_the_dead,
    "there and back": _there_and_back,
    "followers forgotten": _followers_forgotten,
    "left while written": _left_while_written,
    "behind retention": _behind_retention,
}


# -- single actions and faults -------------------------------------------------------------------------------------


def _pick(chance: Random, weights: dict[str, int]) -> str:
    return chance.choices(list(weights), list(weights.values()))[0]


def _action(chance: Random, weights: dict[str, int]) -> Action:
    what = _pick(chance, weights)
    # Half of it comes together with something else.
    at = chance.random() * SECONDS if chance.random() < 0.5 else chance.randint(1, 6) * SECONDS / 7
    at += chance.random() * 0.003
    how: tuple[Any, ...] = (chance.random(), chance.random())
    if what == "join":
        how = (chance.choice(("resume", "resume", "fresh", "older")), chance.random())
    elif what == "burst":
        how = (chance.randint(2, 8),)
    return Action(at, what, chance.randrange(CLIENTS), chance.randrange(ROOMS), how)


def _fault(chance: Random, weights: dict[str, int]) -> Action:
    what = _pick(chance, weights)
    at, which, seconds = chance.random() * SECONDS, chance.randrange(2), chance.choice((0.05, 0.4, 1.3, 3.0))
    room = chance.randrange(ROOMS)
    how: tuple[Any, ...] = (which, seconds)
    if what == "cut":
        one, other = chance.sample(ACTORS, 2)
        how = (one, other, seconds)
    elif what == "drop client":
        return Action(at, what, chance.randrange(CLIENTS), 0, (chance.random() < 0.5,))
    elif what == "retain":
        how = (chance.randint(1, 6),)
    return Action(at, what, -1, room, how)
