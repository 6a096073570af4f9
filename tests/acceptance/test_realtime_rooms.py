"""Rooms over the socket: joining with nothing missed, writing, one order for everyone."""

import asyncio
import uuid
from typing import Any

import pytest
from system.people import People, Person
from system.running import MESSAGE_BURST
from system.sockets import Refused, Socket


async def fill(room_id: str, writer: Person, count: int) -> None:
    """Write `count` messages, pipelined."""
    async with await writer.connect() as socket:
        ids = [await socket.command("send_message", room_id=room_id, content=f"{n}") for n in range(1, count + 1)]
        for command_id in ids:
            await socket.answer(command_id)


# -- writing ---------------------------------------------------------------------------------------------------


async def test_a_message_reaches_everyone_in_the_room_and_its_sender(ada: Person, bob: Person) -> None:
    room_id = await ada.room(bob)
    async with await ada.connect() as one, await ada.connect() as two, await bob.connect() as three:
        for socket in (one, two, three):
            joined = await socket.call("join_room", room_id=room_id)
            assert joined == {
                "room_id": room_id,
                "seq": 0,
                "first_seq": 1,
                "events": [],
                "recovered": False,
                "has_more": False,
            }
        stored = await one.send(room_id, "  Zażółć 🎸 \u202e  ", client_msg_id="m-1")
        assert stored["seq"] == 1
        assert stored["duplicate"] is False
        expected = {
            "type": "message",
            "room_id": room_id,
            "seq": 1,
            "id": stored["message_id"],
            "sender": {"id": ada.id, "username": ada.username},
            "content": "Zażółć 🎸 \u202e",
            "parent_id": None,
            "client_msg_id": "m-1",
            "attachments": [],
            "created_at": stored["created_at"],
        }
        for socket in (one, two, three):
            assert await socket.event("message", room_id=room_id) == expected


async def test_a_retry_is_stored_once(ada: Person, bob: Person) -> None:
    room_id, other_room = await ada.room(bob), await ada.room(bob)
    async with await ada.connect() as socket, await ada.connect() as elsewhere, await bob.connect() as of_bob:
        first = await socket.send(room_id, "once", client_msg_id="same")
        for again in (
            await socket.send(room_id, "once", client_msg_id="same"),
            await elsewhere.send(room_id, "other words", client_msg_id="same"),
            await ada.post(room_id, "once", client_msg_id="same"),
        ):
            assert again == {**first, "duplicate": True}
        # The id is the user's own, in that room.
        assert not (await of_bob.send(room_id, "once", client_msg_id="same"))["duplicate"]
        assert not (await socket.send(other_room, "once", client_msg_id="same"))["duplicate"]
    assert [message["content"] for message in await ada.history(room_id)] == ["once", "once"]


async def test_pipelined_retries_are_stored_once(ada: Person) -> None:
    room_id = await ada.room()
    async with await ada.connect() as one, await ada.connect() as two:
        sockets = [one, two] * 10
        ids = [await s.command("send_message", room_id=room_id, content="x", client_msg_id="same") for s in sockets]
        stored = [await s.answer(command_id) for s, command_id in zip(sockets, ids, strict=True)]
    assert {answer["seq"] for answer in stored} == {1}
    assert [answer["duplicate"] for answer in stored].count(False) == 1
    assert len(await ada.history(room_id)) == 1


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ({"content": ""}, "INVALID_ARGUMENT"),
        ({"content": " \n\t "}, "INVALID_ARGUMENT"),
        ({"content": "nul \0"}, "INVALID_ARGUMENT"),
        ({"content": "x" * 4001}, "MESSAGE_TOO_LONG"),
        ({"content": "x", "client_msg_id": ""}, "INVALID_ARGUMENT"),
        ({"content": "x", "client_msg_id": "x" * 1000}, "INVALID_ARGUMENT"),
        ({"content": "x", "client_msg_id": "\0"}, "INVALID_ARGUMENT"),
        ({"content": "x", "parent_id": "no id"}, "INVALID_ARGUMENT"),
    ],
)
async def test_what_cannot_be_a_message(ada: Person, arguments: dict[str, Any], code: str) -> None:
    room_id = await ada.room()
    async with await ada.connect() as socket:
        with pytest.raises(Refused) as refused:
            await socket.call("send_message", room_id=room_id, **arguments)
        assert refused.value.code == code
        # Half a character makes no JSON text: what it says, its id too, cannot be read.
        await socket.raw(f'{{"type":"send_message","id":"s","room_id":"{room_id}","content":"\\ud800"}}')
        assert (await socket.event("error", id=None))["error"]["code"] == "INVALID_FRAME"
        longest = await socket.send(room_id, f" {'ł' * 4000} ")
    assert [message["id"] for message in await ada.history(room_id)] == [longest["message_id"]]


