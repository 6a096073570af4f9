"""What one client may cost the others: floods, slow readers, and what a stop leaves unanswered."""

import asyncio
import json
from contextlib import suppress
from typing import Any

import pytest
from system.people import People, Person
from system.running import Running
from system.sockets import Frame, Refused, Socket
from system.waiting import until, within
from websockets.exceptions import ConnectionClosed

# Commands of a socket.
UNDER_WAY = 50
AT_ONCE = 10
ROOM = "00000000-0000-4000-8000-000000000000"
FLOODS = {
    "pings": {"type": "ping"},
    "unknown commands": {"type": "dance", "id": "1"},
    "wrong arguments": {"type": "typing", "room_id": 5},
    "messages": {"type": "send_message", "room_id": ROOM, "content": "x"},
}


async def flooded(socket: Socket, frame: dict[str, Any] | None, count: int = 3000) -> int | None:
    """Send one frame again and again, or WebSocket pings when it is None; the code that closed the socket."""
    with suppress(ConnectionClosed):
        for _ in range(count):
            if frame is None:
                await socket.connection.ping()
            else:
                await socket.raw(json.dumps(frame))
    return await socket.until_closed(20)


@pytest.mark.parametrize("frame", [*FLOODS.values(), None], ids=[*FLOODS, "WebSocket pings"])
async def test_whoever_goes_on_after_100_refusals_is_closed(ada: Person, bob: Person, frame: Any) -> None:
    async with await ada.connect() as socket, await bob.connect() as other:
        flood = asyncio.create_task(flooded(socket, frame))
        async with within(20, "the others' pings to be answered"):
            while not flood.done():
                await asyncio.wait_for(other.call("ping"), 2)
                await asyncio.sleep(0.05)
        assert await flood == 4029


async def test_a_flood_before_authentication_is_closed(system: Running) -> None:
    async with await Socket.open(system) as socket:
        assert await flooded(socket, {"type": "typing", "room_id": ROOM, "is_typing": True}) == 4029


async def test_a_socket_belongs_to_one_person(system: Running, people: People, ada: Person) -> None:
    """Of two `authenticate` in one breath one is refused, and nobody stays online for ever."""
    pairs = [(await people.register(), await people.register()) for _ in range(6)]
    room_id = await ada.room(*(person for pair in pairs for person in pair))
    for pair in pairs:
        tokens = [await person.chat_token() for person in pair]
        async with await Socket.open(system) as socket:
            ids = [await socket.command("authenticate", token=token) for token in tokens]
            answers = await asyncio.gather(*(socket.answer(one) for one in ids), return_exceptions=True)
            assert [answer.code for answer in answers if isinstance(answer, Refused)] == ["INVALID_ARGUMENT"]
            assert len([frame for frame in socket.frames if frame["type"] == "welcome"]) == 1
    async with await ada.connect() as socket:

        async def nobody_else() -> bool:
            members = (await socket.call("get_members", room_id=room_id))["members"]
            return [m["user"]["id"] for m in members if m["presence"] == "online"] == [ada.id]

        await until(nobody_else, "all the others to be offline")


async def test_a_page_is_no_larger_than_a_client_can_take(ada: Person) -> None:
    room_id = await ada.room()
    total = 60
    async with await ada.connect() as socket:
        await fill(socket, room_id, total)
        seen: list[int] = []
        while len(seen) < total:
            page = await socket.call("join_room", room_id=room_id, last_seq=len(seen))
            assert len(json.dumps(page, ensure_ascii=False).encode()) < 300 * 1024
            seen.extend(event["seq"] for event in page["events"])
            assert page["has_more"] is (len(seen) < total)
        assert seen == list(range(1, total + 1))
        # From the last page on it is live.
        await socket.send(room_id, "and one")
        await socket.through(room_id, total + 1)


async def test_an_honest_reader_may_come_back_to_many_rooms_at_once(ada: Person, bob: Person) -> None:
    """10 MB are asked for in one breath and read later: far more than the backlog that closes a socket."""
    room_ids = [await ada.room(bob) for _ in range(40)]
    async with await bob.connect() as writer:
        for room_id in room_ids:
            await fill(writer, room_id, 14)
    async with await ada.connect() as socket:
        socket.connection.transport.pause_reading()
        ids = [await socket.command("join_room", room_id=room_id, last_seq=0) for room_id in room_ids]
        # By the time another socket on each gateway has had its answers, the pages have been read.
        for _ in range(6):
            async with await bob.connect() as other:
                for room_id in room_ids:
                    await other.call("get_history", room_id=room_id)
        socket.connection.transport.resume_reading()
        for command_id in ids:
            assert len((await socket.answer(command_id, 30))["events"]) == 14


async def fill(socket: Socket, room_id: str, count: int) -> None:
    """Write so many messages of 16 KB."""
    for begun in range(0, count, AT_ONCE):
        part = range(min(AT_ONCE, count - begun))
        ids = [await socket.command("send_message", room_id=room_id, content="🎸" * 4000) for _ in part]
        for command_id in ids:
            await socket.answer(command_id)


async def test_a_stop_answers_what_it_stores() -> None:
    async with Running({"CHAT_MESSAGE_BURST": "100000"}) as system:
        people = People(system)
        writers = [await people.register() for _ in range(4)]
        rooms = [await writer.room() for writer in writers]
        sockets = [await writer.connect() for writer in writers]
        writing = [asyncio.create_task(write(*pair)) for pair in zip(sockets, rooms, strict=True)]
        for socket in sockets:
            await socket.wait(lambda frame: frame["type"] == "reply", "the first reply")
        await system.stop()
        await asyncio.gather(*writing)
        assert [await socket.until_closed() for socket in sockets] == [1001] * len(sockets)
        assert any(replies(socket.frames[index_of_goodbye(socket) :]) for socket in sockets), "nothing was under way"
        answered = [replies(socket.frames) for socket in sockets]
        await system.start()
        for writer, room_id, known in zip(writers, rooms, answered, strict=True):
            assert {message["seq"] for message in await writer.history(room_id)} == known
        for socket in sockets:
            await socket.close()


def replies(frames: list[Frame]) -> set[int]:
    """The seqs of the messages that were stored."""
    return {frame["data"]["seq"] for frame in frames if frame["type"] == "reply"}


def index_of_goodbye(socket: Socket) -> int:
    return next(index for index, frame in enumerate(socket.frames) if frame["type"] == "reconnect")


async def write(socket: Socket, room_id: str) -> None:
    """Until the socket is closed, with many commands under way, yet no more than a busy machine answers in time."""
    sent = answered = seen = 0
    with suppress(ConnectionClosed):
        while socket.connection.close_code is None:
            answered += sum(frame["type"] in ("reply", "error") for frame in socket.frames[seen:])
            seen = len(socket.frames)
            while sent - answered < UNDER_WAY:
                await socket.command("send_message", room_id=room_id, content="x")
                sent += 1
            await asyncio.sleep(0.001)


async def test_a_page_of_history_ends_before_it_is_too_large_for_a_client(ada: Person) -> None:
    room_id = await ada.room()
    async with await ada.connect() as socket:
        for number in range(40):
            await socket.send(room_id, f"{number:02}" + "€" * 3998)
        seen: list[str] = []
        before: dict[str, int] = {}
        while True:
            page = await socket.call("get_history", room_id=room_id, limit=100, **before)
            assert 0 < len(page["messages"]) < 40
            seen += [message["content"][:2] for message in page["messages"]]
            if not page["has_more"]:
                break
            before = {"before_seq": page["messages"][-1]["seq"]}
    assert seen == [f"{number:02}" for number in reversed(range(40))]
