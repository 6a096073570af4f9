"""That a stream has started is told to each of its owner's followers once, whoever tells and whatever breaks off."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from system.waiting import until, within
from writer import some_person

from veza.actors import stream_news as actor
from veza.actors.stream_news import StreamNews
from veza.actors.tasks import TaskSet
from veza.ids import new_id
from veza.realtime.events import Person
from veza.realtime.partition import PARTITIONS, STREAMS
from veza.realtime.streams import life as lives
from veza.realtime.streams.batch import StreamBatch
from veza.realtime.streams.life import Life, Source, StreamStatus
from veza.realtime.streams.stream import Figures
from veza.realtime.streams.view import StreamCategory
from veza.storage import blocks, follows, notifications, partitions, stream_log, stream_news, streams
from veza.storage.database import FAILURES
from veza.storage.notifications import NotificationKind
from veza.storage.wakeups import STREAM_NEWS, Wakeups

FIELDS = {
    "title": "Aria",
    "description": "",
    "category": StreamCategory.MUSIC,
    "tags": [],
    "is_private": False,
    "is_recorded": False,
    "slow_mode_seconds": 0,
    "scheduled_at": None,
}


class Stage:
    """Streams as their shard brings them on the air and off it."""

    def __init__(self, pool: Any, epochs: dict[int, int]) -> None:
        self.pool = pool
        self.epochs = epochs
        self.lives: dict[UUID, Life] = {}

    async def made(self, owner: Person, **fields: Any) -> UUID:
        stream = await streams.create(self.pool, owner.id, {**FIELDS, **fields})
        self.lives[stream.id] = Life()
        return stream.id

    async def started(self, owner: Person, **fields: Any) -> UUID:
        stream_id = await self.made(owner, **fields)
        await self.publish(stream_id)
        return stream_id

    async def publish(self, stream_id: UUID) -> None:
        await self.save(stream_id, lives.publish(self.lives[stream_id], Source(new_id(), None), datetime.now(UTC)).life)

    async def lose(self, stream_id: UUID) -> None:
        source = self.lives[stream_id].source
        assert source is not None
        await self.save(stream_id, lives.lose(self.lives[stream_id], source.id, datetime.now(UTC)).life)

    async def stop(self, stream_id: UUID) -> None:
        await self.save(stream_id, lives.stop(self.lives[stream_id], datetime.now(UTC)).life)

    async def save(self, stream_id: UUID, life: Life) -> None:
        self.lives[stream_id] = life
        batch = StreamBatch(datetime.now(UTC))
        batch.lives[stream_id] = life
        await self.commit(batch)

    async def commit(self, batch: StreamBatch) -> None:
        batch.epochs = self.epochs
        async with self.pool.acquire() as connection:
            await stream_log.commit(connection, batch)


@pytest.fixture
async def stage(pool: Any) -> AsyncIterator[Stage]:
    await pool.execute("DELETE FROM stream_news")
    yield Stage(pool, await partitions.take(pool, dict.fromkeys(range(STREAMS, STREAMS + PARTITIONS), "stage")))
    assert await pool.fetchval("SELECT count(*) FROM stream_news") == 0, "somebody is still to be told"


@pytest.fixture
async def ada(pool: Any) -> Person:
    return await some_person(pool, "ada")


async def crowd(pool: Any, size: int) -> list[UUID]:
    rows = await pool.fetch(
        """
        INSERT INTO users (id, username, email, password_hash)
        SELECT id, 'fan_' || right(id::text, 12), id || '@example.com', ''
        FROM (SELECT gen_random_uuid() AS id FROM generate_series(1, $1)) AS fresh
        RETURNING id
        """,
        size,
    )
    return [row["id"] for row in rows]


async def follow(pool: Any, owner: Person, fans: list[UUID]) -> None:
    """All at the same moment, so that their ids decide the order."""
    await pool.execute("INSERT INTO follows (follower_id, followed_id) SELECT unnest($1::uuid[]), $2", fans, owner.id)


async def followers(pool: Any, owner: Person, size: int) -> list[UUID]:
    fans = await crowd(pool, size)
    await follow(pool, owner, fans)
    return fans


async def tell_all(pool: Any) -> list[UUID]:
    """The streams of the batches, in order."""
    told = []
    while batch := await stream_news.tell_some(pool):
        told.append(batch.stream_id)
    return told


async def told(pool: Any, stream_id: UUID) -> Counter[UUID]:
    rows = await pool.fetch(
        "SELECT user_id FROM notifications WHERE kind = 'stream_started' AND data ->> 'stream_id' = $1", str(stream_id)
    )
    return Counter(row["user_id"] for row in rows)


def once(fans: list[UUID]) -> Counter[UUID]:
    return Counter(fans)


# -- who is told -------------------------------------------------------------------------------------------------


async def test_2500_followers_are_told_in_three_batches(stage: Stage, pool: Any, ada: Person) -> None:
    fans = await followers(pool, ada, 2500)
    await followers(pool, await some_person(pool, "bob"), 3)
    stream_id = await stage.started(ada)
    assert await tell_all(pool) == [stream_id] * 3
    assert await told(pool, stream_id) == once(fans)
    [found] = await notifications.page(pool, fans[0], unread=True, after=None, limit=10, offset=0)
    started_at = found.data.pop("started_at")
    assert datetime.fromisoformat(started_at) == stage.lives[stream_id].started_at
    user = {"id": str(ada.id), "username": ada.username}
    assert (found.kind, found.data) == (
        NotificationKind.STREAM_STARTED,
        {"stream_id": str(stream_id), "title": "Aria", "user": user},
    )


async def test_who_follows_nobody_is_told_nothing(stage: Stage, pool: Any, ada: Person) -> None:
    stream_id = await stage.started(ada)
    assert await tell_all(pool) == [stream_id]
    assert not await told(pool, stream_id)


async def test_a_private_stream_is_told_of_to_nobody(stage: Stage, pool: Any, ada: Person) -> None:
    await followers(pool, ada, 3)
    stream_id = await stage.started(ada, is_private=True)
    await streams.update(pool, stream_id, ada.id, {"is_private": False})
    assert await tell_all(pool) == []
    assert not await told(pool, stream_id)


@pytest.mark.parametrize("what", ["made private", "deleted", "by somebody banned"])
async def test_of_a_stream_that_goes_meanwhile_no_more_are_told(
    stage: Stage, pool: Any, ada: Person, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_news, "BATCH", 4)
    await followers(pool, ada, 10)
    stream_id = await stage.started(ada)
    assert await stream_news.tell_some(pool) == stream_news.Told(stream_id, more=True)
    if what == "made private":
        await streams.update(pool, stream_id, ada.id, {"is_private": True})
    elif what == "deleted":
        await stage.stop(stream_id)
        await streams.delete(pool, stream_id, ada.id)
    else:
        await pool.execute("UPDATE users SET banned_at = now() WHERE id = $1", ada.id)
    await tell_all(pool)
    assert (await told(pool, stream_id)).total() == 4


async def test_blocks_and_preferences_are_honoured(stage: Stage, pool: Any, ada: Person) -> None:
    fans = await followers(pool, ada, 5)
    blocker, blocked, unwilling, gone, fan = fans
    block = "INSERT INTO blocks (blocker_id, blocked_id) VALUES ($1, $2)"
    # As if a follow had come between: a block takes the follow away.
    await pool.execute(block, blocker, ada.id)
    await pool.execute(block, ada.id, blocked)
    await notifications.set_preferences(pool, unwilling, {NotificationKind.STREAM_STARTED: False})
    await pool.execute("UPDATE users SET deleted_at = now() WHERE id = $1", gone)
    former = await followers(pool, ada, 2)
    await blocks.block(pool, former[0], ada.id)
    await blocks.block(pool, ada.id, former[1])
    stream_id = await stage.started(ada)
    await tell_all(pool)
    assert await told(pool, stream_id) == once([fan])


@pytest.mark.parametrize(("ago", "wanted"), [(timedelta(minutes=50), 3), (timedelta(minutes=61), 0)])
async def test_of_a_stream_that_ended_long_ago_nobody_is_told(
    stage: Stage, pool: Any, ada: Person, ago: timedelta, wanted: int
) -> None:
    await followers(pool, ada, 3)
    stream_id = await stage.started(ada)
    ended_at = datetime.now(UTC) - ago
    await stage.save(stream_id, Life(StreamStatus.ENDED, ended_at, None, ended_at))
    assert await tell_all(pool) == [stream_id]
    assert (await told(pool, stream_id)).total() == wanted


async def test_who_follows_again_meanwhile_is_told_once(
    stage: Stage, pool: Any, ada: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_news, "BATCH", 4)
    fans = await followers(pool, ada, 10)
    stream_id = await stage.started(ada)
    await stream_news.tell_some(pool)
    before = await told(pool, stream_id)
    late = await some_person(pool, "late")
    for fan in [*before, late.id]:
        await follows.unfollow(pool, fan, ada.id)
        await follows.follow(pool, Person(fan, "fan"), ada.id)
    await tell_all(pool)
    assert await told(pool, stream_id) == once(fans)


# -- when --------------------------------------------------------------------------------------------------------


async def test_what_was_interrupted_is_no_news_again(stage: Stage, pool: Any, ada: Person) -> None:
    fans = await followers(pool, ada, 3)
    stream_id = await stage.started(ada)
    await stage.lose(stream_id)
    await stage.publish(stream_id)
    assert await tell_all(pool) == [stream_id]
    for _ in range(2):
        await stage.lose(stream_id)
        await stage.publish(stream_id)
    # A commit whose outcome was not heard of is made again.
    await stage.save(stream_id, stage.lives[stream_id])
    await stage.stop(stream_id)
    assert await tell_all(pool) == []
    assert await told(pool, stream_id) == once(fans)


async def test_an_owner_that_was_has_nothing_told(stage: Stage, pool: Any, ada: Person) -> None:
    await followers(pool, ada, 3)
    stream_id = await stage.made(ada)
    await partitions.take(pool, dict.fromkeys(range(STREAMS, STREAMS + PARTITIONS), "another"))
    await stage.publish(stream_id)
    assert await tell_all(pool) == []


# -- what goes wrong ---------------------------------------------------------------------------------------------


async def test_several_tell_at_once_and_each_follower_hears_it_once(
    stage: Stage, pool: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_news, "BATCH", 7)
    owners = [await some_person(pool, "owner") for _ in range(4)]
    fans = await crowd(pool, 60)
    for owner in owners:
        await follow(pool, owner, fans)
    started = [await stage.started(owner) for owner in owners]
    await asyncio.gather(*(tell_all(pool) for _ in range(3)))
    # Who finds all of them taken looks again later.
    await tell_all(pool)
    for stream_id in started:
        assert await told(pool, stream_id) == once(fans)


def after_add(then: Callable[[Any], Any]) -> Callable[..., Any]:
    """`notifications.add`, and something else before the transaction ends."""
    add = notifications.add

    async def adding(connection: Any, *args: Any, **options: Any) -> None:
        await add(connection, *args, **options)
        await then(connection)

    return adding


async def test_who_dies_in_a_batch_has_told_nobody_of_it(
    stage: Stage, pool: Any, ada: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_news, "BATCH", 4)
    fans = await followers(pool, ada, 10)
    stream_id = await stage.started(ada)
    await stream_news.tell_some(pool)

    async def die(connection: Any) -> None:
        await connection.execute("SELECT pg_terminate_backend(pg_backend_pid())")

    with monkeypatch.context() as dying:
        dying.setattr(notifications, "add", after_add(die))
        for _ in range(2):
            with pytest.raises(FAILURES):
                await stream_news.tell_some(pool)
    assert (await told(pool, stream_id)).total() == 4
    await tell_all(pool)
    assert await told(pool, stream_id) == once(fans)


async def test_the_shard_does_not_wait_for_who_tells(
    stage: Stage, pool: Any, ada: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    fans = await followers(pool, ada, 3)
    stream_id = await stage.started(ada)

    async def chat(_: Any) -> None:
        batch = StreamBatch(datetime.now(UTC))
        batch.figures[stream_id] = Figures(3, 3, 0, 0)
        async with within(5, "a commit of the stream while its followers are being told"):
            await stage.commit(batch)
            await stage.lose(stream_id)

    monkeypatch.setattr(notifications, "add", after_add(chat))
    await tell_all(pool)
    assert await told(pool, stream_id) == once(fans)


async def test_a_small_stream_does_not_wait_for_a_large_one(
    stage: Stage, pool: Any, ada: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_news, "BATCH", 4)
    bob = await some_person(pool, "bob")
    await followers(pool, ada, 30)
    await followers(pool, bob, 3)
    large = await stage.started(ada)
    small = await stage.started(bob)
    assert (await tell_all(pool))[:3] == [large, small, large]


# -- the JobRunner's part ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("woken", "look"), [(True, 3600.0), (False, 0.01)])
async def test_a_start_wakes_who_tells_and_a_missed_wakeup_is_made_good(
    stage: Stage, pool: Any, database_url: str, ada: Person, monkeypatch: pytest.MonkeyPatch, woken: bool, look: float
) -> None:
    monkeypatch.setattr(actor, "LOOK_S", look)
    monkeypatch.setattr(stream_news, "BATCH", 4)
    monkeypatch.setattr(actor, "PAUSE_S", 0.0)
    fans = await followers(pool, ada, 10)
    tasks, wakeups = TaskSet("test"), Wakeups(database_url, "test", [STREAM_NEWS])
    if woken:
        tasks.start(wakeups.run(), "wakeups")
    StreamNews(pool, wakeups).start(tasks)
    try:
        for _ in range(2):
            stream_id = await stage.started(ada)

            async def all_told(stream_id: UUID = stream_id) -> bool:
                return await told(pool, stream_id) == once(fans)

            await until(all_told, "all followers to be told")
    finally:
        await tasks.close()


async def test_who_tells_outlives_a_database_that_is_away(
    stage: Stage, pool: Any, database_url: str, ada: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(actor, "AWAY_S", 0.01)
    fans = await followers(pool, ada, 3)
    failures = [OSError(), TimeoutError()]
    tell_some = stream_news.tell_some

    async def failing(pool: Any) -> Any:
        if failures:
            raise failures.pop()
        return await tell_some(pool)

    monkeypatch.setattr(stream_news, "tell_some", failing)
    stream_id = await stage.started(ada)
    tasks = TaskSet("test")
    StreamNews(pool, Wakeups(database_url, "test", [STREAM_NEWS])).start(tasks)
    try:

        async def all_told() -> bool:
            return await told(pool, stream_id) == once(fans)

        await until(all_told, "all followers to be told")
    finally:
        await tasks.close()