async def test_a_socket_has_one_order(ada: Person, bob: Person) -> None:
    """Commands of one socket to one room are decided in the order in which they were sent."""
    room_id = await ada.room(bob)
    async with await ada.connect() as socket, await bob.connect() as other:
        await other.call("join_room", room_id=room_id)
        join_id = await socket.command("join_room", room_id=room_id)
        ids = [await socket.command("send_message", room_id=room_id, content=str(n)) for n in range(200)]
        late_ids = [await other.command("send_message", room_id=room_id, content=f"b{n}") for n in range(200)]
        seqs = [(await socket.answer(command_id))["seq"] for command_id in ids]
        for command_id in late_ids:
            await other.answer(command_id)
        assert seqs == sorted(seqs)
        # The other's first messages may overtake the join, but not what this socket sent after it.
        joined_at = (await socket.answer(join_id))["seq"]
        assert joined_at < seqs[0]
        mine, theirs = await socket.through(room_id, 400), await other.through(room_id, 400)
        assert mine == theirs[joined_at:]
        assert [event["seq"] for event in theirs] == list(range(1, 401))
        assert [e["content"] for e in mine if not e["content"].startswith("b")] == [str(n) for n in range(200)]


async def test_join_then_leave_ends_outside(ada: Person) -> None:
    room_id = await ada.room()
    async with await ada.connect() as socket, await ada.connect() as writer:
        await writer.send(room_id, "before")
        for last_seq in (None, 0):
            ids = [
                await socket.command("join_room", room_id=room_id, last_seq=last_seq),
                await socket.command("leave_room", room_id=room_id),
            ]
            for command_id in ids:
                await asyncio.gather(socket.answer(command_id), return_exceptions=True)
        seq = (await writer.send(room_id, "after"))["seq"]
        # The answer to this join comes behind whatever the room had sent to this socket.
        await socket.call("join_room", room_id=room_id)
        assert seq not in socket.seqs(room_id)


async def test_history_sees_what_the_socket_sent_before(ada: Person) -> None:
    room_id = await ada.room()
    async with await ada.connect() as socket:
        for number in range(1, 21):
            await socket.command("send_message", room_id=room_id, content=str(number))
            asked = await socket.command("get_history", room_id=room_id, limit=1)
            [newest] = (await socket.answer(asked))["messages"]
            assert newest["content"] == str(number)


async def test_too_fast_is_refused_with_the_time_to_wait(ada: Person) -> None:
    room_id = await ada.room()
    async with await ada.connect() as socket:
        ids = [await socket.command("send_message", room_id=room_id, content="x") for _ in range(MESSAGE_BURST + 20)]
        answers = await asyncio.gather(*(socket.answer(command_id, 30) for command_id in ids), return_exceptions=True)
        refused = [answer for answer in answers if isinstance(answer, Refused)]
        stored = [answer for answer in answers if isinstance(answer, dict)]
        # One a second comes back while the burst is sent.
        assert MESSAGE_BURST <= len(stored) <= MESSAGE_BURST + 15
        assert len(stored) + len(refused) == len(ids)
        for error in refused:
            assert error.code == "RATE_LIMITED"
            assert 0 < error.error["retry_after"] <= 1
        assert [answer["seq"] for answer in stored] == list(range(1, len(stored) + 1))


# -- joining ---------------------------------------------------------------------------------------------------


async def test_recovery_pages_through_more_than_500_events(ada: Person, bob: Person) -> None:
    room_id = await ada.room(bob)
    total = 1100
    for writer in (ada, bob):
        await fill(room_id, writer, 550)
    async with await ada.connect() as socket:
        sizes: list[int] = []
        seen: list[int] = []
        last_seq = 0
        while True:
            page = await socket.call("join_room", room_id=room_id, last_seq=last_seq)
            assert page["recovered"] is True
            assert page["seq"] == total
            sizes.append(len(page["events"]))
            seen.extend(event["seq"] for event in page["events"])
            last_seq = seen[-1]
            if not page["has_more"]:
                break
            # Not subscribed yet: what happens now belongs to a later page.
            assert socket.seqs(room_id) == []
        assert sizes == [500, 500, 100]
        assert seen == list(range(1, total + 1))


