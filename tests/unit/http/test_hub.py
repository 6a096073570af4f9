"""Rooms as a gateway follows them, when shards and the log misbehave."""

import asyncpg
import pytest
from gateway_parts import ADA, ROOM, Receiver, message_frame, parts, until, web_socket

from veza.errors import RoomNotFound, Unavailable
from veza.http import joining
from veza.realtime import commands as c
from veza.realtime import joins, protocol
from veza.realtime import protocol as p
from veza.realtime.rate_limit import backoff


async def test_catching_up_survives_an_error_of_the_database() -> None:
    async with parts() as made:
        await made.enter()
        made.log.failures.append(asyncpg.InsufficientPrivilegeError("permission denied"))
        for number in range(3):
            made.log.add(content=str(number))
        await made.deliver(c.Events(ROOM, 3, [message_frame(3)]))
        await until(lambda: made.seqs() == [1, 2, 3])


async def test_catching_up_survives_a_row_that_cannot_be_read() -> None:
    async with parts() as made:
        await made.enter()
        for number in range(3):
            made.log.add(content=str(number))
        made.log.failures.append(KeyError("present"))
        await made.deliver(c.Events(ROOM, 3, [message_frame(3)]))
        await until(lambda: made.seqs() == [1, 2, 3])


async def test_what_a_deleted_room_still_has_is_passed_on_before_its_sockets_go() -> None:
    async with parts() as made:
        await made.enter()
        made.log.add(content="last words")
        made.log.add("room_deleted")
        made.hub._moved(set(range(256)))
        made.links.handlers[-1](RoomNotFound())
        await until(lambda: ROOM not in made.hub.rooms)
        assert [(f["type"], f["seq"]) for f in made.shown if "seq" in f] == [("message", 1), ("room_deleted", 2)]


async def test_a_deleted_room_with_nothing_new_is_left_as_well() -> None:
    async with parts() as made:
        await made.enter(events=2)
        made.hub._moved(set(range(256)))
        made.links.handlers[-1](RoomNotFound())
        await until(lambda: ROOM not in made.hub.rooms)
        assert made.seqs() == []


async def test_a_shard_that_sends_for_nobody_is_told_once_a_batch() -> None:
    async with parts() as made:
        await made.deliver(c.Events(ROOM, 1, [message_frame(1)]), c.Events(ROOM, 2, [message_frame(2)]))
        assert made.links.sent == [c.Unsubscribe(ROOM)]
        await made.enter()
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
        await made.enter()
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
        await made.admit(1)
        answer = await until(lambda: made.answer("join"))
        assert (answer["type"], answer["error"]["code"]) == ("error", "INTERNAL")
        await until(lambda: ROOM not in made.hub.rooms)


async def test_joining_again_while_a_page_is_read_shows_nothing_twice() -> None:
    async with parts() as made:
        made.log.add(content="1")
        made.join("older", last_seq=0)
        made.join("newer")
        await made.deliver(c.Subscribed(1, ROOM, 1), c.Subscribed(2, ROOM, 1))
        await made.deliver(c.Events(ROOM, 2, [message_frame(2)]))
        await until(lambda: made.answer("older") and made.answer("newer"))
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
        assert (await pages.read(ROOM, 100, 600)).last_seq == 600
        assert (await pages.read(ROOM, 600, 700)).last_seq == 700
        assert (await pages.read(ROOM, 100, 107)).last_seq == 107


async def test_a_joiner_holds_little() -> None:
    async with parts() as made:
        made.log.add(content="1")
        made.join("join", last_seq=0)
        await made.admit(1)
        [joiner] = made.hub.rooms[ROOM].joiners.values()
        for seq in range(2, 10):
            await made.deliver(c.Events(ROOM, seq, [b"x" * 60_000]))
        answer = await until(lambda: made.answer("join"))
        assert joiner.overflown
        assert joiner.buffered == []
        assert answer["data"]["has_more"] is True


async def test_a_room_deleted_while_it_catches_up_shows_its_end() -> None:
    async with parts() as made:
        await made.enter()
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
        await made.enter()
        made.join("again")
        made.log.failures.extend(OSError() for _ in range(3))
        await made.deliver(c.Events(ROOM, 6, [message_frame(6)]))
        await made.admit(6)
        for number in range(6):
            made.log.add(content=str(number))
        made.hub.leave(made.session.socket, ROOM)
        answer = await until(lambda: made.answer("again"))
        assert (answer["type"], answer["error"]["code"]) == ("error", "UNAVAILABLE")


async def test_a_join_does_not_wait_for_ever_while_the_log_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joins, "JOIN_PATIENCE_S", 0.01)
    async with parts() as made:
        await made.enter()
        made.log.failures.extend(OSError() for _ in range(1000))
        await made.deliver(c.Events(ROOM, 3, [message_frame(3)]))
        made.join("again")
        await made.admit(3)
        answer = await until(lambda: made.answer("again"))
        assert (answer["type"], answer["error"]["code"]) == ("error", "UNAVAILABLE")
        made.log.failures.clear()
        for number in range(3):
            made.log.add(content=str(number))
        await until(lambda: made.seqs() == [1, 2, 3])


