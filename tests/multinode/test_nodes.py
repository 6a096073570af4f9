"""Nodes that come, go and die under traffic: nothing is lost or doubled, and nobody's socket drops but theirs."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
from fleet import NODES, PER_ADDRESS, Fleet
from system.people import People, Person
from system.sockets import Socket
from system.waiting import until
from system.wire import Wire
from traffic import Traffic

# A node that is gone leaves nobody present for longer.
GHOST_S = 15.0
MOST_PEOPLE = 60
# Enough that each gateway gets some of the connections.
WIRES = 20
# The first test waits for the start of three nodes and the platform.
pytestmark = pytest.mark.timeout(300)


class Watchers:
    """Idle sockets of people in one room, by the node that holds them."""

    def __init__(self) -> None:
        self.of: dict[str, list[tuple[Person, Socket]]] = {name: [] for name in NODES}

    async def untouched(self, *nodes: str) -> None:
        """The sockets that these nodes held are open and answer, and nobody told them to go."""
        for node in nodes:
            for _, socket in self.of[node]:
                await socket.quiet()
                assert not [frame for frame in socket.frames if frame["type"] == "reconnect"]


@pytest.fixture
async def watchers(fleet: Fleet, crowd: People) -> AsyncIterator[Watchers]:
    """At least one on each node; which it is, the kernel chooses."""
    found = Watchers()
    people = []
    async with AsyncExitStack() as stack:
        while not all(found.of.values()) and len(people) < MOST_PEOPLE:
            people.append(await crowd.register())
            socket = await stack.enter_async_context(await people[-1].connect())
            found.of[fleet.node_of(socket)].append((people[-1], socket))
        room = await people[0].room(*people[1:])
        (_, witness), *others = [pair for held in found.of.values() for pair in held]
        await witness.call("join_room", room_id=room)
        await asyncio.gather(*(socket.call("join_room", room_id=room) for _, socket in others))
        # Whoever nobody was told of leaves no ghost.
        for person, socket in others:
            await socket.call("set_presence", status="busy")
            await witness.event("presence", user_id=person.id, status="busy")
        yield found


async def verdict(traffic: Traffic, what: str) -> None:
    await traffic.flows()
    problems = await traffic.verdict()
    assert not problems, "\n".join(problems[:20])
    print(f"{what}: {len(traffic.record.acks)} acknowledged, longest silence {traffic.longest_silence:.2f} s")  # noqa: T201


async def test_each_node_works(fleet: Fleet, traffic: Traffic) -> None:
    state = await fleet.status()
    assert [(node["name"], node["shards"], node["gateways"]) for node in sorted(state["nodes"], key=_name)] == [
        ("head", 1, 1),
        ("one", 1, 1),
        ("two", 1, 1),
    ]
    await verdict(traffic, "three nodes")


def _name(node: dict[str, str]) -> str:
    return node["name"]


async def test_limits_are_exact_over_all_nodes(fleet: Fleet) -> None:
    """A gateway and a limiter on each."""
    await fleet.living("RateLimiter", 3)
    async with AsyncExitStack() as stack:
        wires = [await stack.enter_async_context(Wire(fleet.port)) for _ in range(WIRES)]
        await asyncio.gather(*(wire.ask("/health") for wire in wires))
        tries = itertools.count(1)

        async def exact() -> bool:
            await asyncio.sleep(1 - time.time() % 1 + 0.01)
            number = next(tries)
            asked = (wire.ask("/api/v1/", 2 * PER_ADDRESS // WIRES, address=f"10.9.{number}.1") for wire in wires)
            answers = list(itertools.chain(*await asyncio.gather(*asked)))
            passed = sum(answer.status == 200 for answer in answers)
            whole = len({answer.window for answer in answers}) == 1
            assert passed <= PER_ADDRESS or not whole
            return whole and passed == PER_ADDRESS

        # While limiters come, an address has less for a moment.
        for _ in range(3):
            await until(exact, "a window in which exactly the limit passes", 60.0)


async def test_a_node_dies_and_another_comes(fleet: Fleet, traffic: Traffic, watchers: Watchers) -> None:
    ghosts = watchers.of["two"]
    witness = watchers.of["head"][0][1]
    await fleet.nodes["two"].kill()
    for person, socket in ghosts:
        await socket.until_closed()
        await witness.event("presence", GHOST_S, user_id=person.id, status="offline")
    await fleet.settles("head", "one")
    await traffic.flows()
    await watchers.untouched("head", "one")
    await fleet.add("two")
    await fleet.settles(*NODES)
    await watchers.untouched("head", "one")
    await verdict(traffic, "a node died, another came")


async def test_nodes_are_drained(fleet: Fleet, traffic: Traffic, watchers: Watchers) -> None:
    await fleet.command("cluster", "drain", "one")
    assert not fleet.nodes["one"].actors("RoomShard")
    assert not fleet.nodes["one"].actors("Gateway")
    for _, socket in watchers.of["one"]:
        assert await socket.until_closed() == 1001
        assert socket.frames[-1]["type"] == "reconnect"
    await fleet.settles("head", "two", drained="one")
    await watchers.untouched("head", "two")
    await traffic.flows()
    await fleet.command("cluster", "drain", "two")
    await watchers.untouched("head")
    with pytest.raises(AssertionError, match="head cannot be drained: no other node"):
        await fleet.command("cluster", "drain", "head")
    with pytest.raises(AssertionError, match="No node is called 'nobody'"):
        await fleet.command("cluster", "drain", "nobody")
    for node in ("one", "two"):
        await fleet.command("cluster", "resume", node)
    await fleet.settles(*NODES)
    await watchers.untouched("head")
    await verdict(traffic, "two nodes drained and used again")


async def test_shards_are_added_and_taken_away(fleet: Fleet, traffic: Traffic, watchers: Watchers) -> None:
    await fleet.command("cluster", "scale", "--shards", "2")
    await fleet.living("RoomShard", 6)
    await traffic.flows()
    await fleet.command("cluster", "scale", "--shards", "1")
    await fleet.living("RoomShard", 3)
    await watchers.untouched("head", "one", "two")
    await verdict(traffic, "shards added and taken away")