async def test_replay_turns_into_live_without_a_gap(ada: Person, bob: Person) -> None:
    """Readers join, each from another seq, while a writer writes as fast as it may."""
    room_id = await ada.room(bob)
    total = 500
    async with await ada.connect() as writer:
        sent = asyncio.Event()

        async def write() -> None:
            for number in range(total):
                await writer.send(room_id, str(number))
                if number == 50:
                    sent.set()

        async def read(last_seq: int) -> None:
            await sent.wait()
            async with await bob.connect() as reader:
                page = await reader.call("join_room", room_id=room_id, last_seq=last_seq)
                assert page["has_more"] is False
                await reader.through(room_id, total, seconds=60)
                seqs = [event["seq"] for event in page["events"]] + reader.seqs(room_id)
                assert seqs == list(range(last_seq + 1, total + 1))

        await asyncio.gather(write(), *(read(last_seq) for last_seq in range(0, 48, 4)))


async def test_without_last_seq_live_events_start_after_seq(ada: Person) -> None:
    room_id = await ada.room()
    async with await ada.connect() as socket:
        await socket.send(room_id, "1")
        page = await socket.call("join_room", room_id=room_id)
        assert (page["seq"], page["events"], page["recovered"]) == (1, [], False)
        await socket.send(room_id, "2")
        assert [event["seq"] for event in await socket.through(room_id, 2)] == [2]
        # Joined again at the end: nothing twice.
        await socket.call("join_room", room_id=room_id, last_seq=2)
        await socket.send(room_id, "3")
        assert [event["seq"] for event in await socket.through(room_id, 3)] == [2, 3]


async def test_joining_again_from_an_earlier_seq(ada: Person) -> None:
    room_id = await ada.room()
    async with await ada.connect() as socket:
        await socket.call("join_room", room_id=room_id)
        for number in range(3):
            await socket.send(room_id, str(number))
        page = await socket.call("join_room", room_id=room_id, last_seq=1)
        assert [event["seq"] for event in page["events"]] == [2, 3]
        await socket.send(room_id, "3")
        assert [event["seq"] for event in await socket.through(room_id, 4)] == [1, 2, 3, 4]


async def test_a_join_that_cannot_be_is_an_error(ada: Person, bob: Person, eve: Person) -> None:
    private, public = await ada.room(bob), await ada.room(kind="public", name="Open")
    async with await ada.connect() as socket, await eve.connect() as of_eve:
        await socket.send(private, "1")
        for last_seq in (2, 2**53, 2**63, 2**70):
            with pytest.raises(Refused) as ahead:
                await socket.call("join_room", room_id=private, last_seq=last_seq)
            assert ahead.value.code == "INVALID_ARGUMENT", last_seq
        for room_id, code in (
            (private, "ROOM_NOT_FOUND"),
            (public, "NOT_A_MEMBER"),
            (str(uuid.uuid4()), "ROOM_NOT_FOUND"),
        ):
            for kind, arguments in (
                ("join_room", {}),
                ("join_room", {"last_seq": 0}),
                ("send_message", {"content": "let me in"}),
                ("get_history", {}),
                ("get_members", {}),
                ("mark_read", {"seq": 0}),
                ("typing", {"is_typing": True}),
            ):
                with pytest.raises(Refused) as refused:
                    await of_eve.call(kind, room_id=room_id, **arguments)
                assert refused.value.code == code, kind
        await socket.send(private, "2")
        assert of_eve.seqs(private) == []


async def test_leave_stops_the_events_but_not_the_membership(ada: Person, bob: Person) -> None:
    room_id = await ada.room(bob)
    async with await ada.connect() as socket, await bob.connect() as other:
        await other.call("join_room", room_id=room_id)
        await socket.send(room_id, "1")
        await other.through(room_id, 1)
        assert await other.call("leave_room", room_id=room_id) == {}
        assert await other.call("leave_room", room_id=room_id) == {}
        await socket.send(room_id, "2")
        await other.send(room_id, "3")
        page = await other.call("join_room", room_id=room_id, last_seq=1)
        assert other.seqs(room_id) == [1]
        assert [event["seq"] for event in page["events"]] == [2, 3]


# -- reading ---------------------------------------------------------------------------------------------------


