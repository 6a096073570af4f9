"""What sockets tell of people: typing, reading, presence; and how a person loses them."""

import asyncio

import pytest
from system.people import People, Person
from system.running import Running
from system.sockets import Refused, Socket
from system.waiting import within

# The protocol says 1 s; a busy machine gets another.
AT_ONCE_S = 2.0


async def joined(person: Person, room_id: str) -> Socket:
    socket = await person.connect()
    await socket.call("join_room", room_id=room_id)
    return socket


# -- transient events ------------------------------------------------------------------------------------------


async def test_typing_is_told_to_others_and_expires(ada: Person, bob: Person) -> None:
    room_id = await ada.room(bob)
    async with await joined(ada, room_id) as one, await joined(bob, room_id) as two:
        assert await one.call("typing", room_id=room_id, is_typing=True) == {}
        await two.event("typing", user_id=ada.id, is_typing=True, room_id=room_id)
        await one.call("typing", room_id=room_id, is_typing=False)
        stopped = await two.event("typing", user_id=ada.id, is_typing=False)
        assert "seq" not in stopped
        two.frames.clear()
        await one.call("typing", room_id=room_id, is_typing=True)
        await two.event("typing", user_id=ada.id, is_typing=True)
        # Nobody says anything any more: after 5 s it is over.
        started = asyncio.get_running_loop().time()
        await two.event("typing", user_id=ada.id, is_typing=False, seconds=15)
        assert asyncio.get_running_loop().time() - started > 3
        assert not [frame for frame in one.frames if frame["type"] == "typing"]


async def test_reading_is_told_and_counted(ada: Person, bob: Person) -> None:
    room_id = await ada.room(bob)
    async with await joined(ada, room_id) as one, await joined(bob, room_id) as two:
        for number in range(3):
            await one.send(room_id, str(number))
        assert (await bob.call("GET", f"conversations/{room_id}"))["unread_count"] == 3
        assert await two.call("mark_read", room_id=room_id, seq=2) == {}
        await one.event("read", room_id=room_id, user_id=bob.id, last_read_seq=2)
        assert (await bob.call("GET", f"conversations/{room_id}"))["unread_count"] == 1
        # A mark never goes back.
        await two.call("mark_read", room_id=room_id, seq=1)
        assert (await bob.call("GET", f"conversations/{room_id}"))["last_read_seq"] == 2
        for seq in (4, -1, 2**70):
            with pytest.raises(Refused) as refused:
                await two.call("mark_read", room_id=room_id, seq=seq)
            assert refused.value.code == "INVALID_ARGUMENT"


async def test_presence_goes_to_those_who_share_a_room(ada: Person, bob: Person, eve: Person) -> None:
    room_id = await ada.room(bob)
    await eve.room()
    async with await joined(ada, room_id) as one, await eve.connect() as stranger:
        async with await joined(bob, room_id) as two:
            await one.event("presence", room_id=room_id, user_id=bob.id, status="online")
            for status in ("busy", "away", "online"):
                one.frames.clear()
                assert await two.call("set_presence", status=status) == {}
                await one.event("presence", user_id=bob.id, status=status)
            one.frames.clear()
            await two.call("set_presence", status="invisible")
            await one.event("presence", user_id=bob.id, status="offline")
            members = (await one.call("get_members", room_id=room_id))["members"]
            assert {m["user"]["id"]: m["presence"] for m in members} == {ada.id: "online", bob.id: "offline"}
            one.frames.clear()
            await two.call("set_presence", status="online")
            await one.event("presence", user_id=bob.id, status="online")
            one.frames.clear()
        # The last socket went: gone, after a grace for reconnects.
        await one.event("presence", user_id=bob.id, status="offline", seconds=15)
        assert not [frame for frame in stranger.frames if frame["type"] == "presence"]


async def test_another_socket_keeps_a_person_online(ada: Person, bob: Person) -> None:
    room_id = await ada.room(bob)
    async with await joined(ada, room_id) as one, await joined(bob, room_id) as stays:
        await one.event("presence", user_id=bob.id, status="online")
        for _ in range(4):
            async with await bob.connect():
                pass
        await stays.call("set_presence", status="busy")
        await one.event("presence", user_id=bob.id, status="busy")
        told = [frame["status"] for frame in one.frames if frame["type"] == "presence" and frame["user_id"] == bob.id]
        assert told == ["online", "busy"]


# -- revocation ------------------------------------------------------------------------------------------------


async def closes_at_once(*sockets: Socket) -> None:
    for socket in sockets:
        assert await socket.until_closed(AT_ONCE_S) == 4003


async def still_open(*sockets: Socket) -> None:
    for socket in sockets:
        await socket.call("ping")


@pytest.mark.parametrize("path", ["auth/logout", "sessions/logout"])
async def test_logout_closes_the_sockets_of_that_session(ada: Person, path: str) -> None:
    other = await ada.login()
    # Several, so that both gateways have some.
    sockets = [await ada.connect() for _ in range(6)]
    async with await other.connect() as stays:
        await ada.call("POST", path)
        await closes_at_once(*sockets)
        await still_open(stays)
    for socket in sockets:
        await socket.close()


async def test_logout_of_another_session(ada: Person) -> None:
    other = await ada.login()
    async with await ada.connect() as stays, await other.connect() as socket:
        sessions = (await ada.call("GET", "sessions"))["sessions"]
        session_id = next(session["id"] for session in sessions if not session["current"])
        await ada.call("POST", "sessions/logout", json={"session_id": session_id})
        await closes_at_once(socket)
        await still_open(stays)


