"""A shard's links to gateways: one call in flight, nothing missed silently, a dead one forgotten."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast
from uuid import UUID

import pytest
from ray.exceptions import RayTaskError

from veza.actors import gateway_links
from veza.actors.gateway_links import GatewayLinks
from veza.actors.refs import ActorGone, ActorUnreachable, GatewayRef
from veza.actors.tasks import TaskSet
from veza.realtime import commands as c
from veza.realtime.batch import Line

ROOM = UUID(int=1)
# Longer than anything here takes.
SOON_S = 30.0


class Peer:
    """A gateway that takes its time, or fails as told."""

    def __init__(self) -> None:
        self.items: list[c.Delivery] = []
        self.in_flight = 0
        self.most_in_flight = 0
        self.failures: list[Exception] = []
        self.may_go = asyncio.Event()
        self.may_go.set()
        self.calls = 0

    async def deliver(self, data: bytes) -> None:
        self.calls += 1
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            await self.may_go.wait()
            if self.failures:
                raise self.failures.pop(0)
            self.items.extend(c.decode_deliveries(data).items)
        finally:
            self.in_flight -= 1

    async def close(self) -> None:
        """Nothing is open."""


class World:
    def __init__(self) -> None:
        self.peers: dict[str, Peer] = {}
        self.gone: list[str] = []
        self.tasks = TaskSet("test")
        self.links = GatewayLinks("shard", self.tasks, self.gone.append, self.connect)

    def connect(self, name: str) -> GatewayRef:
        return cast("GatewayRef", self.peers.setdefault(name, Peer()))

    def tell(self, *items: c.Delivery, gateway: str = "g") -> None:
        self.links.dispatch({gateway: [Line(None, item) for item in items]})

    async def until(self, condition: Any) -> None:
        async with asyncio.timeout(5):
            while not condition():
                await asyncio.sleep(0.001)


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    monkeypatch.setattr(gateway_links, "RETRY_S", 0.0)
    made = World()
    yield made
    await made.tasks.close()


def events(seq: int, size: int = 1) -> c.Events:
    return c.Events(ROOM, seq, [b"x" * size])


async def test_an_idle_link_is_used_again_and_never_has_two_calls_in_flight(world: World) -> None:
    world.tell(events(1))
    peer = world.peers["g"]
    await world.until(lambda: len(peer.items) == 1)
    peer.may_go.clear()
    for seq in range(2, 30):
        world.tell(events(seq))
        await asyncio.sleep(0)
    peer.may_go.set()
    await world.links.flushed(SOON_S)
    assert [item.first_seq for item in peer.items if isinstance(item, c.Events)] == list(range(1, 30))
    assert peer.most_in_flight == 1
    # What came while a call was in flight went together.
    assert peer.calls <= 4


async def test_a_gateway_that_lags_loses_events_but_no_answer(world: World) -> None:
    world.links.introduce("g")
    peer = world.peers["g"]
    peer.may_go.clear()
    world.tell(events(1))
    await world.until(lambda: peer.in_flight)
    for seq in range(2, 40):
        world.tell(events(seq, 1024 * 1024), c.Answer(seq, b"{}"))
    peer.may_go.set()
    await world.links.flushed(SOON_S)
    assert [item.ref for item in peer.items if isinstance(item, c.Answer)] == list(range(2, 40))
    assert sum(isinstance(item, c.Lagged) for item in peer.items) == 1
    assert [item.first_seq for item in peer.items if isinstance(item, c.Events)] == [1]
    world.tell(events(40))
    await world.links.flushed(SOON_S)
    assert peer.items[-1] == events(40)


@pytest.mark.parametrize("failure", [ActorUnreachable("g"), RayTaskError("deliver", "traceback", ValueError())])
async def test_a_failed_call_is_followed_by_a_resync(world: World, failure: Exception) -> None:
    world.links.introduce("g")
    peer = world.peers["g"]
    peer.failures = [failure]
    world.tell(events(1))
    await world.until(lambda: peer.items)
    assert peer.items[0] == c.Lagged()
    assert not world.gone


async def test_a_dead_gateway_is_forgotten(world: World) -> None:
    world.links.introduce("g")
    world.peers["g"].failures = [ActorGone("g")]
    world.tell(events(1))
    await world.until(lambda: world.gone == ["g"])
    world.links.broadcast(c.Lagged())
    world.links.lost("g")
    await world.links.flushed(SOON_S)


async def test_a_gateway_lost_by_word_of_the_supervisor_is_not_called_again(world: World) -> None:
    world.tell(events(1), gateway="a")
    world.tell(events(1), gateway="b")
    await world.links.flushed(SOON_S)
    world.links.lost("a")
    world.links.resync()
    await world.links.flushed(SOON_S)
    assert c.Lagged() not in world.peers["a"].items
    assert c.Lagged() in world.peers["b"].items


async def test_answers_of_a_call_that_did_not_get_through_are_sent_again(world: World) -> None:
    world.links.introduce("g")
    peer = world.peers["g"]
    peer.failures = [ActorUnreachable("g")]
    gone = c.MemberGone(ROOM, None, 2)
    world.tell(events(1), c.Answer(7, b"{}"), gone)
    await world.until(lambda: c.Lagged() in peer.items)
    await world.links.flushed(SOON_S)
    assert peer.items == [c.Answer(7, b"{}"), gone, c.Lagged()]


BOUND = 16 * 1024 * 1024


async def hung(world: World) -> Peer:
    """A gateway that does not answer a call; the next item is for the next one."""
    world.links.introduce("g")
    peer = world.peers["g"]
    peer.may_go.clear()
    world.tell(events(1))
    await world.until(lambda: peer.in_flight)
    return peer


@pytest.mark.parametrize(
    "item",
    [
        c.PresenceChanged(ROOM, "online", [ROOM] * 100),
        c.UserFrame(ROOM, b"x" * 2000),
        c.Transient(ROOM, b"x" * 2000),
        events(2, 2000),
        c.Answer(1, b"x" * 2000),
    ],
    ids=lambda item: type(item).__name__,
)
async def test_what_waits_for_a_hung_gateway_is_bounded(world: World, item: c.Delivery) -> None:
    peer = await hung(world)
    size = len(c.encode(c.DeliveryBatch("shard", [item] * 1000))) / 1000
    bound = 2 * BOUND if isinstance(item, c.Answer) else BOUND
    for _ in range(int(1.2 * bound / size)):
        world.links.broadcast(item)
    peer.may_go.set()
    await world.links.flushed(SOON_S)
    assert peer.items.count(item) * size <= bound + size


async def test_presence_waits_for_a_gateway_that_is_behind(world: World) -> None:
    peer = await hung(world)
    presence = c.PresenceChanged(ROOM, "online", [ROOM])
    for seq in range(2, 40):
        world.tell(events(seq, 1024 * 1024))
    world.links.broadcast(presence)
    world.links.resync()
    peer.may_go.set()
    await world.links.flushed(SOON_S)
    # One `Lagged` is enough.
    assert peer.items == [events(1), c.Lagged(), presence]


async def test_presence_of_a_call_that_did_not_get_through_is_sent_again(world: World) -> None:
    world.links.introduce("g")
    peer = world.peers["g"]
    peer.failures = [ActorUnreachable("g")]
    presence = c.PresenceChanged(ROOM, "online", [ROOM])
    world.links.broadcast(presence)
    await world.until(lambda: c.Lagged() in peer.items)
    assert peer.items == [presence, c.Lagged()]


async def test_one_that_is_out_of_reach_is_not_waited_for_longer_than_asked(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    await hung(world)
    async with asyncio.timeout(SOON_S):
        await world.links.flushed(0.01)
    assert "not all was delivered" in caplog.text
