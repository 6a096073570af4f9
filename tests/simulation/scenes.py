"""Scenes: what is rare to come together by itself."""

from random import Random

from simulation.actions import CLIENTS, DIRECT, GATEWAYS, ROOMS, SECONDS, SHARDS, Action


def _come_back(chance: Random) -> list[Action]:
    """Somebody is removed, and taken back by another shard while the first, paused, still has to tell of it."""
    at, room, person = chance.random(), chance.randrange(DIRECT), chance.randrange(2)
    how, clients = (person / 2, 0.9), (person + 1, person + 4)
    made = [Action(at, "remove", 0, room, how), Action(at + 1.8, "add", 0, room, how)]
    made.append(Action(at + chance.uniform(0.001, 0.012), "pause shard", -1, room, (room % SHARDS, 3.0)))
    made += [Action(at + wait, "join", who, room, ("resume", 0.0)) for who in clients for wait in (2.1, 2.4)]
    return made + [Action(at + wait, "send", 3, room, (0.7, 0.0)) for wait in (2.6, 3.4)]


def _removed_by_the_dead(chance: Random) -> list[Action]:
    """Two are removed from everywhere by shards that die while they tell of it."""
    at, rooms = chance.random() * SECONDS / 2, range(DIRECT)
    made = [Action(at, "burst", 0, room, (chance.randint(1, 3),)) for room in rooms]
    made += [Action(at + 0.002, "remove", 0, room, (person / 2, 0.9)) for room in rooms for person in range(2)]
    made += [
        Action(at + chance.uniform(0.007, 0.013), "kill shard", -1, 0, (shard, 0.0))
        for shard in reversed(range(SHARDS))
    ]
    return made + [Action(at + 2.5, "send", 3, room, (0.7, 0.0)) for room in rooms]


def _there_and_back(chance: Random) -> list[Action]:
    """A partition is taken and given back while a gateway does not reach its owner."""
    at, room = chance.random() * SECONDS / 2, chance.randrange(DIRECT)
    made = [Action(at + 0.15 * n, "move", -1, room, ((room + n) % SHARDS, 0.0)) for n in (1, 2)]
    gateway, shard = f"gateway {chance.randrange(GATEWAYS)}", f"shard {room % SHARDS}"
    made.append(Action(at - 0.05, "cut", -1, 0, (gateway, shard, 0.5)))
    made += [Action(at + chance.uniform(-0.1, 0.3), "send", who, room, (0.7, 0.0)) for who in range(CLIENTS)]
    return made


def _followers_forgotten(chance: Random) -> list[Action]:
    """A shard gives its rooms up and keeps them while it stores what it has decided; somebody joins just then."""
    at, room, who = chance.uniform(1.0, SECONDS - 2), chance.randrange(DIRECT), chance.randrange(CLIENTS)
    made = [Action(at - 0.5, "leave", other, room) for other in range(CLIENTS)]
    made += [Action(at, "burst", (who + 1) % CLIENTS, room, (3,)), Action(at, "join", who, room, ("fresh", 0.0))]
    made.append(Action(at + chance.uniform(0.002, 0.01), "take back", -1, room, (room % SHARDS, 0.0)))
    return [*made, Action(at + 1.5, "send", (who + 1) % CLIENTS, room, (0.7, 0.0))]


def _left_while_written(chance: Random) -> list[Action]:
    """Sockets leave and come back while a room is written to."""
    made = []
    for at in (1.0, 2.0, 3.0, 4.0):
        room = chance.randrange(DIRECT)
        made += [Action(at, "burst", chance.randrange(CLIENTS), room, (4,))]
        made += [Action(at + chance.random() * 0.03, "leave", who, room) for who in range(CLIENTS)]
        made += [Action(at + 0.5, "join", who, room, ("resume", 0.0)) for who in range(CLIENTS)]
    return made


