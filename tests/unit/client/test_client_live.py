"""Live streams with the Python SDK, against a peer that cuts, forgets and refuses."""

import asyncio
from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from chat_peer import Command, Peer, tell
from peer_streams import MOMENT, STREAM, USER, shown
from rest_peer import RestPeer, ok
from websockets.asyncio.server import ServerConnection

from veza.client import (
    Banned,
    Chat,
    Client,
    CommandTimeout,
    Connected,
    NotFound,
    OtherEvent,
    OtherStreamEvent,
    ProtocolError,
    RateLimited,
    StreamMessage,
    StreamMessageDeleted,
    StreamMessagesSkipped,
    StreamReactions,
    StreamStarted,
    StreamStopped,
    StreamUpdated,
    Tokens,
    Unauthenticated,
    ViewerCount,
    WatchedStream,
)
from veza.client.cursor import StreamCursor

MakeChat = Callable[..., Chat]


async def take(stream: WatchedStream, count: int) -> list[Any]:
    async with asyncio.timeout(20):
        return [await anext(stream) for _ in range(count)]


async def said(peer: Peer, content: str) -> dict[str, Any]:
    """Somebody writes, and whoever watches is told."""
    message = peer.streams.say(content)
    await peer.tell_viewers("stream_message", **message)
    return message


async def test_a_stream_is_watched_from_its_start_to_its_end(peer: Peer, chat_with: MakeChat) -> None:
    peer.streams.say("before")
    async with chat_with() as chat:
        stream = await chat.watch(STREAM)
        assert (stream.stream.title, stream.stream.is_live, stream.viewer_count) == ("Aria", False, 1)
        assert [event.content for event in await take(stream, 1)] == ["before"]
        await peer.tell_viewers("stream_started", started_at=MOMENT, playback_url="/p")
        await peer.tell_viewers("viewer_count", count=7)
        await peer.tell_viewers("stream_reactions", counts={":a_b:": 3})
        await said(peer, "hello")
        await peer.tell_viewers("stream_messages_skipped", count=4)
        await peer.tell_viewers("something_new", value=1)
        started, count, reactions, message, skipped, other = await take(stream, 6)
        assert isinstance(started, StreamStarted)
        assert stream.stream.status == "live"
        assert stream.stream.is_live
        assert (count, stream.viewer_count) == (ViewerCount(stream_id=STREAM, count=7), 7)
        assert reactions == StreamReactions(stream_id=STREAM, counts={":a_b:": 3})
        assert (message.content, message.seq, stream.last_seq) == ("hello", 2, 2)
        assert skipped == StreamMessagesSkipped(stream_id=STREAM, count=4)
        assert isinstance(other, OtherStreamEvent)
        assert other.data["value"] == 1
        await peer.tell_viewers("stream_stopped", duration_s=12.5, peak_viewers=9)
        (stopped,) = await take(stream, 1)
        assert isinstance(stopped, StreamStopped)
        assert (stream.stream.status, stream.stream.is_live, stream.stream.peak_viewers) == ("ended", False, 9)
        await stream.unwatch()
        assert not peer.streams.watching
        with pytest.raises(StopAsyncIteration):
            await anext(stream)


async def test_what_came_while_away_comes_once_and_in_order(peer: Peer, chat_with: MakeChat) -> None:
    async with chat_with() as chat:
        stream = await chat.watch(STREAM)
        contents: list[str | None] = []
        for turn in range(5):
            await said(peer, f"live {turn}")
            peer.cut()
            peer.streams.say(f"missed {turn}")
            async with asyncio.timeout(20):
                while len(contents) < 2 * (turn + 1):
                    event = await anext(stream)
                    if isinstance(event, StreamMessage):
                        contents.append(event.content)
        assert contents == [f"{kind} {turn}" for turn in range(5) for kind in ("live", "missed")]


async def test_what_became_of_a_stream_while_away_is_told(peer: Peer, chat_with: MakeChat) -> None:
    first, second = peer.streams.say("rude"), peer.streams.say("fine")
    async with chat_with() as chat:
        stream = await chat.watch(STREAM)
        await take(stream, 2)
        peer.streams.shown, peer.streams.viewers = shown(title="Fugue", status="ended"), 5
        peer.streams.deleted.add(second["id"])
        peer.cut()
        updated, count, deleted = await take(stream, 3)
        assert isinstance(updated, StreamUpdated)
        assert stream.stream.title == "Fugue"
        assert count == ViewerCount(stream_id=STREAM, count=5)
        assert deleted == StreamMessageDeleted(stream_id=STREAM, message_id=second["id"])
        # What was told once is not told again.
        await peer.tell_viewers("stream_message_deleted", message_id=first["id"])
        assert [event.message_id for event in await take(stream, 1)] == [first["id"]]
        peer.streams.deleted.add(first["id"])
        peer.cut()
        assert isinstance((await take(stream, 1))[0], StreamUpdated)
        await said(peer, "next")
        assert [event.content for event in await take(stream, 1)] == ["next"]