async def test_history_both_ways(ada: Person) -> None:
    room_id = await ada.room()
    async with await ada.connect() as socket:
        for number in range(1, 8):
            await socket.send(room_id, str(number))

        async def seqs(**arguments: Any) -> tuple[list[int], bool]:
            page = await socket.call("get_history", room_id=room_id, **arguments)
            return [message["seq"] for message in page["messages"]], page["has_more"]

        assert await seqs() == ([7, 6, 5, 4, 3, 2, 1], False)
        assert await seqs(limit=3) == ([7, 6, 5], True)
        assert await seqs(limit=3, before_seq=5) == ([4, 3, 2], True)
        assert await seqs(limit=3, before_seq=2) == ([1], False)
        assert await seqs(limit=3, before_seq=1) == ([], False)
        assert await seqs(limit=3, after_seq=2) == ([3, 4, 5], True)
        assert await seqs(limit=3, after_seq=4) == ([5, 6, 7], False)
        assert await seqs(limit=1, after_seq=2**53) == ([], False)
        for wrong in (
            {"limit": 0},
            {"limit": 101},
            {"limit": "3"},
            {"before_seq": 1, "after_seq": 1},
            {"before_seq": 2**70},
            {"after_seq": -(2**70)},
        ):
            with pytest.raises(Refused) as refused:
                await seqs(**wrong)
            assert refused.value.code == "INVALID_ARGUMENT", wrong
        assert await seqs(before_seq=2**63 - 1, limit=1) == ([7], True)
        [shown] = (await socket.call("get_history", room_id=room_id, limit=1))["messages"]
        assert "type" not in shown
        assert {"edited_at": None, "deleted_at": None, "reactions": [], "pinned": False}.items() <= shown.items()


async def test_rest_messages_and_changes_appear_on_sockets(ada: Person, bob: Person, eve: Person) -> None:
    room_id = await ada.room(bob)
    async with await bob.connect() as socket:
        await socket.call("join_room", room_id=room_id)
        stored = await ada.post(room_id, "by REST", client_msg_id="r-1")
        await ada.call("PUT", f"conversations/{room_id}", json={"name": "Renamed"})
        await ada.call("POST", f"conversations/{room_id}/members", json={"user_id": eve.id})
        await eve.call("POST", f"conversations/{room_id}/leave")
        message, renamed, came, went = await socket.through(room_id, 4)
        assert (message["type"], message["id"], message["client_msg_id"]) == ("message", stored["message_id"], "r-1")
        assert (renamed["type"], renamed["name"]) == ("room_updated", "Renamed")
        assert (came["type"], came["user"], came["sender"]["id"]) == (
            "member_joined",
            {"id": eve.id, "username": eve.username},
            ada.id,
        )
        assert (went["type"], went["user"]["id"], went["reason"]) == ("member_left", eve.id, "left")


async def test_members_with_role_presence_and_read_mark(ada: Person, bob: Person) -> None:
    room_id = await ada.room(bob)
    async with await ada.connect() as socket:
        await socket.send(room_id, "1")
        await socket.call("mark_read", room_id=room_id, seq=1)
        members = (await socket.call("get_members", room_id=room_id))["members"]
        assert members == [
            {
                "user": {"id": ada.id, "username": ada.username},
                "role": "owner",
                "presence": "online",
                "last_read_seq": 1,
            },
            {
                "user": {"id": bob.id, "username": bob.username},
                "role": "member",
                "presence": "offline",
                "last_read_seq": 0,
            },
        ]


async def test_a_slow_reader_is_closed_with_4008_and_harms_nobody(people: People) -> None:
    writers = [await people.register() for _ in range(2)]
    slow = await people.register()
    room_id = await writers[0].room(writers[1], slow)
    closed_before = await slow.system.metric('veza_sockets_closed_total{code="4008"}')
    async with await slow.connect() as socket, await writers[0].connect() as reader:
        await socket.call("join_room", room_id=room_id)
        await reader.call("join_room", room_id=room_id)
        last = await flood(writers, room_id, socket, reader, closed_before)
        events = await reader.through(room_id, last, seconds=30)
        assert [event["seq"] for event in events] == list(range(1, last + 1))
        socket.connection.transport.resume_reading()
        assert await socket.until_closed() == 4008
        got = socket.seqs(room_id)
        assert got == list(range(1, len(got) + 1)), "what it got until then has no gap"
    async with await slow.connect() as socket:
        page = await socket.call("join_room", room_id=room_id, last_seq=len(got))
        assert page["events"][0]["seq"] == len(got) + 1


async def flood(writers: list[Person], room_id: str, slow: Socket, reader: Socket, closed_before: float) -> int:
    """Write 16 KB messages until the slow socket has been closed; the last seq."""
    slow.connection.transport.pause_reading()
    last = 0
    for writer in writers:
        async with await writer.connect() as socket:
            for _ in range(MESSAGE_BURST // 10):
                ids = [await socket.command("send_message", room_id=room_id, content="🎸" * 4000) for _ in range(10)]
                last = max([int((await socket.answer(command_id))["seq"]) for command_id in ids])
                if await writer.system.metric('veza_sockets_closed_total{code="4008"}') > closed_before:
                    return last
    raise AssertionError("a socket that reads nothing was never closed")
