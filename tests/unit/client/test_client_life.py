"""How connections and rooms begin, come back and end."""

import asyncio
from collections.abc import Callable

import pytest
from chat_peer import USER, Command, Peer, seqs, take, tell
from websockets.asyncio.server import ServerConnection

from veza.client import (
    Chat,
    ChatClosed,
    Connected,
    ConnectionLost,
    Disconnected,
    InvalidArgument,
    MemberLeft,
    NotFound,
    Notification,
    OtherEvent,
    OtherRoomEvent,
    PermissionDenied,
    ProtocolError,
    RoomDeleted,
    SessionEnded,
    Typing,
    Unauthenticated,
)

ROOM = "22222222-2222-4222-8222-222222222222"
MakeChat = Callable[..., Chat]


async def test_4003_ends_everything_for_good(peer: Peer, chat_with: MakeChat) -> None:
    async with chat_with() as chat:
        room = await chat.join(ROOM)
        watched = chat.events()
        await peer.say(ROOM, "last words")
        await peer.until(lambda: bool(peer.subscribed[ROOM]))
        await peer.close_all(4003, "session revoked")
        assert [event.content for event in await take(room, 1)] == ["last words"]
        with pytest.raises(SessionEnded) as ended:
            await anext(room)
        assert (ended.value.status, str(ended.value)) == (4003, "session revoked")
        with pytest.raises(SessionEnded):
            await room.send("hi")
        with pytest.raises(SessionEnded):
            await anext(watched)
        with pytest.raises(SessionEnded):
            await chat.join("another")
    assert peer.connections == 1


@pytest.mark.parametrize("code", [1001, 1011, 4001, 4008])
async def test_other_close_codes_are_resumed(peer: Peer, chat_with: MakeChat, code: int) -> None:
    async with chat_with() as chat:
        room = await chat.join(ROOM)
        await peer.close_all(code)
        peer.append(ROOM, "meanwhile")
        assert [event.content for event in await take(room, 1)] == ["meanwhile"]


async def test_reconnect_is_obeyed_and_what_was_asked_is_still_answered(peer: Peer, chat_with: MakeChat) -> None:
    async with chat_with() as chat:
        room = await chat.join(ROOM)
        watched = chat.events()
        await peer.tell_all({"type": "reconnect", "after_ms": 1000})
        assert (await room.send("on the old connection")).seq == 1
        assert peer.connections == 1
        gone, back = [await anext(watched), await anext(watched)]
        assert isinstance(gone, Disconnected)
        assert isinstance(back, Connected)
        assert (await room.send("on the new one")).seq == 2
        assert seqs(await take(room, 2)) == [1, 2]
        assert peer.connections == 2


async def test_reconnect_then_close_waits_as_told(peer: Peer, chat_with: MakeChat) -> None:
    async with chat_with() as chat:
        watched = chat.events()
        await peer.tell_all({"type": "reconnect", "after_ms": 60_000})
        await peer.close_all(1001)
        gone = await anext(watched)
        assert isinstance(gone, Disconnected)
        assert 30 < gone.retry_in <= 60


async def test_transient_events_and_unknown_ones(peer: Peer, chat_with: MakeChat) -> None:
    async with chat_with() as chat:
        room = await chat.join(ROOM)
        watched = chat.events()
        await peer.tell_all({"type": "typing", "room_id": ROOM, "user_id": "u", "is_typing": True})
        await peer.tell_all({"type": "notification", "id": "n", "kind": "like", "data": {"count": 1}})
        await peer.tell_all({"type": "viewer_count", "stream_id": "s", "count": 3})
        got = [await anext(watched) for _ in range(3)]
        assert [type(event) for event in got] == [Typing, Notification, OtherEvent]
        await peer.broadcast(ROOM, peer.record(ROOM, "confetti", amount=9))
        await peer.broadcast(ROOM, peer.record(ROOM, "message", content="no time", created_at="whenever"))
        strange, malformed = await take(room, 2)
        assert isinstance(strange, OtherRoomEvent)
        assert strange.data["amount"] == 9
        assert isinstance(malformed, OtherRoomEvent)
        assert malformed.seq == 2


async def test_a_room_ends_when_deleted_left_or_closed(peer: Peer, chat_with: MakeChat) -> None:
    async with chat_with() as chat:
        deleted = await chat.join("deleted")
        removed = await chat.join("removed")
        left = await chat.join("left")
        closed = await chat.join("closed")
        await peer.broadcast("deleted", peer.record("deleted", "room_deleted"))
        assert [type(event) async for event in deleted] == [RoomDeleted]
        await peer.broadcast("removed", peer.record("removed", "member_left", user=USER, reason="removed"))
        assert [type(event) async for event in removed] == [MemberLeft]
        await left.leave()
        assert [event async for event in left] == []
        assert not peer.subscribed["left"]
        again = await chat.join("left")
        assert again is not left
    assert [event async for event in closed] == []
    with pytest.raises(ChatClosed):
        await closed.send("too late")


