"""Pages of history: the messages of a room in order, whatever lies between them, from a bounded number of rows."""

import random
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest
from writer import Writer, some_person, some_room

from veza.http.room_reads import NEWEST, RoomReads
from veza.ids import new_id
from veza.realtime import commands as c
from veza.realtime import protocol as p
from veza.realtime.events import Person
from veza.realtime.room import RoomType
from veza.storage import retention, room_log, rooms

EMOJI = [chr(0x1F600 + number) for number in range(10)]


class Log:
    """A room and who writes in it."""

    def __init__(self, pool: Any, writer: Writer, people: list[Person], room: UUID) -> None:
        self.pool, self.writer, self.people, self.room = pool, writer, people, room
        self.said: list[UUID] = []

    async def say(self, count: int = 1) -> None:
        ids = [new_id() for _ in range(count)]
        await self.writer.give(
            *(lambda ref, post=post: c.Post(ref, self.room, post, self.people[0], "words") for post in ids)
        )
        self.said += ids

    async def react(self, count: int = 1) -> None:
        """Reactions to the newest messages, each by somebody and with an emoji of its own."""
        wanted = ((post, who, emoji) for post in reversed(self.said) for who in self.people for emoji in EMOJI)
        used = await self.pool.fetch("SELECT message_id, user_id, emoji FROM message_reactions")
        taken = {(row["message_id"], row["user_id"], row["emoji"]) for row in used}
        fresh = (choice for choice in wanted if (choice[0], choice[1].id, choice[2]) not in taken)
        for post, who, emoji in [next(fresh) for _ in range(count)]:
            [answer] = await self.writer.give(
                lambda ref, post=post, who=who, emoji=emoji: c.React(ref, self.room, new_id(), who, post, emoji, True)
            )
            assert "seq" in answer

    async def run_of_reactions(self, count: int) -> None:
        """Many at once, as the shard stores them."""
        await self.pool.execute(
            """
            INSERT INTO room_events (room_id, seq, id, kind, sender_id, body, created_at, message_seq)
            SELECT $1, h.seq + n, gen_random_uuid(), 'reaction_added', $2, '{}', now(), coalesce(h.message_seq, h.seq)
            FROM (SELECT seq, message_seq FROM room_events WHERE room_id = $1 ORDER BY seq DESC LIMIT 1) h,
                 generate_series(1, $3::int) n
            """,
            self.room,
            self.people[0].id,
            count,
        )
        await self.writer.take_over()  # forgets the room, whose head has moved

    async def messages(self) -> list[int]:
        """The seqs of all messages by the plainest of statements."""
        rows = await self.pool.fetch(
            "SELECT seq FROM room_events WHERE room_id = $1 AND kind = 'message' ORDER BY seq", self.room
        )
        return [row["seq"] for row in rows]

    async def back(self, before: int, limit: int) -> list[int]:
        return [event.seq for event in await room_log.messages_before(self.pool, self.room, before, limit)]

    async def forth(self, after: int, limit: int) -> list[int]:
        return [event.seq for event in await room_log.messages_after(self.pool, self.room, after, limit)]


@pytest.fixture
async def log(pool: Any) -> Log:
    writer = Writer(pool)
    await writer.take_over()
    people = [await some_person(pool, name) for name in ("owner", "first", "second", "third")]
    return Log(pool, writer, people, await some_room(pool, people[0], people[1:]))


@pytest.fixture
async def counted(pool: Any, log: Log) -> AsyncIterator[Any]:
    """A connection that tells how many rows of logs were read through it."""

    class Counted:
        def __init__(self, connection: Any) -> None:
            self.connection = connection

        async def rows(self) -> int:
            found: int = await self.connection.fetchval(
                "SELECT idx_tup_fetch + seq_tup_read FROM pg_stat_xact_user_tables WHERE relname = 'room_events'"
            )
            return found

    async with pool.acquire() as connection, connection.transaction():
        yield Counted(connection)


@pytest.mark.parametrize("seed", range(6))
async def test_every_page_of_any_log_has_the_right_messages(log: Log, seed: int) -> None:
    rng = random.Random(seed)  # noqa: S311 - a reproducible log
    await log.say()
    for _ in range(rng.randint(5, 12)):
        if rng.random() < 0.5:
            await log.say(rng.choice([1, 1, 2, 9]))
        else:
            await log.react(rng.choice([1, 1, 2, 3, 8]))
        if rng.random() < 0.2:
            await log.writer.take_over()
    expected = await log.messages()
    head = max(expected[-1], (await room_log.read_after(log.pool, log.room, 0, 5000))[-1].seq)
    for position in range(head + 2):
        for limit in (1, 3, 100):
            assert await log.back(position, limit) == [seq for seq in reversed(expected) if seq < position][:limit]
            assert await log.forth(position, limit) == [seq for seq in expected if seq > position][:limit]


