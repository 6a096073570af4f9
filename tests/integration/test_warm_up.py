"""After its warm-up a connection meets no statement for the first time when somebody opens a room."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from writer import Writer, some_person, some_room

from veza.http.room_reads import RoomReads
from veza.ids import new_id
from veza.realtime import commands as c
from veza.realtime import protocol as p
from veza.storage import room_bounds, room_log
from veza.storage.database import open_pool


@pytest.fixture
async def single(database_url: str) -> AsyncIterator[Any]:
    """A pool of one connection, which has met nothing yet."""
    opened = await open_pool(database_url, size=1, name="single")
    yield opened
    await opened.close()


async def met(single: Any) -> set[str]:
    """The statements that the connection has plans of, that of this question apart."""
    question = "SELECT statement FROM pg_prepared_statements"
    return {row["statement"] for row in await single.fetch(question)} - {question}


async def test_a_shards_first_commands_meet_nothing_new(pool: Any, single: Any) -> None:
    owner = await some_person(pool, "owner")
    room = await some_room(pool, owner, [])
    writer = Writer(pool)
    await writer.take_over()
    await writer.give(lambda ref: c.Post(ref, room, new_id(), owner, "of before"))
    # It has to read the room, and what may be in it already.
    await writer.take_over()
    writer.pool = single
    stored = await pool.fetchval("SELECT count(*) FROM room_events")
    await room_log.warm_up(single)
    assert await pool.fetchval("SELECT count(*) FROM room_events") == stored
    known = await met(single)
    assert known
    await writer.give(lambda ref: c.Post(ref, room, new_id(), owner, "first", client_msg_id="1"))
    await writer.give(lambda ref: c.UpdateRoom(ref, room, new_id(), owner, "Name", None))
    assert [event.seq for event in await room_log.read_after(pool, room, 0, 10)] == [1, 2, 3]
    assert await met(single) == known


async def test_who_opens_the_first_room_of_a_gateway_meets_nothing_new(pool: Any, single: Any) -> None:
    owner = await some_person(pool, "owner")
    room = await some_room(pool, owner, [])
    writer = Writer(pool)
    await writer.take_over()
    await writer.give(lambda ref: c.Post(ref, room, new_id(), owner, "words"))
    reads = RoomReads(single, None)  # type: ignore[arg-type]  # only presence needs links
    await reads.warm_up()
    known = await met(single)
    assert known
    assert await room_bounds.first_seq(single, room) == 1
    assert [event.seq for event in await room_log.read_after(single, room, 0, 10)] == [1]
    page = await reads.history_page(owner.id, p.GetHistory(room_id=room))
    assert [message["content"] for message in page["messages"]] == ["words"]
    assert await met(single) == known