async def test_what_cannot_be_had_is_counted(peer: Peer, chat_with: MakeChat) -> None:
    async with chat_with() as chat:
        stream = await chat.watch(STREAM)
        await said(peer, "1")
        await take(stream, 1)
        peer.cut()
        for number in range(2, 102):
            peer.streams.say(f"{number}")
        updated, skipped, *messages = await take(stream, 52)
        assert isinstance(updated, StreamUpdated)
        assert skipped == StreamMessagesSkipped(stream_id=STREAM, count=50)
        assert [message.seq for message in messages] == list(range(52, 102))


async def test_another_start_goes_on_after_the_last_seq(peer: Peer, chat_with: MakeChat) -> None:
    for number in range(3):
        peer.streams.say(f"m{number}")
    async with chat_with() as chat:
        stream = await chat.watch(STREAM, 2)
        assert [event.seq for event in await take(stream, 1)] == [3]
        assert await chat.watch(STREAM) is stream
        with pytest.raises(ValueError, match="unwatch"):
            await chat.watch(STREAM, 1)


async def test_a_message_is_stored_once_whatever_is_cut(peer: Peer, chat_with: MakeChat) -> None:
    async def cut_once(socket: ServerConnection, command: Command) -> bool:
        if command["type"] != "stream_message":
            return False
        peer.on_command = None
        peer.streams.store(command["content"], command["client_msg_id"])
        socket.transport.abort()
        return True

    peer.on_command = cut_once
    async with chat_with() as chat:
        stream = await chat.watch(STREAM)
        stored = await stream.send("once")
        assert (stored.seq, stored.duplicate) == (1, True)
        events = await take(stream, 2)
        assert [event.content for event in events if isinstance(event, StreamMessage)] == ["once"]
    assert len(peer.streams.messages) == 1


async def test_a_reaction_is_not_kept_for_later(peer: Peer, chat_with: MakeChat) -> None:
    async with chat_with() as chat:
        stream, events = await chat.watch(STREAM), chat.events()
        await stream.react("🔥")
        peer.openings = [4001]
        peer.cut()
        async with asyncio.timeout(20):
            while not isinstance(await anext(events), Connected):
                await stream.react("👏")
    assert peer.streams.applause[0] == "🔥"
    assert set(peer.streams.applause[1:]) <= {"👏"}


async def test_refusals(peer: Peer, chat_with: MakeChat) -> None:
    answers = [
        {"code": "UNAVAILABLE", "message": "later", "retry_after": 0.01},
        {"code": "RATE_LIMITED", "message": "too many", "retry_after": 10},
        {"code": "BANNED", "message": "banned"},
    ]

    async def refuse(socket: ServerConnection, command: Command) -> bool:
        if command["type"] != "watch_stream" or not answers:
            return False
        await tell(socket, {"type": "error", "id": command["id"], "error": answers.pop(0)})
        return True

    peer.on_command = refuse
    async with chat_with() as chat:
        for error in (RateLimited, Banned):
            with pytest.raises(error):
                await chat.watch(STREAM)
        stream = await chat.watch(STREAM)
        peer.streams.shown = None
        peer.cut()
        with pytest.raises(NotFound):
            await anext(stream)
        assert not stream.live


async def test_a_stream_that_nobody_answers_for(peer: Peer, chat_with: MakeChat) -> None:
    async def silent(socket: ServerConnection, command: Command) -> bool:
        if command["type"] != "watch_stream":
            return False
        if command["stream_id"] == "nonsense":
            await tell(socket, {"type": "reply", "id": command["id"], "data": {"stream": 7}})
        return True

    peer.on_command = silent
    async with chat_with(patience=0.5) as chat:
        with pytest.raises(CommandTimeout):
            await chat.watch(STREAM)
        with pytest.raises(ProtocolError):
            await chat.watch("nonsense")