def _behind_retention(chance: Random) -> list[Action]:
    """Retention removes what a gateway has not yet passed on."""
    at, room = chance.uniform(0.5, SECONDS - 3), chance.randrange(DIRECT)
    gateway, shard = f"gateway {chance.randrange(GATEWAYS)}", f"shard {room % SHARDS}"
    made = [Action(at, "cut", -1, 0, (gateway, shard, 1.3))]
    made += [Action(at + 0.1 + 0.05 * n, "burst", n, room, (4,)) for n in range(CLIENTS)]
    return [*made, Action(at + 1.0, "retain", -1, room, (2,)), Action(at + 2.5, "send", 0, room, (0.7, 0.0))]


def _emptied_pages(chance: Random) -> list[Action]:
    """Somebody asks again and again for what retention removes just then."""
    room, who, at = chance.randrange(DIRECT), chance.randrange(CLIENTS), chance.uniform(1.5, SECONDS - 2)
    made = [Action(at - 1.4 + 0.1 * n, "burst", n, room, (4,)) for n in range(CLIENTS)]
    made.append(Action(at - 0.3, "leave", who, room))
    made += [Action(at + chance.random() * 0.06, "join", who, room, ("older", chance.random())) for _ in range(4)]
    made += [Action(at + chance.random() * 0.05, "retain", -1, room, (last,)) for last in (8, 2)]
    return [*made, Action(at + 1.5, "send", (who + 1) % CLIENTS, room, (0.7, 0.0))]


def _read_in_vain(chance: Random) -> list[Action]:
    """A shard gives up what it has just read of a room, and keeps it."""
    made = []
    for at in (1.0, 2.5, 4.0):
        room, shard = chance.randrange(DIRECT), chance.randrange(SHARDS)
        made.append(Action(at, "move", -1, room, (shard, 0.0)))
        made += [Action(at + 0.04, "send again", who, room, (0.1, 0.0)) for who in range(CLIENTS)]
        made.append(Action(at + 0.04 + chance.uniform(0.002, 0.02), "take back", -1, room, (shard, 0.0)))
        made.append(Action(at + 1.0, "send", chance.randrange(CLIENTS), room, (0.7, 0.0)))
    return made


def _left_unheard(chance: Random) -> list[Action]:
    """Some go while no shard hears of it, and nobody else takes over."""
    at = chance.uniform(0.5, 2.0)
    made = [Action(at, "pause shard", -1, 0, (shard, 3.0)) for shard in range(SHARDS)]
    gone = chance.sample(range(CLIENTS), chance.randint(2, 4))
    return [*made, *(Action(at + chance.uniform(0.1, 2.9), "depart", who, 0, (None,)) for who in gone)]


def _slow_readers(chance: Random) -> list[Action]:
    """Some take nothing, or little, of what the others of their rooms write all the time."""
    room, slow = chance.randrange(DIRECT), chance.sample(range(CLIENTS), 2)
    at = chance.uniform(0.4, 1.5)
    made = [Action(at - 0.3, "join", who, room, ("resume", 0.0)) for who in range(CLIENTS)]
    made += [Action(at, "slow client", who, 0, (chance.choice((0.0, 0.0, 200.0)), 4.0)) for who in slow]
    for _ in range(chance.randint(4, 10)):
        who = chance.randrange(CLIENTS)
        made.append(Action(at + chance.random() * 3.5, "burst", who, room, (chance.randint(1, 5),)))
    return made


def _by_turns(chance: Random) -> list[Action]:
    """One person writes on two gateways in turn, as fast as they can."""
    who, made = chance.randrange(3), []
    at = chance.uniform(0.3, 1.0)
    for _ in range(chance.randint(10, 25)):
        at += chance.choice((0.001, 0.01, 0.05, 0.4))
        client, count = who + 3 * chance.randrange(2), chance.randint(1, 4)
        made.append(Action(at, "burst", client, chance.randrange(DIRECT), (count,)))
        if chance.random() < 0.3:
            made.append(Action(at + 0.0005, "react", client, 0, (chance.random(), 0.0)))
    if chance.random() < 0.5:
        move = (chance.randrange(SHARDS), 0.0)
        made.append(Action(chance.uniform(0.5, at), "move", -1, who, move))
    return made


