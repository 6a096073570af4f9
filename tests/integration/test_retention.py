"""What a room does not keep goes from its beginning, and the rest says where it begins."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from writer import Writer, some_person, some_room

from veza.http.room_reads import RoomReads
from veza.ids import new_id
from veza.realtime import commands as c
from veza.realtime import protocol as p
from veza.realtime.events import Person
from veza.storage import retention, room_log, rooms

DAY = timedelta(days=1)


class Keeping:
    """A room whose messages are a day apart, the last one of now."""

    def __init__(self, pool: Any, writer: Writer, owner: Person, room: UUID) -> None:
        self.pool, self.writer, self.owner, self.room = pool, writer, owner, room
        self.now = datetime.now(UTC)

    async def say(self, count: int) -> None:
        for number in range(count):
            self.writer.wall = self.now - (count - 1 - number) * DAY
            await self.writer.give(lambda ref: c.Post(ref, self.room, new_id(), self.owner, "words"))

    async def keep(self, days: int) -> Any:
        return (await self.writer.give(lambda ref: c.UpdateRoom(ref, self.room, new_id(), self.owner, None, days)))[0]

    async def seqs(self) -> list[int]:
        return [event.seq for event in await room_log.read_after(self.pool, self.room, 0, 5000)]

    async def first_seq(self) -> int:
        return (await rooms.require_member(self.pool, self.room, self.owner.id)).first_seq


@pytest.fixture
async def keeping(pool: Any) -> Keeping:
    writer = Writer(pool)
    await writer.take_over()
    owner = await some_person(pool, "owner")
    return Keeping(pool, writer, owner, await some_room(pool, owner, []))


async def test_everything_is_kept_unless_the_room_says_otherwise(keeping: Keeping) -> None:
    await keeping.say(10)
    await retention.prune(keeping.pool, keeping.now + 1000 * DAY)
    assert await keeping.seqs() == list(range(1, 11))


async def test_the_oldest_go_and_history_says_where_it_begins(keeping: Keeping) -> None:
    await keeping.say(10)
    await keeping.keep(3)
    await retention.prune(keeping.pool, keeping.now + timedelta(hours=1))
    assert await keeping.seqs() == [8, 9, 10, 11]
    page = await RoomReads(keeping.pool, None).history_page(  # type: ignore[arg-type]  # only presence needs links
        keeping.owner.id, p.GetHistory(room_id=keeping.room)
    )
    assert (page["first_seq"], page["has_more"]) == (8, False)
    assert await retention.prune(keeping.pool, keeping.now + timedelta(hours=1)) == 0


async def test_numbering_goes_on_when_nothing_is_left(keeping: Keeping) -> None:
    await keeping.say(3)
    await keeping.keep(1)
    await retention.prune(keeping.pool, keeping.now + 30 * DAY)
    assert (await keeping.seqs(), await keeping.first_seq()) == ([], 5)
    await keeping.writer.take_over()
    await keeping.say(1)
    assert await keeping.seqs() == [5]
    found, _ = await rooms.conversations(keeping.pool, keeping.owner.id, 10, 0)
    assert (found[0].last_seq, found[0].first_seq, found[0].retention_days) == (5, 5, 1)


async def test_more_than_a_batch_goes_at_once(keeping: Keeping) -> None:
    keeping.writer.wall = keeping.now - 30 * DAY
    await keeping.writer.give(
        *(
            lambda ref: c.Post(ref, keeping.room, new_id(), keeping.owner, "words")
            for _ in range(2 * retention.BATCH + 1)
        )
    )
    keeping.writer.wall = keeping.now
    await keeping.keep(1)
    assert await retention.prune(keeping.pool, keeping.now) == 2 * retention.BATCH + 1
    assert await keeping.seqs() == [2 * retention.BATCH + 2]


async def test_an_event_behind_a_newer_one_waits_for_it(keeping: Keeping) -> None:
    """Clocks of two owners may differ: the log is cut at its beginning only."""
    await keeping.keep(1)
    for age in (5, 0, 5):
        keeping.writer.wall = keeping.now - age * DAY
        await keeping.writer.give(lambda ref: c.Post(ref, keeping.room, new_id(), keeping.owner, "words"))
    await keeping.pool.execute(
        "UPDATE room_events SET created_at = $1 WHERE room_id = $2 AND seq = 1", keeping.now - 9 * DAY, keeping.room
    )
    await retention.prune(keeping.pool, keeping.now)
    assert await keeping.seqs() == [3, 4]


async def test_who_sets_it(keeping: Keeping) -> None:
    other = await some_person(keeping.pool, "moderator")
    await keeping.writer.give(lambda ref: c.AddMember(ref, keeping.room, new_id(), keeping.owner, other, "moderator"))
    [refused] = await keeping.writer.give(lambda ref: c.UpdateRoom(ref, keeping.room, new_id(), other, None, 7))
    assert refused.error == "PermissionDenied"
    assert (await keeping.keep(-1)).error == "InvalidArgument"
    await keeping.keep(7)
    assert await keeping.pool.fetchval("SELECT retention_days FROM rooms WHERE id = $1", keeping.room) == 7
    await keeping.keep(0)
    assert await keeping.pool.fetchval("SELECT retention_days FROM rooms WHERE id = $1", keeping.room) is None


async def test_what_is_gone_cannot_be_changed(keeping: Keeping) -> None:
    await keeping.keep(1)
    keeping.writer.wall = keeping.now - 9 * DAY
    [sent] = await keeping.writer.give(lambda ref: c.Post(ref, keeping.room, new_id(), keeping.owner, "words"))
    message = UUID(sent["message_id"])

    def react(emoji: str) -> Any:
        return lambda ref: c.React(ref, keeping.room, new_id(), keeping.owner, message, emoji, True)

    await keeping.pool.execute(
        "UPDATE room_events SET created_at = $1 WHERE room_id = $2", keeping.now - 9 * DAY, keeping.room
    )
    assert "seq" in (await keeping.writer.give(react("🎸")))[0]
    await retention.prune(keeping.pool, keeping.now)
    assert (await keeping.writer.give(react("🥁")))[0].error == "MessageNotFound"
    left = "SELECT count(*) FROM message_reactions WHERE message_id = $1"
    assert await keeping.pool.fetchval(left, message) == 0


async def test_pruning_and_writing_do_not_lock_each_other_out(keeping: Keeping) -> None:
    """Both change the same rows, in orders of their own."""
    keeping.writer.wall = keeping.now - 9 * DAY
    sent = await keeping.writer.give(
        *(lambda ref: c.Post(ref, keeping.room, new_id(), keeping.owner, "words") for _ in range(600))
    )
    await keeping.keep(1)
    messages = [UUID(one["message_id"]) for one in sent]

    async def write() -> None:
        for start in range(0, 600, 60):
            await keeping.writer.give(
                *(
                    lambda ref, message=message: c.React(
                        ref, keeping.room, new_id(), keeping.owner, message, "🎸", True
                    )
                    for message in reversed(messages[start : start + 60])
                ),
                *(
                    lambda ref, message=message: c.DeleteMessage(ref, keeping.room, new_id(), keeping.owner, message)
                    for message in reversed(messages[start : start + 60])
                ),
            )

    await asyncio.gather(write(), *(retention.prune(keeping.pool, keeping.now) for _ in range(3)))
    await retention.prune(keeping.pool, keeping.now)
    assert messages[-1] not in [event.id for event in await room_log.read_after(keeping.pool, keeping.room, 0, 5000)]