async def test_a_deleted_stream_ends(peer: Peer, chat_with: MakeChat) -> None:
    async with chat_with() as chat:
        stream = await chat.watch(STREAM)
        await peer.tell_viewers("stream_updated", deleted=True)
        (event,) = await take(stream, 1)
        assert event == StreamUpdated(stream_id=STREAM, deleted=True)
        with pytest.raises(StopAsyncIteration):
            await anext(stream)


async def test_a_slow_viewer_loses_the_oldest(peer: Peer, chat_with: MakeChat) -> None:
    async with chat_with(buffer=4) as chat:
        stream = await chat.watch(STREAM)
        for number in range(10):
            await said(peer, f"m{number}")
        await chat.ping()
        assert [event.content for event in await take(stream, 4)] == ["m6", "m7", "m8", "m9"]
        assert stream.dropped == 6


async def test_streams_that_nobody_watches_here_are_told_among_the_rest(peer: Peer, chat_with: MakeChat) -> None:
    async with chat_with() as chat:
        events = chat.events()
        await chat.request("watch_stream", {"stream_id": STREAM})
        await peer.tell_viewers("viewer_count", count=3)
        async with asyncio.timeout(20):
            event = await anext(events)
        assert isinstance(event, OtherEvent)
        assert (event.type, event.data["count"]) == ("viewer_count", 3)


async def test_an_anonymous_socket_needs_no_sign_in(peer: Peer) -> None:
    peer.openings = [{"type": "welcome", "session_id": None, "user": None, "limits": {"frame_bytes": 65536}}]
    async with Client(peer.url) as veza:
        async with veza.connect(anonymous=True) as chat:
            await veza.set_presence("busy")
            assert chat.user_id is None
            assert (await chat.watch(STREAM)).stream.id == STREAM
        with pytest.raises(Unauthenticated):
            async with veza.connect():
                pass
    assert peer.tokens == ["anonymous"]
    assert [command["type"] for command in peer.commands] == ["watch_stream"]