async def test_a_room_that_cannot_be_joined_says_why(peer: Peer, chat_with: MakeChat) -> None:
    codes = iter(["ROOM_NOT_FOUND", "NOT_A_MEMBER", "UNAVAILABLE"])

    async def refuse(socket: ServerConnection, command: Command) -> bool:
        code = next(codes, None)
        if command["type"] != "join_room" or code is None:
            return False
        await tell(socket, {"type": "error", "id": command["id"], "error": {"code": code, "message": code}})
        return True

    peer.on_command = refuse
    async with chat_with() as chat:
        with pytest.raises(NotFound):
            await chat.join(ROOM)
        with pytest.raises(PermissionDenied) as refused:
            await chat.join(ROOM)
        assert refused.value.code == "not_a_member"
        room = await chat.join(ROOM)  # the third refusal was only for now
        assert await chat.join(ROOM) is room
        with pytest.raises(ValueError, match="open already"):
            await chat.join(ROOM, last_seq=0)
        with pytest.raises(InvalidArgument):
            await chat.join("ahead", last_seq=99)


async def test_a_room_lost_while_away_raises_at_its_consumer(peer: Peer, chat_with: MakeChat) -> None:
    async with chat_with() as chat:
        room = await chat.join(ROOM)

        async def gone(socket: ServerConnection, command: Command) -> bool:
            error = {"code": "ROOM_NOT_FOUND", "message": "no such room"}
            await tell(socket, {"type": "error", "id": command["id"], "error": error})
            return True

        peer.on_command = gone
        peer.cut()
        with pytest.raises(NotFound):
            await take(room, 1)


async def test_presence_is_told_again_after_a_reconnect(peer: Peer, chat_with: MakeChat) -> None:
    def told() -> list[str]:
        return [command["status"] for command in peer.commands if command["type"] == "set_presence"]

    async with chat_with() as chat:
        await chat.set_presence("busy")
        peer.cut()
        await peer.until(lambda: told() == ["busy", "busy"])


async def test_leaving_the_block_leaves_no_task_behind(peer: Peer, chat_with: MakeChat) -> None:
    before = asyncio.all_tasks()

    async def silent(socket: ServerConnection, command: Command) -> bool:
        return command["type"] == "send_message"

    peer.on_command = silent
    async with chat_with() as chat:
        room = await chat.join(ROOM)
        sends = [asyncio.create_task(room.send("x")) for _ in range(3)]
        reading = asyncio.create_task(anext(room))
        await peer.until(lambda: [one["type"] for one in peer.commands].count("send_message") == 3)
    for task in sends:
        with pytest.raises(ChatClosed):
            await task
    with pytest.raises(StopAsyncIteration):
        await reading
    await peer.until(lambda: not peer.sockets)
    left = {task for task in asyncio.all_tasks() - before if task.get_name().startswith("veza")}
    assert not left


async def test_the_first_connection_is_tried_again_then_reported(peer: Peer, chat_with: MakeChat) -> None:
    peer.refusals = [503, 502, 429, 500]
    async with chat_with() as chat:
        assert chat.connected
    peer.refusals = [401]
    with pytest.raises(Unauthenticated):
        async with chat_with():
            pass
    async with Peer() as gone:
        dead_url = gone.url

    async def token() -> str:
        return "token"

    with pytest.raises(ConnectionLost):
        async with Chat(dead_url, token, patience=0.2):
            pass


async def test_a_peer_that_speaks_otherwise_is_refused(peer: Peer, chat_with: MakeChat) -> None:
    async with chat_with() as chat:
        room = await chat.join(ROOM)
        await peer.tell_all({"no": "type"})
        with pytest.raises(ProtocolError):
            await take(room, 1)


async def test_what_comes_in_place_of_a_welcome(peer: Peer, chat_with: MakeChat) -> None:
    later = {"type": "error", "id": None, "error": {"code": "UNAVAILABLE", "message": "starting"}}
    peer.openings = [4001, 1001, later]
    async with chat_with() as chat:
        assert chat.connected
    assert peer.connections == 4
    for opening, expected in (
        ({"type": "error", "id": None, "error": {"code": "BANNED", "message": "banned"}}, PermissionDenied),
        ({"type": "hello"}, ProtocolError),
        ({"type": "welcome"}, ProtocolError),
        (4003, SessionEnded),
    ):
        peer.openings = [opening]
        with pytest.raises(expected):
            async with chat_with():
                pass


async def test_replies_of_another_shape_are_told(peer: Peer, chat_with: MakeChat) -> None:
    async def nonsense(socket: ServerConnection, command: Command) -> bool:
        await tell(socket, {"type": "reply", "id": "no such command", "data": {}})
        await tell(socket, {"type": "reply", "id": command["id"], "data": {"seq": "x"}})
        return True

    async with chat_with() as chat:
        room = await chat.join(ROOM)
        peer.on_command = nonsense
        with pytest.raises(ProtocolError):
            await room.send("hi")
        with pytest.raises(ProtocolError):
            await chat.join("another")
        assert chat.connected


async def test_a_cancelled_join_leaves_no_room_behind(peer: Peer, chat_with: MakeChat) -> None:
    async def silent(socket: ServerConnection, command: Command) -> bool:
        return command["type"] == "join_room"

    async with chat_with(patience=5) as chat:
        peer.on_command = silent
        joining = asyncio.create_task(chat.join(ROOM))
        await peer.until(lambda: [one["type"] for one in peer.commands] == ["join_room"])
        joining.cancel()
        await asyncio.wait([joining])
        assert joining.cancelled()
        peer.on_command = None
        room = await chat.join(ROOM, last_seq=0)
        await peer.say(ROOM, "hi")
        assert seqs(await take(room, 1)) == [1]
