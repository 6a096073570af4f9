"""How each fault of a plan happens. What makes no sense at its moment is left out."""

from collections.abc import Callable
from typing import Any

from simulation.actions import Action
from simulation.client import Client
from simulation.network import Process
from simulation.world import ROOM_IDS, World


def _one_of(found: Any, number: int) -> Any:
    names = sorted(found)
    return found[names[number % len(names)]] if names else None


def _process(world: World, name: str) -> Process | None:
    kind, _, number = name.partition(" ")
    if kind == "Supervisor":
        return world.supervisor
    process: Process | None = _one_of(world.shards if kind == "shard" else world.gateways, int(number or 0))
    return process


def _kill(world: World, process: Process | None) -> bool:
    if process is None:
        return False
    world.kill(process)
    return True


def _pause(world: World, process: Process | None, seconds: float) -> bool:
    if process is None or process.paused:
        return False
    if tell := world.tell:
        tell(f"{process.name} is paused for {seconds} s")
    world.trouble = True
    process.paused = True
    world.clock.later(seconds, process.wake)
    return True


def _move(world: World, action: Action) -> bool:
    target = _one_of(world.shards, action.how[0])
    if target is None:
        return False
    world.trouble = True
    world.supervisor.wish[action.room] = target.name
    world.supervisor.reconcile()
    return True


def _cut(world: World, action: Action) -> bool:
    names = []
    for end in action.how[:2]:
        process = None if end == "PostgreSQL" else _process(world, end)
        if process is None and end != "PostgreSQL":
            return False
        names.append("PostgreSQL" if process is None else process.name)
    one, other = names
    if one == other or world.network.is_cut(one, other):
        return False
    if tell := world.tell:
        tell(f"{one} and {other} are cut off from each other for {action.how[2]} s")
    world.trouble = True
    world.network.cut(one, other)
    world.clock.later(action.how[2], lambda: world.network.heal(one, other))
    return True


def _store_away(world: World, action: Action) -> bool:
    if world.database.away:
        return False
    if tell := world.tell:
        tell(f"PostgreSQL is away for {action.how[1]} s")
    world.trouble = True
    world.database.leave()
    world.clock.later(action.how[1], world.database.come_back)
    return True


def _lose_connections(world: World, action: Action) -> bool:
    shard = _one_of(world.shards, action.how[0])
    if shard is None:
        return False
    if tell := world.tell:
        tell(f"{shard.name}'s connections to PostgreSQL break")
    world.trouble = True
    world.database.lose_connections(shard)
    return True


def _drop_client(world: World, client: Client, action: Action) -> bool:
    if not client.connected:
        return False
    if tell := world.tell:
        tell(f"{client.name} loses its connection")
    client.cut_off(noticed=action.how[0])
    return True


def _slow_client(world: World, client: Client, action: Action) -> bool:
    speed, seconds = action.how
    if client.speed is not None:
        return False
    if tell := world.tell:
        tell(f"{client.name} takes {speed:.0f} bytes a second for {seconds} s")
    client.take(speed)
    world.clock.later(seconds, lambda: client.take(None))
    return True


def _depart(world: World, client: Client, action: Action) -> bool:
    if client.away or not client.connected:
        return False
    if tell := world.tell:
        tell(f"{client.name} goes, {'for good' if action.how[0] is None else f'for {action.how[0]} s'}")
    client.depart(action.how[0])
    return True


def _take_back(world: World, action: Action) -> bool:
    """A Supervisor tells a shard to give everything up, cannot take it, and tells it again that it owns it."""
    shard = _one_of(world.shards, action.how[0])
    if shard is None:
        return False
    world.trouble = True
    owned = dict(shard.core.epochs)
    if tell := world.tell:
        tell(f"{shard.name} is told to give up {sorted(owned)}, and then to keep it")

    def both() -> None:
        shard.own({})
        shard.own(owned)

    shard.do(both)
    return True


def _retain(world: World, action: Action) -> bool:
    if tell := world.tell:
        tell(f"retention leaves {action.how[0]} events in {world.name(ROOM_IDS[action.room])}")
    world.store.retain(ROOM_IDS[action.room], action.how[0])
    return True


FAULTS: dict[str, Callable[[World, Action], bool]] = {
    "move": _move,
    "kill shard": lambda world, action: _kill(world, _one_of(world.shards, action.how[0])),
    "kill gateway": lambda world, action: _kill(world, _one_of(world.gateways, action.how[0])),
    "pause shard": lambda world, action: _pause(world, _one_of(world.shards, action.how[0]), action.how[1]),
    "pause gateway": lambda world, action: _pause(world, _one_of(world.gateways, action.how[0]), action.how[1]),
    "cut": _cut,
    "store away": _store_away,
    "lose connections": _lose_connections,
    "take back": _take_back,
    "retain": _retain,
}
CLIENT_FAULTS: dict[str, Callable[[World, Client, Action], bool]] = {
    "drop client": _drop_client,
    "slow client": _slow_client,
    "depart": _depart,
}
