"""The notifier against a real PostgreSQL: pushed by who owns the user, at least once, whatever fails meanwhile."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any, cast
from uuid import UUID, uuid4

import pytest
from gateways import until

from veza.actors import notifier
from veza.actors.notifier import Notifier
from veza.actors.refs import ActorGone, ActorUnreachable, GatewayRef
from veza.realtime import commands as c
from veza.realtime.frames import payload_of
from veza.realtime.partition import partition_of
from veza.storage import notifications, partitions
from veza.storage.notifications import NotificationKind

KILL = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE '%notifier'"
LIKE = NotificationKind.LIKE


class Peer:
    """A gateway; fails as told."""

    def __init__(self) -> None:
        self.frames: list[tuple[UUID, dict[str, Any]]] = []
        self.calls = 0
        self.closed = 0
        self.failures: list[BaseException] = []
        self.stuck = asyncio.Event()
        self.stuck.set()

    async def deliver(self, data: bytes) -> None:
        self.calls += 1
        await self.stuck.wait()
        if self.failures:
            raise self.failures.pop(0)
        for item in c.decode_deliveries(data).items:
            assert isinstance(item, c.UserFrame)
            self.frames.append((item.user_id, json.loads(payload_of(item.frame))))

    async def close(self) -> None:
        self.closed += 1

    def seen(self) -> list[str]:
        return [frame["id"] for _, frame in self.frames]


class World:
    """Shards, whom they know, and gateways."""

    def __init__(self, pool: Any, url: str) -> None:
        self.pool = pool
        self.url = url
        self.peers: dict[str, Peer] = {}
        self.epochs: dict[str, dict[int, int]] = {}
        self.present: dict[str, dict[UUID, tuple[str, ...]]] = {}

    def peer(self, name: str) -> Peer:
        return self.peers.setdefault(name, Peer())

    def connect(self, name: str) -> GatewayRef:
        return cast("GatewayRef", self.peer(name))

    async def give(self, shard: str, *numbers: int) -> None:
        taken = await partitions.take(self.pool, dict.fromkeys(numbers, shard))
        self.epochs.setdefault(shard, {}).update(taken)

    @contextlib.asynccontextmanager
    async def running(self, shard: str) -> AsyncIterator[Notifier]:
        known = self.present.setdefault(shard, {})
        made = Notifier(
            shard, self.url, lambda: self.epochs.get(shard, {}), lambda user: known.get(user, ()), self.connect
        )
        task = asyncio.create_task(made.run())
        try:
            yield made
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def notify(self, *user_ids: UUID, **data: Any) -> list[str]:
        """Ids of the new notifications."""
        before = {row["id"] for row in await self.pool.fetch("SELECT id FROM notifications")}
        await notifications.add(self.pool, user_ids, LIKE, data)
        rows = await self.pool.fetch("SELECT id FROM notifications ORDER BY created_at, id")
        return [str(row["id"]) for row in rows if row["id"] not in before]

    async def waiting(self) -> list[str]:
        """Ids of what is not pushed."""
        return [str(row["id"]) for row in await self.pool.fetch("SELECT id FROM notifications WHERE NOT pushed")]

    async def all_pushed(self) -> bool:
        return not await self.waiting()


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notifier, "SETTLE_S", 0.0)
    monkeypatch.setattr(notifier, "RECONNECT_S", 0.01)
    monkeypatch.setattr(notifier, "DELIVER_S", 0.3)


@pytest.fixture
async def world(pool: Any, database_url: str) -> AsyncIterator[World]:
    yield World(pool, database_url)
    await pool.execute("TRUNCATE notifications")


async def user(pool: Any, partition: int | None = None) -> UUID:
    """The id of a new user, of a partition."""
    while partition is not None and partition_of(found := uuid4()) != partition:
        pass
    user_id = uuid4() if partition is None else found
    name = user_id.hex[:20]
    await pool.execute(
        "INSERT INTO users (id, username, email, password_hash) VALUES ($1, $2, $3, '')", user_id, name, f"{name}@x.org"
    )
    return user_id


async def test_a_notification_reaches_every_gateway_of_its_user_once(world: World) -> None:
    ada, bob = await user(world.pool, 1), await user(world.pool, 2)
    await world.give("s", 1, 2)
    world.present["s"] = {ada: ("one", "two"), bob: ("two",)}
    async with world.running("s"):
        (first,) = await world.notify(ada, post="p")
        await until(world.all_pushed)
        second = await world.notify(ada, bob)
        await until(world.all_pushed)
    assert world.peer("one").seen() == [first, *[i for i in second if i in world.peer("one").seen()]]
    assert len(world.peer("one").frames) == 2
    assert len(world.peer("two").frames) == 3
    assert set(world.peer("two").seen()) == {first, *second}
    to, frame = world.peer("one").frames[0]
    assert to == ada
    assert set(frame) == {"type", "id", "kind", "data", "created_at"}
    assert (frame["type"], frame["id"], frame["kind"], frame["data"]) == ("notification", first, "like", {"post": "p"})
    assert frame["created_at"].endswith("Z")


async def test_who_has_no_socket_finds_it_later_without_a_push(world: World) -> None:
    ada = await user(world.pool, 1)
    await world.give("s", 1)
    async with world.running("s"):
        await world.notify(ada)
        await until(world.all_pushed)
    assert world.peers == {}
    assert (await notifications.counts(world.pool, ada)).unread == 1


async def test_more_than_a_batch_comes_in_order(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notifier, "BATCH", 7)
    ada = await user(world.pool, 1)
    await world.give("s", 1)
    world.present["s"] = {ada: ("one",)}
    sent = [(await world.notify(ada))[0] for _ in range(30)]
    async with world.running("s"):
        await until(world.all_pushed)
    assert world.peer("one").seen() == sent
    assert world.peer("one").calls >= 5


async def test_what_another_shard_owns_is_left_alone(world: World) -> None:
    ada, bob = await user(world.pool, 1), await user(world.pool, 2)
    await world.give("s", 1, 2)
    world.present["s"] = dict.fromkeys((ada, bob), ("one",))
    # The partition is taken while the old owner knows nothing of it.
    await partitions.take(world.pool, {2: "t"})
    async with world.running("s"):
        (others,) = await world.notify(bob)
        (own,) = await world.notify(ada)

        async def only_the_others_wait() -> bool:
            return await world.waiting() == [others]

        await until(only_the_others_wait)
    assert world.peer("one").seen() == [own]
    world.present["t"] = {bob: ("two",)}
    await world.give("t", 2)
    async with world.running("t"):
        await until(world.all_pushed)
    assert world.peer("two").seen() == [others]


async def test_a_new_owner_waits_until_it_knows_who_is_there(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notifier, "SETTLE_S", 3600.0)
    ada = await user(world.pool, 1)
    await world.give("s", 1)
    await world.notify(ada)
    connection = await notifier.open_connection(world.url, name="test")
    made = Notifier("s", world.url, lambda: world.epochs["s"], lambda _: ("one",), world.connect)
    assert await made.push(connection)
    assert not await world.all_pushed()
    # Known for long enough by now.
    monkeypatch.setattr(notifier, "SETTLE_S", 0.0)
    assert await made.push(connection)
    assert await world.all_pushed()
    # Lost and got back: who was there is forgotten.
    monkeypatch.setattr(notifier, "SETTLE_S", 3600.0)
    await world.give("s", 1)
    await world.notify(ada)
    assert await made.push(connection)
    assert not await world.all_pushed()
    connection.terminate()


@pytest.mark.parametrize("error", [ActorUnreachable("one"), TimeoutError()])
async def test_what_a_gateway_did_not_take_comes_again(world: World, error: BaseException) -> None:
    ada, bob = await user(world.pool, 1), await user(world.pool, 2)
    await world.give("s", 1, 2)
    world.present["s"] = {ada: ("one", "two"), bob: ("two",)}
    world.peer("one").failures = [error]
    async with world.running("s"):
        ids = await world.notify(ada, bob)
        await until(world.all_pushed)
    assert len(world.peer("one").frames) == 1
    # Twice for who is in both; the id tells.
    assert set(world.peer("two").seen()) == set(ids)
    assert len(world.peer("two").frames) == 3


async def test_a_gateway_that_hangs_does_not_hold_up_the_others(world: World) -> None:
    ada, bob = await user(world.pool, 1), await user(world.pool, 2)
    await world.give("s", 1, 2)
    world.present["s"] = {ada: ("one",), bob: ("two",)}
    world.peer("one").stuck.clear()
    async with world.running("s"):
        await world.notify(ada)
        for number in range(1, 4):
            await world.notify(bob)
            await until(lambda number=number: len(world.peer("two").frames) >= number)
        assert not await world.all_pushed()
        world.peer("one").stuck.set()
        await until(world.all_pushed)
    assert len(set(world.peer("one").seen())) == 1


async def test_a_dead_gateway_is_done_with(world: World) -> None:
    ada = await user(world.pool, 1)
    await world.give("s", 1)
    world.present["s"] = {ada: ("one",)}
    world.peer("one").failures = [ActorGone("one")]
    async with world.running("s"):
        await world.notify(ada)
        await until(world.all_pushed)
        assert world.peer("one").closed == 1
    assert world.peer("one").frames == []


async def test_a_lost_connection_is_made_again(world: World) -> None:
    ada = await user(world.pool, 1)
    await world.give("s", 1)
    world.present["s"] = {ada: ("one",)}
    async with world.running("s"):
        await world.notify(ada)
        await until(world.all_pushed)
        for _ in range(3):
            await world.pool.execute(KILL)
            await world.notify(ada)
            await until(world.all_pushed)
    assert len(set(world.peer("one").seen())) == 4


async def test_it_is_woken_without_a_poll(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notifier, "POLL_S", 3600.0)
    ada = await user(world.pool, 1)
    await world.give("s", 1)
    async with world.running("s"):
        for _ in range(3):
            await world.notify(ada)
            await until(world.all_pushed)


async def test_a_lost_wake_up_is_made_good_by_the_poll(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notifier, "POLL_S", 0.1)
    ada = await user(world.pool, 1)
    await world.give("s", 1)
    async with world.running("s"):
        await world.pool.execute("ALTER TABLE notifications DISABLE TRIGGER notifications_wake")
        await world.notify(ada)
        await until(world.all_pushed)
    await world.pool.execute("ALTER TABLE notifications ENABLE TRIGGER notifications_wake")
