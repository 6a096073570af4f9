"""How each action of a plan is performed. What makes no sense at its moment is left out."""

from simulation.actions import Action
from simulation.client import Client
from simulation.faults import CLIENT_FAULTS, FAULTS
from simulation.world import OWNER, PEOPLE, ROOM_IDS, World
from veza.realtime import commands as c


def perform(world: World, action: Action) -> bool:
    """Whether there was something to do."""
    if action.what in CLIENT_FAULTS:
        return CLIENT_FAULTS[action.what](world, world.clients[action.who], action)
    if action.who >= 0:
        return _of_client(world, world.clients[action.who], action)
    return FAULTS[action.what](world, action)


def _of_client(world: World, client: Client, action: Action) -> bool:
    if not client.connected:
        return False
    room_id, me = ROOM_IDS[action.room], client.person
    match action.what:
        case "send" | "send again" | "burst":
            _send(world, client, action)
        case "mention" | "attach":
            _refer(world, client, action)
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
        case "status" | "block" | "unblock":
            return _of_person(world, client, action)
        case _:
            return _change_message(world, client, action)
    return True


def _of_person(world: World, client: Client, action: Action) -> bool:
    """What somebody is to others."""
    if action.what == "status":
        client.choose(action.how[0])
        return True
    gateway, on = client.gateway, action.what == "block"
    if gateway is None or not world.blocks.change(gateway, client.person.id, on=on):
        return False
    if tell := world.tell:
        tell(f"{client.name} {action.what}s the other one")
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


def _refer(world: World, client: Client, action: Action) -> None:
    """A message that mentions some, or carries what was uploaded for it, or for another before."""
    room_id, command_id, name = ROOM_IDS[action.room], world.new_id(), None
    content, attachments = f"say {command_id.int >> 64}", []
    if action.what == "mention":
        named = [person.username for n, person in enumerate(PEOPLE) if int(action.how[0] * 8) >> n & 1]
        content += "".join(f" @{username}" for username in [*named, "nobody"])
    else:
        attachments = [world.upload(room_id, client.person, again=action.how[0] < 0.5)]
        name = f"only{command_id.int >> 64}"
    client.send(c.Post(0, room_id, command_id, client.person, content, name, None, attachments))


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
