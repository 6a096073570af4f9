"""What is to happen, made from a seed: actions of clients and faults, each at its moment, each independent of the
others, so that a plan from which some are left out is a plan as well.
"""

from random import Random
from typing import Any

from simulation.actions import ACTORS, CLIENTS, DIRECT, LOOSE, ROOMS, SECONDS, Action, Plan
from simulation.scenes import SCENES, TIGHT_SCENES

# How often each happens in a world that knows it.
ACTIONS = {
    "send": 10,
    "send again": 3,
    "burst": 3,
    "edit": 3,
    "delete": 3,
    "react": 2,
    "pin": 1,
    "mention": 2,
    "attach": 2,
    "typing": 1,
    "read": 1,
    "status": 1,
    "join": 4,
    "leave": 2,
    "remove": 2,
    "add": 3,
    "ban": 1,
    "mute": 1,
    "rename": 1,
    "delete room": 1,
    "block": 1,
    "unblock": 1,
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
    "slow client": 3,
    "depart": 2,
    "take back": 2,
    "retain": 2,
}


def make_plan(seed: int, scene: str | None = None) -> Plan:
    """With a scene, little else happens in it."""
    chance = Random(f"{seed} plan")  # noqa: S311 - repeatable, not secret
    # Each world knows some kinds of actions and faults only: what is rare together is then not rare alone.
    actions = {what: weight for what, weight in ACTIONS.items() if what.startswith("send") or chance.random() < 0.6}
    faults = {what: weight for what, weight in FAULTS.items() if chance.random() < 0.5}
    made = [_action(chance, actions) for _ in range(chance.randint(8, 10 if scene else 40))]
    played = [scene] if scene is not None else []
    if scene is None:
        if faults:
            made += [_fault(chance, faults) for _ in range(chance.choice((0, 1, 2, 4, 7)))]
        played = [name for name in SCENES if chance.random() < 0.07]
    for name in played:
        made += SCENES[name](chance)
    joins = [
        Action(chance.random() * 0.3, "join", who, room, ("resume",))
        for who in range(CLIENTS)
        for room in range(ROOMS)
        if chance.random() < 0.6
    ]
    tight = chance.random() < 0.2 or not TIGHT_SCENES.isdisjoint(played)
    limits = (chance.choice((60, 120, 300)), chance.randint(2, 8)) if tight else LOOSE
    ordered = tuple(sorted(joins + made, key=lambda action: action.at))
    return Plan(seed, ordered, calm=chance.random() < 0.15, limits=limits)


# -- single actions and faults -------------------------------------------------------------------------------------


def _pick(chance: Random, weights: dict[str, int]) -> str:
    return chance.choices(list(weights), list(weights.values()))[0]


def _action(chance: Random, weights: dict[str, int]) -> Action:
    what = _pick(chance, weights)
    # Half of it comes together with something else.
    at = chance.random() * SECONDS if chance.random() < 0.5 else chance.randint(1, 6) * SECONDS / 7
    at += chance.random() * 0.003
    how: tuple[Any, ...] = (chance.random(), chance.random())
    room = DIRECT if what in {"block", "unblock"} or chance.random() < 0.1 else chance.randrange(DIRECT)
    if what == "join":
        how = (chance.choice(("resume", "resume", "fresh", "older")), chance.random())
    elif what == "burst":
        how = (chance.randint(2, 8),)
    elif what == "status":
        how = (chance.choice(("online", "away", "busy", "invisible")),)
    return Action(at, what, chance.randrange(CLIENTS), room, how)


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
    elif what == "slow client":
        return Action(at, what, chance.randrange(CLIENTS), 0, (chance.choice((0.0, 0.0, 200.0, 1500.0)), seconds))
    elif what == "depart":
        return Action(at, what, chance.randrange(CLIENTS), 0, (chance.choice((0.3, 1.5, None)),))
    elif what == "retain":
        how = (chance.randint(1, 6),)
    return Action(at, what, -1, room, how)
