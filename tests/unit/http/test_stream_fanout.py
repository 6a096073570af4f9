"""What viewers of a stream are written: joined while many watch, and spared while they lag."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import pytest
from system.waiting import until

from veza.http.stream_fanout import MOST_JOIN_S, Kind, StreamFanout, join_s
from veza.realtime import stream_commands as s
from veza.realtime.streams.watching import Watched

STREAM, OWNER, VIEWER = UUID(int=1), UUID(int=2), UUID(int=3)


@dataclass(eq=False)
class Peer:
    """A socket."""

    lagging_since: float | None = None
    closing: bool = False
    writes: list[bytes] = field(default_factory=list)

    def write(self, data: bytes) -> None:
        assert self.lagging_since is None
        self.writes.append(data)

    def send(self, data: bytes) -> None:
        self.writes.append(data)


class World:
    def __init__(self) -> None:
        self.fanout = StreamFanout()
        self.entry: Watched[Any] = Watched(STREAM)
        self.entry.state = s.StreamState(b"{}", OWNER, False, [], [])

    def join(self, user_id: UUID | None = VIEWER, *, lags: bool = False) -> Peer:
        peer: Any = Peer(lagging_since=1.0 if lags else None)
        self.entry.admit(peer, user_id)
        self.fanout.joined(self.entry, peer)
        return peer

    def put(self, frame: bytes, kind: Kind = Kind.MESSAGE) -> None:
        self.fanout.put(self.entry, [frame], kind)

    async def written(self, peer: Peer, data: bytes) -> None:
        async def ask() -> bool:
            return b"".join(peer.writes) == data

        await until(ask, f"{data!r} in {peer.writes}")


@pytest.fixture
async def world() -> AsyncIterator[World]:
    found = World()
    task = asyncio.create_task(found.fanout.run_forever())
    yield found
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_the_first_goes_at_once_and_what_follows_goes_together(world: World) -> None:
    peers = [world.join() for _ in range(3000)]
    world.put(b"a")
    await world.written(peers[0], b"a")
    for frame in (b"b", b"c", b"d"):
        world.put(frame)
        await asyncio.sleep(0)
    await world.written(peers[-1], b"abcd")
    assert all(peer.writes == [b"a", b"bcd"] for peer in peers)


async def test_who_comes_meanwhile_is_told_nothing_twice(world: World) -> None:
    before = world.join()
    world.put(b"a")
    meanwhile = world.join()
    world.put(b"b")
    after = world.join()
    await world.written(before, b"ab")
    await world.written(meanwhile, b"b")
    assert after.writes == []


async def test_who_lags_is_spared_but_for_what_all_must_know(world: World) -> None:
    lagging, owner = world.join(lags=True), world.join(OWNER, lags=True)
    for frame, kind in ((b"a", Kind.MESSAGE), (b"b", Kind.NEWS), (b"c", Kind.MOMENT), (b"d", Kind.MESSAGE)):
        world.put(frame, kind)
    await world.written(owner, b"abd")
    await world.written(lagging, b"b")
    peer: Any = lagging
    assert world.fanout.skipped == {(peer, STREAM): 2}


async def test_what_was_missed_is_for_those_who_see_all(world: World) -> None:
    viewer, owner, lagging = world.join(), world.join(OWNER), world.join(OWNER, lags=True)
    world.put(b"a", Kind.MISSED)
    late = world.join(OWNER)
    world.put(b"b")
    await world.written(owner, b"ab")
    await world.written(lagging, b"ab")
    await world.written(viewer, b"b")
    await world.written(late, b"b")
    assert not world.fanout.skipped


async def test_a_stream_that_is_no_more_is_told_to_those_who_watched(world: World) -> None:
    peer = world.join()
    world.put(b"gone", Kind.NEWS)
    old, world.entry = world.entry, Watched(STREAM)
    del old
    world.entry.state = s.StreamState(b"{}", OWNER, False, [], [])
    await world.written(peer, b"gone")


def test_the_more_watch_the_more_is_joined() -> None:
    assert [join_s(viewers) for viewers in (0, 100, 1_000_000)] == [0.0, pytest.approx(0.002), MOST_JOIN_S]
