"""Rooms as a gateway follows them, when shards and the log misbehave."""

import asyncpg
import pytest
from gateway_parts import ROOM, Parts, message_frame, parts, until

from veza.errors import RoomNotFound, Unavailable
from veza.http import joining
from veza.realtime import commands as c
from veza.realtime import protocol
from veza.realtime.rate_limit import backoff


async def in_room(made: Parts, events: int = 0) -> None:
    """The session is in the room, which has so many events."""
    for number in range(events):
        made.log.add(content=str(number))
    made.join("join")
    made.hub.rooms[ROOM].feed.subscribed(events)
    made.subscribed(events)
    assert made.answer("join")


async def test_catching_up_survives_an_error_of_the_database() -> None:
    async with parts() as made:
        await in_room(made)
        made.log.failures.append(asyncpg.InsufficientPrivilegeError("permission denied"))
        for number in range(3):
            made.log.add(content=str(number))
        await made.deliver(c.Events(ROOM, 3, [message_frame(3)]))
        await until(lambda: made.seqs() == [1, 2, 3])


async def test_what_a_deleted_room_still_has_is_passed_on_before_its_sockets_go() -> None:
    async with parts() as made:
        await in_room(made)
        made.log.add(content="last words")
        made.log.add("room_deleted")
        made.hub._moved(set(range(256)))
        made.links.handlers[-1](RoomNotFound())
        await until(lambda: ROOM not in made.hub.rooms)
        assert [(f["type"], f["seq"]) for f in made.shown if "seq" in f] == [("message", 1), ("room_deleted", 2)]


async def test_a_deleted_room_with_nothing_new_is_left_as_well() -> None:
    async with parts() as made:
        await in_room(made, events=2)
        made.hub._moved(set(range(256)))
        made.links.handlers[-1](RoomNotFound())
        await until(lambda: ROOM not in made.hub.rooms)
        assert made.seqs() == []


async def test_a_shard_that_sends_for_nobody_is_told_once_a_batch() -> None:
    async with parts() as made:
        await made.deliver(c.Events(ROOM, 1, [message_frame(1)]), c.Events(ROOM, 2, [message_frame(2)]))
        assert made.links.sent == [c.Unsubscribe(ROOM)]
        await in_room(made)
        made.links.sent.clear()
        await made.deliver(c.Events(ROOM, 1, [message_frame(1)]))
        assert made.links.sent == []


def test_retries_come_less_and_less_often() -> None:
    slowest = [backoff(attempt, 0.0, first=0.25, longest=5.0) for attempt in range(7)]
    assert slowest == [0.25, 0.5, 1.0, 2.0, 4.0, 5.0, 5.0]
    assert backoff(0, 0.999, first=0.25, longest=5.0) == pytest.approx(0.125, rel=0.01)
    assert backoff(10**6, 0.0, first=0.25, longest=5.0) == 5.0


async def test_subscriptions_that_are_refused_back_off() -> None:
    async with parts() as made:
        await in_room(made)
        entry = made.hub.rooms[ROOM]
        made.hub._moved(set(range(256)))
        for refused in (1, 2):
            made.links.handlers[-1](Unavailable())
            asked = len(made.links.handlers)
            await until(lambda asked=asked: len(made.links.handlers) > asked)
            assert entry.refused == refused
        await made.deliver(c.Subscribed(len(made.links.handlers), ROOM, 0))
        assert entry.refused == 0


# -- joining ---------------------------------------------------------------------------------------------------


async def test_a_page_that_cannot_be_read_is_answered_and_nothing_is_kept_for_it() -> None:
    async with parts() as made:
        made.log.add("unheard of")
        made.join("join", last_seq=0)
        made.subscribed(1)
        answer = await until(lambda: made.answer("join"))
        assert (answer["type"], answer["error"]["code"]) == ("error", "INTERNAL")
        await until(lambda: ROOM not in made.hub.rooms)


async def test_joining_again_while_a_page_is_read_shows_nothing_twice() -> None:
    async with parts() as made:
        made.log.add(content="1")
        made.join("older", last_seq=0)
        made.join("newer")
        for handle in made.links.handlers:
            handle(c.Subscribed(0, ROOM, 1))
        made.hub.rooms[ROOM].feed.subscribed(1)
        await made.deliver(c.Events(ROOM, 2, [message_frame(2)]))
        await until(lambda: made.answer("older"))
        assert made.answer("older")["error"]["code"] == "UNAVAILABLE"
        assert made.answer("newer")["data"]["seq"] == 1
        assert made.seqs() == [2]


async def test_pages_end_at_their_size_or_their_number() -> None:
    async with parts() as made:
        for number in range(700):
            made.log.add(content="x" * (10_000 if number < 100 else 10))
        pages = joining.Pages(made.log, made.tasks)
        large = await pages.read(ROOM, 0, 500)
        assert 20 < large.last_seq < 27
        assert len(bytes(large.events)) <= protocol.PAGE_BYTES + 100
        assert (await pages.read(ROOM, 100, 500)).last_seq == 600
        assert (await pages.read(ROOM, 600, 500)).last_seq == 700
        assert (await pages.read(ROOM, 100, 7)).last_seq == 107


async def test_a_joiner_holds_little() -> None:
    async with parts() as made:
        made.log.add(content="1")
        made.join("join", last_seq=0)
        made.subscribed(1)
        [joiner] = made.hub.rooms[ROOM].joiners.values()
        for seq in range(2, 10):
            await made.hub._pass_on(made.hub.rooms[ROOM], [b"x" * 60_000 + bytes([seq])])
        answer = await until(lambda: made.answer("join"))
        assert joiner.overflown
        assert joiner.buffered == []
        assert answer["data"]["has_more"] is True


async def test_a_room_deleted_while_it_catches_up_shows_its_end() -> None:
    async with parts() as made:
        await in_room(made)
        for number in range(3):
            made.log.add(content=str(number))
        made.log.add("room_deleted")
        # The first three were lost with their shard; the end comes live, and behind it the word that all must go.
        await made.deliver(c.Events(ROOM, 4, [message_frame(4)]), c.MemberGone(ROOM, None, 4))
        await until(lambda: ROOM not in made.hub.rooms)
        assert [(f["type"], f["seq"]) for f in made.shown if "seq" in f] == [
            ("message", 1),
            ("message", 2),
            ("message", 3),
            ("room_deleted", 4),
        ]


async def test_a_join_that_is_overtaken_while_the_room_catches_up_is_answered() -> None:
    async with parts() as made:
        await in_room(made)
        entry = made.hub.rooms[ROOM]
        made.join("again")
        entry.feed.subscribed(5)
        made.hub.leave(made.session.socket, ROOM)
        made.links.handlers[-1](c.Subscribed(len(made.links.handlers), ROOM, 5))
        await until(lambda: made.answer("again") is not None)
        answer = made.answer("again")
        assert answer is not None
        assert answer["type"] == "error"
