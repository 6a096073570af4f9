"""How each action of a plan is performed. What makes no sense at its moment is left out."""

from collections.abc import Callable
from typing import Any

from simulation.client import Client
from simulation.network import Process
from simulation.plan import Action
from simulation.world import OWNER, PEOPLE, ROOM_IDS, World
from veza.realtime import commands as c


def perform(world: World, action: Action) -> bool:
    """Whether there was something to do."""
    if action.who >= 0 and action.what != "drop client":
        return _of_client(world, world.clients[action.who], action)
    return _FAULTS[action.what](world, action)


# -- clients -----------------------------------------------------------------------------------------------------


def _of_client(world: World, client: Client, action: Action) -> bool:
    if not client.connected:
        return False
    room_id, me = ROOM_IDS[action.room], client.person
    match action.what:
        case "send" | "send again" | "burst":
            _send(world, client, action)
        case "join":
            _join(client, action)
        case "leave":
            client.leave(room_id)
        case "typing":
            client.send(c.Typing(0, room_id, me.id, action.how[0] < 0.5))
        case "read":
            view = client.views.get(room_id)
            client.send(c.MarkRead(0, room_id, me.id, (view and view.last_seq) or 0))
        case "rename":
            client.send(c.UpdateRoom(0, room_id, world.new_id(), me, f"name {world.clock.steps}"))
        case "delete room":
            client.send(c.DeleteRoom(0, room_id, world.new_id(), me))
        case "remove" | "add" | "ban" | "mute":
            _change_members(world, client, action)
        case _:
            return _change_message(world, client, action)
    return True


def _send(world: World, client: Client, action: Action) -> None:
    room_id = ROOM_IDS[action.room]
    count = action.how[0] if action.what == "burst" else 1
    for _ in range(count):
        command_id = world.new_id()
        name = None
        if action.what == "send again":
            name = f"m{int(action.how[0] * 3)}"
        elif action.how[0] < 0.5:
            name = f"only{command_id.int >> 64}"
        client.send(c.Post(0, room_id, command_id, client.person, f"say {command_id.int >> 64}", name))


def _join(client: Client, action: Action) -> None:
    room_id = ROOM_IDS[action.room]
    view = client.views.get(room_id)
    last_seq: int | None = (view.last_seq if view else None) or 0
    if action.how[0] == "fresh":
        last_seq = None
    elif action.how[0] == "older":
        last_seq = int((last_seq or 0) * action.how[1])
    client.join(room_id, last_seq)


def _change_members(world: World, client: Client, action: Action) -> None:
    room_id, user = ROOM_IDS[action.room], PEOPLE[1 + int(action.how[0] * 2)]
    command_id, other = world.new_id(), action.how[1] < 0.4
    match action.what:
        case "remove":
            client.send(c.RemoveMember(0, room_id, command_id, client.person if other else OWNER, user))
        case "add":
            client.send(c.AddMember(0, room_id, command_id, OWNER, user))
        case sanction if other:
            client.send(c.Lift(0, room_id, command_id, OWNER, user, sanction))
        case sanction:
            client.send(c.Sanction(0, room_id, command_id, OWNER, user, sanction))


def _change_message(world: World, client: Client, action: Action) -> bool:
    mine = client.mine
    if not mine:
        return False
    room_id, message_id = mine[int(action.how[0] * len(mine))]
    command_id, me, on = world.new_id(), client.person, action.how[1] < 0.7
    match action.what:
        case "edit":
            client.send(c.EditMessage(0, room_id, command_id, me, message_id, f"edit {command_id.int >> 64}"))
        case "delete":
            client.send(c.DeleteMessage(0, room_id, command_id, me, message_id))
        case "react":
            client.send(c.React(0, room_id, command_id, me, message_id, ":+1:", on))
        case "pin":
            client.send(c.Pin(0, room_id, command_id, OWNER, message_id, on))
    return True


# -- faults ------------------------------------------------------------------------------------------------------


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


def _drop_client(world: World, action: Action) -> bool:
    client = world.clients[action.who]
    if not client.connected:
        return False
    if tell := world.tell:
        tell(f"{client.name} loses its connection")
    client.cut_off(noticed=action.how[0])
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


_FAULTS: dict[str, Callable[[World, Action], bool]] = {
    "move": _move,
    "kill shard": lambda world, action: _kill(world, _one_of(world.shards, action.how[0])),
    "kill gateway": lambda world, action: _kill(world, _one_of(world.gateways, action.how[0])),
    "pause shard": lambda world, action: _pause(world, _one_of(world.shards, action.how[0]), action.how[1]),
    "pause gateway": lambda world, action: _pause(world, _one_of(world.gateways, action.how[0]), action.how[1]),
    "cut": _cut,
    "store away": _store_away,
    "lose connections": _lose_connections,
    "drop client": _drop_client,
    "take back": _take_back,
    "retain": _retain,
}