async def test_a_walk_in_pages_meets_every_message_once(log: Log) -> None:
    for run in (1100, 0, 1, 2, 127, 128, 129, 255, 256, 257, 511, 700, 0):
        await log.say(3)
        await log.run_of_reactions(run)
    expected = await log.messages()
    reads = RoomReads(log.pool, None)  # type: ignore[arg-type]  # only presence needs links
    for forth in (False, True):
        met: list[int] = []
        more = True
        while more:
            if forth:
                ask = p.GetHistory(room_id=log.room, after_seq=met[-1] if met else 0, limit=2)
            else:
                ask = p.GetHistory(room_id=log.room, before_seq=met[-1] if met else None, limit=2)
            page = await reads.history_page(log.people[0].id, ask)
            met += [message["seq"] for message in page["messages"]]
            more = page["has_more"]
        assert met == (expected if forth else expected[::-1])


async def test_a_room_without_messages_has_an_empty_page(log: Log) -> None:
    assert (await log.back(NEWEST, 10), await log.forth(0, 10)) == ([], [])
    await log.writer.give(lambda ref: c.UpdateRoom(ref, log.room, new_id(), log.people[0], "Name", None))
    assert (await log.back(NEWEST, 10), await log.forth(0, 10)) == ([], [])


async def test_long_runs_of_reactions_cost_a_page_no_reading(log: Log, counted: Any) -> None:
    """Five thousand before, between and after the messages that the page shows."""
    limit = 20
    for _ in range(3):
        await log.say(10)
        await log.run_of_reactions(5_000)
    await log.pool.execute("ANALYZE room_events")
    expected = await log.messages()
    for read, expect in (
        (room_log.messages_before(counted.connection, log.room, NEWEST, limit), expected[::-1][:limit]),
        (room_log.messages_before(counted.connection, log.room, 7_345, limit), expected[:20][::-1]),
        (room_log.messages_after(counted.connection, log.room, expected[9], limit), expected[10:]),
        (room_log.messages_after(counted.connection, log.room, expected[-1], limit), []),
    ):
        before = await counted.rows()
        assert [event.seq for event in await read] == expect
        # For each message four of the first events, two of the walk and itself; forward, the end of a run is searched.
        assert await counted.rows() - before <= 7 * limit + 2 * 200


async def test_the_list_of_conversations_shows_the_newest_message_behind_a_long_run(log: Log, counted: Any) -> None:
    await log.say(2)
    await log.run_of_reactions(5_000)
    await log.pool.execute("ANALYZE room_events")
    before = await counted.rows()
    [found], _ = await rooms.conversations(counted.connection, log.people[0].id, 10, 0)
    assert found.last_message is not None
    assert (found.last_message.seq, found.last_seq) == ((await log.messages())[-1], 5_002)
    # Unread ones are counted in the last thousand events.
    assert await counted.rows() - before <= 1100


async def test_what_is_pruned_is_behind_the_last_page(log: Log) -> None:
    """Also when an event that is kept tells of a message that is not."""
    log.writer.later(days=-9)
    await log.say(5)
    log.writer.later(days=9)
    await log.writer.give(lambda ref: c.UpdateRoom(ref, log.room, new_id(), log.people[0], None, 1))
    await log.react(40)
    await retention.prune(log.pool, log.writer.wall)
    assert await log.messages() == []
    assert (await log.back(NEWEST, 3), await log.forth(0, 3)) == ([], [])
    [found], _ = await rooms.conversations(log.pool, log.people[0].id, 10, 0)
    assert found.last_message is None
    await log.writer.take_over()
    await log.say()
    assert await log.back(NEWEST, 3) == await log.forth(0, 3) == await log.messages() != []


async def test_a_message_after_a_takeover_ends_a_run_of_reactions(log: Log) -> None:
    """Who takes over a room knows its newest message, though the newest event is none."""
    other, _ = await rooms.create(log.pool, log.people[0].id, RoomType.GROUP, "Other", [log.people[1].id])
    await log.say(3)
    await log.react(2)
    successor = Writer(log.pool, "successor")
    await successor.take_over()
    log.writer = successor
    await log.react(1)
    rows = await log.pool.fetch(
        "SELECT message_seq FROM room_events WHERE room_id = $1 AND kind <> 'message' ORDER BY seq", log.room
    )
    assert [row["message_seq"] for row in rows] == [3, 3, 3]
    # In a room without one there is none to tell of.
    await successor.give(lambda ref: c.UpdateRoom(ref, other, new_id(), log.people[0], "Name", None))
    assert await log.pool.fetchval("SELECT message_seq FROM room_events WHERE room_id = $1", other) == 0
