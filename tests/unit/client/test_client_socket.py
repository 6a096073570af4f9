"""Sending and receiving against a peer that cuts, repeats, reorders and refuses."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from chat_peer import USER, Command, Peer, seqs, take, tell
from websockets.asyncio.server import ServerConnection

from veza.client import (
    Chat,
    CommandTimeout,
    InvalidArgument,
    Message,
    OtherEvent,
    ProtocolError,
    RateLimited,
)

ROOM = "22222222-2222-4222-8222-222222222222"
MakeChat = Callable[..., Chat]


async def test_a_message_goes_round(peer: Peer, chat_with: MakeChat) -> None:
    async with chat_with() as chat:
        assert chat.connected
        assert chat.user_id == USER["id"]
        room = await chat.join(ROOM)
        stored = await room.send("hi", client_msg_id="mine")
        assert (stored.seq, stored.duplicate) == (1, False)
        (event,) = await take(room, 1)
        assert isinstance(event, Message)
        assert (event.content, event.id, event.client_msg_id) == ("hi", stored.message_id, "mine")
        assert room.last_seq == 1
        assert [one.content for one in (await room.history(10)).messages] == ["hi"]
        assert [one.user.username for one in (await room.members()).members] == ["ada"]
        await room.typing(True)
        await room.mark_read(1)
        assert await chat.ping() < 10


async def test_each_connection_has_a_token_of_its_own(peer: Peer, chat_with: MakeChat) -> None:
    async with chat_with():
        peer.cut()
        await peer.until(lambda: peer.connections == 2)
    assert peer.tokens == ["token-1", "token-2"]


@pytest.mark.parametrize("stored_first", [True, False])
async def test_a_send_survives_a_cut_before_the_reply(peer: Peer, chat_with: MakeChat, stored_first: bool) -> None:
    async def cut_once(socket: ServerConnection, command: Command) -> bool:
        if command["type"] != "send_message":
            return False
        peer.on_command = None
        if stored_first:
            peer.store(ROOM, command["content"], command["client_msg_id"])
        socket.transport.abort()
        return True

    peer.on_command = cut_once
    async with chat_with() as chat:
        room = await chat.join(ROOM)
        stored = await room.send("once")
        assert (stored.seq, stored.duplicate) == (1, stored_first)
        assert [event.content for event in await take(room, 1)] == ["once"]
    sent = [command for command in peer.commands if command["type"] == "send_message"]
    assert len(sent) == 2
    assert len({command["client_msg_id"] for command in sent}) == 1
    assert len(peer.logs[ROOM]) == 1


async def test_sends_in_flight_over_many_cuts_are_stored_once_each(peer: Peer, chat_with: MakeChat) -> None:
    seen = 0

    async def cut_often(socket: ServerConnection, command: Command) -> bool:
        nonlocal seen
        seen += 1
        if seen % 7 == 0:
            if command["type"] == "send_message":
                peer.store(ROOM, command["content"], command["client_msg_id"])
            socket.transport.abort()
            return True
        return False

    peer.on_command = cut_often
    async with chat_with() as chat:
        room = await chat.join(ROOM)
        results = await asyncio.gather(*(room.send(f"m{n}") for n in range(40)))
        events = await take(room, 40)
    assert seqs(events) == list(range(1, 41))
    assert sorted(one.seq for one in results) == list(range(1, 41))
    assert {event.content for event in events} == {f"m{n}" for n in range(40)}


async def test_a_send_waits_where_the_server_asks_to_and_raises_a_definite_refusal(
    peer: Peer, chat_with: MakeChat
) -> None:
    answers: list[dict[str, Any]] = [
        {"code": "UNAVAILABLE", "message": "later", "retry_after": 0.01},
        {"code": "RATE_LIMITED", "message": "slow down", "retry_after": 7},
    ]

    async def refuse(socket: ServerConnection, command: Command) -> bool:
        if command["type"] != "send_message" or not answers:
            return False
        await tell(socket, {"type": "error", "id": command["id"], "error": answers.pop(0)})
        return True

    peer.on_command = refuse
    async with chat_with() as chat:
        room = await chat.join(ROOM)
        with pytest.raises(RateLimited) as refused:
            await room.send("hi")
        assert refused.value.retry_after == 7
        assert (await room.send("hi")).seq == 1


async def test_a_send_that_nobody_answers_ends_at_its_timeout(peer: Peer, chat_with: MakeChat) -> None:
    async def silent(socket: ServerConnection, command: Command) -> bool:
        return command["type"] == "send_message"

    peer.on_command = silent
    async with chat_with(command_timeout=0.05) as chat:
        room = await chat.join(ROOM)
        with pytest.raises(CommandTimeout):
            await room.send("hi", timeout=0.12)
    tries = [command for command in peer.commands if command["type"] == "send_message"]
    assert len(tries) >= 2
    assert len({command["client_msg_id"] for command in tries}) == 1


async def test_a_frame_the_server_would_not_take_is_never_sent(peer: Peer, chat_with: MakeChat) -> None:
    async with chat_with() as chat:
        room = await chat.join(ROOM)
        with pytest.raises(InvalidArgument):
            await room.send("x" * 70_000)
        assert chat.connected


async def test_events_are_gapless_over_reconnects(peer: Peer, chat_with: MakeChat) -> None:
    async with chat_with() as chat:
        room = await chat.join(ROOM, last_seq=0)
        events: list[Any] = []
        for turn in range(5):
            await peer.say(ROOM, f"live {turn}")
            events += await take(room, 1)
            peer.cut()
            peer.append(ROOM, f"missed {turn}")
            events += await take(room, 1)
        assert seqs(events) == list(range(1, 11))
        assert peer.connections == 6


async def test_recovery_takes_as_many_pages_as_there_are(peer: Peer, chat_with: MakeChat) -> None:
    peer.page_size = 7
    for n in range(50):
        peer.append(ROOM, f"m{n}")
    async with chat_with() as chat:
        room = await chat.join(ROOM, last_seq=3)
        assert seqs(await take(room, 47)) == list(range(4, 51))
        await peer.until(lambda: bool(peer.subscribed[ROOM]))
        await peer.say(ROOM, "live")
        assert seqs(await take(room, 1)) == [51]
    asked = [command["last_seq"] for command in peer.commands if command["type"] == "join_room"]
    assert asked == [3, 10, 17, 24, 31, 38, 45]


async def test_shuffled_and_repeated_events_come_once_in_order(peer: Peer, chat_with: MakeChat) -> None:
    def shuffle(page: dict[str, Any]) -> None:
        page["events"] = page["events"][::-1] + page["events"][:2]

    peer.shape_page = shuffle
    peer.page_size = 4
    for n in range(10):
        peer.append(ROOM, f"m{n}")
    async with chat_with() as chat:
        room = await chat.join(ROOM, last_seq=0)
        assert seqs(await take(room, 10)) == list(range(1, 11))
        await peer.until(lambda: bool(peer.subscribed[ROOM]))
        late = [peer.append(ROOM, f"late {n}") for n in range(4)]
        for index in (0, 2, 0, 3, 1, 1):
            await peer.broadcast(ROOM, late[index])
        assert seqs(await take(room, 4)) == [11, 12, 13, 14]


async def test_a_lost_live_event_is_fetched_from_the_log(peer: Peer, chat_with: MakeChat) -> None:
    async with chat_with() as chat:
        room = await chat.join(ROOM)
        await peer.say(ROOM, "one")
        peer.append(ROOM, "nobody was told")
        await peer.say(ROOM, "three")
        assert [event.content for event in await take(room, 3)] == ["one", "nobody was told", "three"]


async def test_live_events_right_behind_the_page_need_no_second_join(peer: Peer, chat_with: MakeChat) -> None:
    async def join_then_flood(socket: ServerConnection, command: Command) -> bool:
        if command["type"] != "join_room":
            return False
        await peer.answer(socket, command)
        for n in range(30):
            await peer.say(ROOM, f"m{n}")
        return True

    peer.on_command = join_then_flood
    async with chat_with() as chat:
        room = await chat.join(ROOM)
        assert seqs(await take(room, 30)) == list(range(1, 31))
    assert [command["type"] for command in peer.commands].count("join_room") == 1


async def test_a_page_that_never_delivers_ends_the_room(peer: Peer, chat_with: MakeChat) -> None:
    def promise(page: dict[str, Any]) -> None:
        page["events"], page["has_more"] = [], True

    peer.append(ROOM, "m")
    peer.shape_page = promise
    async with chat_with() as chat:
        room = await chat.join(ROOM, last_seq=0)
        with pytest.raises(ProtocolError):
            await take(room, 1)


async def test_a_slow_consumer_costs_bounded_memory_and_misses_nothing(peer: Peer, chat_with: MakeChat) -> None:
    peer.page_size = 10
    total = 3000
    async with chat_with(buffer=40) as chat:
        room = await chat.join(ROOM)
        other = await chat.join("another")
        flood = asyncio.create_task(flood_room(peer, total))
        highest = 0
        events = []
        for n in range(total):
            events += await take(room, 1)
            highest = max(highest, room.backlog)
            if n % 500 == 0:
                # Its own replies come through although its buffer is full.
                await other.send(f"at {n}", timeout=10)
        await flood
        assert seqs(events) == list(range(1, total + 1))
        assert highest <= 40
        assert seqs(await take(other, 6)) == [1, 2, 3, 4, 5, 6]


async def test_reading_pauses_while_a_consumer_is_behind(peer: Peer, chat_with: MakeChat) -> None:
    async with chat_with(buffer=10, longest_pause=60.0) as chat:
        room = await chat.join(ROOM)
        for n in range(30):
            await peer.say(ROOM, f"m{n}")
        assert seqs(await take(room, 30)) == list(range(1, 31))
    # Never joined again: nothing was dropped, the socket held the rest.
    assert [command["type"] for command in peer.commands].count("join_room") == 1


async def test_a_consumer_that_never_comes_blocks_nobody(peer: Peer, chat_with: MakeChat) -> None:
    async with chat_with(buffer=10, longest_pause=0.05) as chat:
        ignored = await chat.join(ROOM)
        room = await chat.join("another")
        for n in range(50):
            await peer.say(ROOM, f"m{n}")
        await peer.say("another", "hello")
        assert [event.content for event in await take(room, 1)] == ["hello"]
        assert ignored.backlog == 10
        assert seqs(await take(ignored, 50)) == list(range(1, 51))


async def test_events_nobody_reads_are_dropped_oldest_first(peer: Peer, chat_with: MakeChat) -> None:
    async with chat_with() as chat:
        watched = chat.events(limit=3)
        for count in range(10):
            await peer.tell_all({"type": "viewer_count", "stream_id": "s", "count": count})
        await chat.ping()
        kept = [await anext(watched) for _ in range(3)]
        assert [event.data["count"] for event in kept if isinstance(event, OtherEvent)] == [7, 8, 9]
        assert watched.dropped == 7


async def test_a_cancelled_wait_loses_no_event(peer: Peer, chat_with: MakeChat) -> None:
    async with chat_with() as chat:
        room = await chat.join(ROOM)
        waiting = asyncio.create_task(anext(room))
        await chat.ping()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        sending = asyncio.create_task(room.send("cancelled or not"))
        await peer.until(lambda: bool(peer.logs[ROOM]))
        sending.cancel()
        await asyncio.wait([sending])
        await chat.ping()
        assert seqs(await take(room, 1)) == [1]


async def test_a_command_in_the_very_moment_of_a_cut_waits_for_the_next_connection(
    peer: Peer, chat_with: MakeChat
) -> None:
    async with chat_with() as chat:
        room = await chat.join(ROOM)
        cuts = 10
        done = False

        async def mark(pace: int) -> None:
            while not done:
                # Awake in every turn of the loop, so in the one in which the connection is lost.
                for _ in range(pace):
                    await asyncio.sleep(0)
                await room.mark_read(1)

        marking = [asyncio.create_task(mark(pace)) for pace in range(1, 11)]
        for count in range(2, 2 + cuts):
            peer.cut()
            await peer.until(lambda count=count: peer.connections == count)
            await chat.ping()
        done = True
        await asyncio.gather(*marking)


async def flood_room(peer: Peer, total: int) -> None:
    for n in range(total):
        await peer.say(ROOM, f"m{n}")