async def test_a_removal_from_before_a_socket_was_let_in_does_not_take_it_out() -> None:
    async with parts() as made:
        await made.enter(events=5)
        await made.deliver(c.MemberGone(ROOM, ADA.id, 4), c.Events(ROOM, 6, [message_frame(6)]))
        assert made.seqs() == [6]
        await made.deliver(c.MemberGone(ROOM, ADA.id, 7), c.Events(ROOM, 7, [message_frame(7), message_frame(8)]))
        assert made.seqs() == [6, 7]
        assert ROOM not in made.hub.rooms


async def test_refused_subscriptions_are_retried_by_one_at_a_time() -> None:
    async with parts() as made:
        await made.enter()
        asked = len(made.links.handlers)
        for _ in range(3):
            made.hub._moved(set(range(256)))
        assert len(made.links.handlers) == asked + 1
        made.links.handlers[-1](Unavailable())
        made.hub._moved(set(range(256)))
        await until(lambda: len(made.links.handlers) > asked + 1)
        assert len(made.links.handlers) == asked + 2


# -- retention -------------------------------------------------------------------------------------------------


async def test_whoever_lacks_what_the_log_has_not_kept_must_come_back() -> None:
    async with parts() as made:
        await made.enter()
        for number in range(8):
            made.log.add(content=str(number))
        made.log.first_seq = 6
        await made.deliver(c.Events(ROOM, 8, [message_frame(8)]))
        await until(lambda: made.session.socket.closing)
        assert made.seqs() == []
        assert ROOM not in made.hub.rooms


async def test_catching_up_goes_on_where_the_log_begins() -> None:
    async with parts() as made, web_socket(Receiver()) as (other, _):
        await made.enter()
        for number in range(8):
            made.log.add(content=str(number))
        made.log.first_seq = 6
        made.hub.do(made.joining._joins.join(other, p.JoinRoom(id="other", room_id=ROOM), ADA.id))
        await made.deliver(c.Subscribed(len(made.links.handlers), ROOM, 7), c.Events(ROOM, 8, [message_frame(8)]))
        await until(lambda: made.session.socket.closing and other in made.hub.rooms[ROOM].sockets)
        assert made.hub.rooms[ROOM].feed.last_seq == 8


@pytest.mark.parametrize(
    ("last_seq", "seqs", "recovered"),
    [(None, [], False), (0, [6, 7, 8], False), (4, [6, 7, 8], False), (5, [6, 7, 8], True), (8, [], True)],
)
async def test_a_join_states_where_the_log_begins(last_seq: int | None, seqs: list[int], recovered: bool) -> None:
    async with parts() as made:
        for number in range(8):
            made.log.add(content=str(number))
        made.log.first_seq = 6
        for command_id in ("first", "second"):
            made.join(command_id, last_seq)
            await made.admit(8)
            answer = await until(lambda: made.answer(command_id))  # noqa: B023 - awaited here
            shown = answer["data"]
            assert (shown["first_seq"], shown["recovered"], shown["has_more"]) == (6, recovered, False)
            assert [event["seq"] for event in shown["events"]] == seqs


async def test_a_join_from_far_below_goes_on_where_the_log_begins() -> None:
    async with parts() as made:
        for number in range(1900):
            made.log.add(content=str(number))
        made.log.first_seq = 1000
        made.join("join", 3)
        await made.admit(1900)
        await until(lambda: len(made.links.handlers) == 2)
        await made.admit(1900)
        answer = await until(lambda: made.answer("join"))
        assert [event["seq"] for event in answer["data"]["events"]] == list(range(1000, 1500))
        assert (answer["data"]["has_more"], answer["data"]["recovered"]) == (True, False)


async def test_a_page_does_not_reach_into_what_comes_live() -> None:
    """What retention has removed leaves room in the page; what fills it would be shown twice."""
    async with parts() as made:
        for number in range(7):
            made.log.add(content=str(number))
        made.log.first_seq = 5
        made.join("join", 0)
        await made.deliver(c.Subscribed(1, ROOM, 6), c.Events(ROOM, 7, [message_frame(7)]))
        answer = await until(lambda: made.answer("join"))
        assert [event["seq"] for event in answer["data"]["events"]] == [5, 6]
        assert made.seqs() == [7]


async def test_a_page_of_which_nothing_is_kept_is_asked_for_again_further_on() -> None:
    async with parts() as made:
        for number in range(900):
            made.log.add(content=str(number))
        made.log.first_seq = 901
        made.join("join", 3)
        await made.admit(900)
        await until(lambda: len(made.links.handlers) == 2)
        await made.admit(900)
        answer = await until(lambda: made.answer("join"))
        assert (answer["data"]["events"], answer["data"]["has_more"], answer["data"]["recovered"]) == ([], False, False)


# -- users -----------------------------------------------------------------------------------------------------


async def test_what_is_for_a_user_goes_to_all_their_sockets() -> None:
    async with parts() as made:
        made.hub.arrive(made.session.socket, ADA.id)
        await made.deliver(c.UserFrame(ADA.id, message_frame(1)), c.UserFrame(ROOM, message_frame(2)))
        assert made.seqs() == [1]