async def test_the_calls(peer: Peer) -> None:
    path = f"live/streams/{STREAM}"
    key = {"stream_key": "live_x", "rtmp_url": "rtmp://localhost:1935/live", "stream_id": STREAM}
    page = {"messages": [peer.streams.say("one")], "next_cursor": None, "has_more": False}
    follows = {"user_id": USER["id"], "following": True, "follower_count": 1}
    sanction = {"id": "s", "user_id": USER["id"], "action": "mute", "until": None}
    async with RestPeer() as rest:
        rest.credentials()
        rest.routes = {
            "GET live/streams": (200, ok({"streams": [shown()], "total": 1})),
            "GET live/streams/me": (200, ok({"streams": [shown(stream_key="live_x")], "total": 1})),
            "GET live/streams/me/key": (200, ok(key)),
            "POST live/streams/me/key/regenerate": (200, ok(key)),
            "POST live/streams": (201, ok(shown())),
            f"GET {path}": (200, ok(shown())),
            f"PUT {path}": (200, ok(shown())),
            f"DELETE {path}": (200, ok({"id": STREAM, "deleted": True})),
            f"POST {path}/start": (200, ok(shown(status="live", is_live=True))),
            f"POST {path}/stop": (200, ok(shown(status="ended"))),
            f"POST {path}/playback": (200, ok({"playback_url": "/p~t", "expires_at": MOMENT})),
            f"GET {path}/messages": (200, ok(page)),
            f"GET {path}/health": (200, ok({"status": "live", "is_publishing": True, "warnings": ["slow"]})),
            f"GET {path}/recording": (200, ok({"stream_id": STREAM, "is_ready": True, "playback_url": "/r"})),
            f"GET {path}/recording/messages": (200, ok({"messages": [], "next_cursor": None, "has_more": False})),
            f"DELETE {path}/recording": (200, ok({"stream_id": STREAM, "deleted": True})),
            f"DELETE {path}/messages/m": (200, ok({"id": "m", "deleted": True})),
            f"POST {path}/sanctions": (201, ok(sanction)),
            f"GET {path}/sanctions": (200, ok({"sanctions": [], "total": 0})),
            f"DELETE {path}/sanctions/u/ban": (200, ok({})),
            f"PUT {path}/moderators/u": (200, ok({})),
            f"DELETE {path}/moderators/u": (200, ok({})),
            f"GET {path}/moderators": (200, ok({"moderators": [{"user": USER, "created_at": MOMENT}], "total": 1})),
            "POST users/u/follow": (200, ok(follows)),
            "DELETE users/u/follow": (200, ok({**follows, "following": False})),
            "GET users/u/followers": (200, ok({"followers": [{"user": USER}], "total": 1})),
            "GET users/u/following": (200, ok({"following": [], "total": 0})),
        }
        async with Client(rest.url, tokens=Tokens("access-1", "refresh-1")) as veza:
            found = await veza.live.list("aria", is_live=True, category="music", sort="newest")
            assert (found.total, found.streams[0].tags) == (1, ["bach"])
            assert rest.requests[-1][0] == (
                "GET /api/v1/live/streams?q=aria&is_live=true&category=music&sort=newest&limit=20&offset=0"
            )
            assert (await veza.live.mine()).streams[0].stream_key == "live_x"
            assert (await veza.live.key()).stream_id == (await veza.live.regenerate_key()).stream_id == STREAM
            await veza.live.create("Aria", tags=["bach"], is_private=True)
            assert rest.requests[-1][2] == {"title": "Aria", "tags": ["bach"], "is_private": True}
            await veza.live.update(STREAM, title="Fugue", scheduled_at=None)
            assert rest.requests[-1][2] == {"title": "Fugue", "scheduled_at": None}
            assert (await veza.live.get(STREAM)).title == "Aria"
            assert (await veza.live.start(STREAM)).is_live
            assert (await veza.live.stop(STREAM)).status == "ended"
            await veza.live.delete(STREAM)
            assert (await veza.live.playback(STREAM)).playback_url == "/p~t"
            assert [message.content async for message in veza.live.walk(STREAM, order="oldest")] == ["one"]
            assert (await veza.live.health(STREAM)).warnings == ["slow"]
            assert (await veza.live.recording(STREAM)).is_ready
            assert not (await veza.live.recording_messages(STREAM, from_s=1.5)).has_more
            assert rest.requests[-1][0].endswith("limit=20&from_s=1.5")
            await veza.live.delete_recording(STREAM)
            order = veza.live_moderation
            await order.delete_message(STREAM, "m")
            assert (await order.mute(STREAM, "u", 60, "loud")).until is None
            assert rest.requests[-1][2] == {"user_id": "u", "action": "mute", "duration_s": 60, "reason": "loud"}
            await order.ban(STREAM, "u")
            await order.lift(STREAM, "u", "ban")
            assert (await order.sanctions(STREAM, include_ended=True)).total == 0
            assert rest.requests[-1][0].endswith("limit=20&include_ended=true")
            await order.add_moderator(STREAM, "u")
            await order.remove_moderator(STREAM, "u")
            assert (await order.moderators(STREAM)).moderators[0].user.username == "ada"
            assert (await veza.follow("u")).following
            assert not (await veza.unfollow("u")).following
            assert (await veza.followers("u")).total == 1
            assert (await veza.following("u")).total == 0
        async with Client(rest.url) as nobody:
            with pytest.raises(Unauthenticated):
                await nobody.live.key()
            for call in (nobody.live.list(), nobody.live.get(STREAM), nobody.live.playback(STREAM)):
                with pytest.raises(Unauthenticated):  # the peer lets nobody in; what counts is that they asked
                    await call
                assert "authorization" not in rest.requests[-1][1]


def test_a_cursor_lets_each_message_through_once() -> None:
    chance = Random(1)  # noqa: S311 - the same story each time
    for _ in range(300):
        cursor, log, gone, through = StreamCursor(), 0, set[str](), list[int]()
        for _ in range(chance.randint(5, 120)):
            if chance.random() < 0.7:
                log += 1
                if cursor.message(log, f"{log}"):
                    through.append(log)
            elif chance.random() < 0.3 and log:
                gone.add(f"{chance.randint(1, log)}")
            else:
                cursor.suspend()
                page = [(seq, f"{seq}", seq) for seq in range(1, log + 1) if f"{seq}" not in gone][-50:]
                chance.shuffle(page)
                recent = cursor.recent(page)
                assert set(recent.deleted) <= gone & {f"{seq}" for seq in through}
                through += recent.fresh
        assert through == sorted(set(through))


def test_a_cursor_begins_somewhere() -> None:
    with pytest.raises(ValueError, match="at least 0"):
        StreamCursor(-1)
    cursor = StreamCursor()
    assert not cursor.message(1, "a")
    assert cursor.recent([]) == cursor.recent([])
    assert cursor.last_seq == 0
    assert cursor.message(1, "a")
    assert not cursor.message(1, "a")