async def test_logout_all_closes_every_socket(ada: Person, bob: Person) -> None:
    other = await ada.login()
    sockets = [await person.connect() for person in (ada, other) * 3]
    async with await bob.connect() as stays:
        await ada.call("POST", "sessions/logout-all")
        await closes_at_once(*sockets)
        await still_open(stays)
    for socket in sockets:
        await socket.close()


async def test_a_changed_password_ends_the_other_sessions(ada: Person) -> None:
    other = await ada.login()
    async with await ada.connect() as stays, await other.connect() as socket:
        body = {"current_password": "SecureP@ssw0rd", "new_password": "An0ther-One!"}
        await ada.call("PUT", "users/me/password", json=body)
        await closes_at_once(socket)
        await still_open(stays)


async def test_a_ban_closes_every_socket(system: Running, people: People, ada: Person, bob: Person) -> None:
    admin = await people.administrator()
    token = await ada.chat_token()
    sockets = [await ada.connect() for _ in range(6)]
    async with await bob.connect() as stays:
        await admin.call("POST", f"admin/users/{ada.id}/ban")
        await closes_at_once(*sockets)
        await still_open(stays)
    for socket in sockets:
        await socket.close()
    async with await Socket.open(system) as late:
        with pytest.raises(Refused) as refused:
            await late.call("authenticate", token=token)
        assert refused.value.code in ("BANNED", "UNAUTHENTICATED")


async def test_removal_from_a_room_ends_its_events(ada: Person, bob: Person) -> None:
    room_id = await ada.room(bob)
    sockets = [await joined(bob, room_id) for _ in range(4)]
    async with await joined(ada, room_id) as owner:
        await ada.call("DELETE", f"conversations/{room_id}/members/{bob.id}")
        for socket in sockets:
            await socket.event("member_left", seconds=AT_ONCE_S)
        await owner.send(room_id, "he is gone")
        for socket in sockets:
            for kind, arguments in (("send_message", {"content": "x"}), ("join_room", {}), ("get_history", {})):
                with pytest.raises(Refused) as refused:
                    await socket.call(kind, room_id=room_id, **arguments)
                assert refused.value.code == "ROOM_NOT_FOUND"
            # The refusal came behind everything the room sent here.
            assert socket.seqs(room_id) == [1]
            await socket.close()
        await owner.through(room_id, 2)


async def test_nothing_comes_after_ones_own_removal(ada: Person, bob: Person) -> None:
    """Also when it is decided in one batch with messages."""
    room_id = await ada.room(bob)
    path = f"conversations/{room_id}/members"
    async with await joined(ada, room_id) as writer, await joined(bob, room_id) as socket:
        for _ in range(5):
            await socket.call("join_room", room_id=room_id)
            before, removal, after = await asyncio.gather(
                burst(writer, room_id), ada.call("DELETE", f"{path}/{bob.id}"), burst(writer, room_id)
            )
            await writer.through(room_id, max(removal["seq"], *before, *after))
            with pytest.raises(Refused):
                await socket.call("join_room", room_id=room_id)
            assert socket.seqs(room_id)[-1] == removal["seq"]
            await ada.call("POST", path, json={"user_id": bob.id})


async def burst(socket: Socket, room_id: str) -> list[int]:
    """The seqs of messages sent at once."""
    ids = [await socket.command("send_message", room_id=room_id, content="x") for _ in range(40)]
    return [(await socket.answer(command_id))["seq"] for command_id in ids]


async def test_removal_while_pages_are_read(ada: Person, bob: Person) -> None:
    """Whoever is removed between two pages gets no third."""
    room_id = await ada.room(bob)
    async with await ada.connect() as owner, await bob.connect() as socket:
        ids = [await owner.command("send_message", room_id=room_id, content="x") for _ in range(510)]
        await owner.answer(ids[-1])
        page = await socket.call("join_room", room_id=room_id, last_seq=0)
        assert page["has_more"] is True
        await ada.call("DELETE", f"conversations/{room_id}/members/{bob.id}")
        with pytest.raises(Refused) as refused:
            await socket.call("join_room", room_id=room_id, last_seq=page["events"][-1]["seq"])
        assert refused.value.code == "ROOM_NOT_FOUND"


async def test_a_deleted_room_is_gone_for_everyone(ada: Person, bob: Person) -> None:
    room_id = await ada.room(bob)
    async with await joined(ada, room_id) as one, await joined(bob, room_id) as two:
        await ada.call("DELETE", f"conversations/{room_id}")
        for socket in (one, two):
            await socket.event("room_deleted", room_id=room_id, seconds=AT_ONCE_S)
            for kind, arguments in (("send_message", {"content": "x"}), ("join_room", {}), ("get_members", {})):
                with pytest.raises(Refused) as refused:
                    await socket.call(kind, room_id=room_id, **arguments)
                assert refused.value.code == "ROOM_NOT_FOUND"


async def test_commands_in_flight_at_a_logout_are_answered_or_the_socket_closes(ada: Person) -> None:
    """No command is both lost and unanswered: what was acknowledged is stored, and nothing came after the close."""
    room_id = await ada.room()
    other = await ada.login()
    async with await ada.connect() as socket:
        ids = [await socket.command("send_message", room_id=room_id, content=str(n)) for n in range(300)]
        async with within(10, "the logout"):
            await ada.call("POST", "sessions/logout")
        await closes_at_once(socket)
        acknowledged = {frame["data"]["seq"] for frame in socket.frames if frame.get("id") in ids}
    stored = {message["seq"] for message in await other.history(room_id)}
    assert acknowledged <= stored