def _silent_owner(chance: Random) -> list[Action]:
    """Nobody is asked who may write, while a person changes from one gateway to the other."""
    who, at = chance.randrange(3), chance.uniform(0.5, 2.0)
    made = [Action(at + 0.3 * n, "burst", who + 3 * (n % 2), chance.randrange(DIRECT), (3,)) for n in range(10)]
    made += [Action(at + 0.35, "pause shard", -1, 0, (shard, 3.0)) for shard in range(SHARDS)]
    return made


def _died_together(chance: Random) -> list[Action]:
    """A gateway and the shards die at once, and some of those who were on it do not come back."""
    at = chance.uniform(1.0, SECONDS - 1)
    gone = chance.sample(range(CLIENTS), chance.randint(2, 5))
    made = [Action(at + 0.001, "depart", who, 0, (None,)) for who in gone]
    made += [Action(at, "kill shard", -1, 0, (shard, 0.0)) for shard in reversed(range(SHARDS))]
    return [*made, *(Action(at, "kill gateway", -1, 0, (gateway, 0.0)) for gateway in reversed(range(GATEWAYS)))]


def _deposed(chance: Random) -> list[Action]:
    """A person comes just when the owner of what is known of them stops, and is gone when it goes on."""
    who, at = chance.randrange(3), chance.uniform(0.4, 0.6)
    made = [Action(at - 0.3, "depart", client, 0, (chance.uniform(0.5, 0.8),)) for client in (who, who + 3)]
    made += [Action(at + chance.uniform(2.5, 4.0), "depart", client, 0, (None,)) for client in (who, who + 3)]
    return [*made, Action(at, "pause shard", -1, 0, (0, SECONDS))]


def _flood(chance: Random) -> list[Action]:
    """A room is written to by some as fast as they can, while others write a word elsewhere."""
    room, at = chance.randrange(DIRECT), chance.uniform(0.5, 3.0)
    made = [Action(at + 0.05 * n, "burst", chance.randrange(CLIENTS), room, (12,)) for n in range(6)]
    others = [number for number in range(ROOMS) if number != room]
    for _ in range(6):
        who = chance.randrange(CLIENTS)
        made.append(Action(at + chance.random() * 0.4, "send", who, chance.choice(others), (0.7, 0.0)))
    return made


def _quarrel(chance: Random) -> list[Action]:
    """Two block each other, and write all the same, while their room moves."""
    made = [Action(0.3, "join", who, DIRECT, ("resume", 0.0)) for who in (0, 1, 3, 4)]
    what = [chance.choice(("block", "block", "unblock")) for _ in range(chance.randint(3, 8))]
    what += ["send"] * chance.randint(5, 12)
    made += [
        Action(chance.uniform(0.5, SECONDS), name, chance.choice((0, 1, 3, 4)), DIRECT, (0.7, 0.0)) for name in what
    ]
    if chance.random() < 0.5:
        made.append(Action(chance.uniform(1.0, 4.0), "move", -1, DIRECT, (chance.randrange(SHARDS), 0.0)))
    return made


SCENES = {
    "come back": _come_back,
    "removed by the dead": _removed_by_the_dead,
    "there and back": _there_and_back,
    "followers forgotten": _followers_forgotten,
    "left while written": _left_while_written,
    "behind retention": _behind_retention,
    "emptied pages": _emptied_pages,
    "read in vain": _read_in_vain,
    "left unheard": _left_unheard,
    "slow readers": _slow_readers,
    "by turns": _by_turns,
    "silent owner": _silent_owner,
    "died together": _died_together,
    "deposed": _deposed,
    "flood": _flood,
    "quarrel": _quarrel,
}
# Those in which the message limits are narrow.
TIGHT_SCENES = frozenset(("by turns", "silent owner"))
