"""Live streams as their viewers have them: watching, chat, reactions, counts, over all gateways."""

from typing import Any

import pytest
from system.people import Person
from system.running import Running, refused
from system.sockets import Refused, Socket

LIVE = "live/streams"


async def made(person: Person, **fields: Any) -> str:
    found: str = (await person.call("POST", LIVE, json={"title": "Aria", **fields}))["id"]
    return found


async def anonymous(system: Running) -> Socket:
    return await Socket.open(system, path="/api/v1/ws?anonymous=1")


async def test_a_stream_is_watched_from_its_start_to_its_end(
    system: Running, ada: Person, bob: Person, eve: Person
) -> None:
    stream_id = await made(ada)
    async with await ada.connect() as streamer, await bob.connect() as viewer, await anonymous(system) as nobody:
        for socket in (streamer, viewer, nobody):
            watched = await socket.call("watch_stream", stream_id=stream_id)
            assert watched["stream"]["title"] == "Aria"
            assert watched["messages"] == []
        await viewer.event("viewer_count", stream_id=stream_id, count=3)
        started = await ada.call("POST", f"{LIVE}/{stream_id}/start")
        assert (started["status"], started["is_live"]) == ("live", True)
        for socket in (streamer, viewer, nobody):
            event = await socket.event("stream_started", stream_id=stream_id)
            assert event["playback_url"] == started["playback_url"]
        sent = await viewer.call("stream_message", stream_id=stream_id, content="hello", client_msg_id="x")
        again = await viewer.call("stream_message", stream_id=stream_id, content="hello", client_msg_id="x")
        assert (again["message_id"], again["duplicate"]) == (sent["message_id"], True)
        for socket in (streamer, viewer, nobody):
            message = await socket.event("stream_message", stream_id=stream_id)
            assert (message["id"], message["content"]) == (sent["message_id"], "hello")
            assert message["sender"] == {"id": bob.id, "username": bob.username}
        for _ in range(3):
            await viewer.call("stream_react", stream_id=stream_id, emoji="🔥")
        reacted = 0
        while reacted < 3:
            frames = [frame for frame in nobody.frames if frame["type"] == "stream_reactions"]
            reacted = sum(frame["counts"]["🔥"] for frame in frames)
            await nobody.event("stream_reactions", stream_id=stream_id)
            await nobody.quiet()
        async with await eve.connect() as late:
            watched = await late.call("watch_stream", stream_id=stream_id)
            assert [each["content"] for each in watched["messages"]] == ["hello"]
            assert watched["stream"]["is_live"] is True
        stopped = await ada.call("POST", f"{LIVE}/{stream_id}/stop")
        event = await viewer.event("stream_stopped", stream_id=stream_id)
        assert event["peak_viewers"] >= 3
        assert stopped["status"] == "ended"
        with pytest.raises(Refused, match="CONFLICT"):
            await viewer.call("stream_message", stream_id=stream_id, content="too late")
    shown = await ada.call("GET", f"{LIVE}/{stream_id}")
    assert (shown["status"], shown["message_count"], shown["reaction_count"]) == ("ended", 1, 3)
    kept = await ada.call("GET", f"{LIVE}/{stream_id}/messages")
    assert [each["content"] for each in kept["messages"]] == ["hello"]


async def test_what_may_not_be_watched(system: Running, ada: Person, bob: Person) -> None:
    private = await made(ada, is_private=True)
    unknown = "00000000-0000-7000-8000-000000000000"
    async with await bob.connect() as other, await ada.connect() as owner, await anonymous(system) as nobody:
        for socket in (other, nobody):
            for stream_id in (private, unknown):
                with pytest.raises(Refused, match="STREAM_NOT_FOUND"):
                    await socket.call("watch_stream", stream_id=stream_id)
        with pytest.raises(Refused, match="STREAM_NOT_FOUND"):
            await other.call("stream_message", stream_id=private, content="let me in")
        assert (await owner.call("watch_stream", stream_id=private))["stream"]["is_private"] is True
        with pytest.raises(Refused, match="INVALID_ARGUMENT"):
            await other.call("stream_react", stream_id=private, emoji="🔥")
    for action in ("start", "stop"):
        refused(await bob.ask("POST", f"{LIVE}/{private}/{action}"), 404, "stream_not_found")


async def test_who_is_nobody_may_only_watch(system: Running, ada: Person) -> None:
    stream_id, room_id = await made(ada), await ada.room(kind="public", name="Open")
    async with await anonymous(system) as nobody:
        assert (await nobody.event("welcome"))["user"] is None
        await nobody.call("watch_stream", stream_id=stream_id)
        for kind, arguments in (
            ("stream_message", {"stream_id": stream_id, "content": "x"}),
            ("stream_react", {"stream_id": stream_id, "emoji": "🔥"}),
            ("join_room", {"room_id": room_id}),
            ("send_message", {"room_id": room_id, "content": "x"}),
        ):
            with pytest.raises(Refused, match="UNAUTHENTICATED"):
                await nobody.call(kind, **arguments)
        assert await nobody.call("unwatch_stream", stream_id=stream_id) == {}
        await nobody.call("ping")


async def test_a_person_counts_once_and_goes_with_the_last_socket(ada: Person, bob: Person) -> None:
    stream_id = await made(ada)
    async with await ada.connect() as streamer:
        await streamer.call("watch_stream", stream_id=stream_id)
        async with await bob.connect() as first, await bob.connect() as second:
            for socket in (first, second):
                await socket.call("watch_stream", stream_id=stream_id)
            await streamer.event("viewer_count", stream_id=stream_id, count=2)
            seen = len(streamer.frames)
        await streamer.wait(
            lambda frame: frame in streamer.frames[seen:] and frame.get("count") == 1, "the count after they left"
        )
        assert not [frame for frame in streamer.frames if frame.get("count", 0) > 2]


async def test_what_the_owner_changes_is_seen_at_once(ada: Person, bob: Person) -> None:
    stream_id = await made(ada)
    async with await bob.connect() as viewer:
        await viewer.call("watch_stream", stream_id=stream_id)
        await ada.call("PUT", f"{LIVE}/{stream_id}", json={"title": "Fugue", "slow_mode_seconds": 60})
        event = await viewer.event("stream_updated", stream_id=stream_id)
        assert event["stream"]["title"] == "Fugue"
        await viewer.call("stream_message", stream_id=stream_id, content="one")
        with pytest.raises(Refused, match="RATE_LIMITED") as refusal:
            await viewer.call("stream_message", stream_id=stream_id, content="two")
        assert refusal.value.error["retry_after"] > 30
        await ada.call("PUT", f"{LIVE}/{stream_id}", json={"is_private": True})
        await viewer.event("stream_left", stream_id=stream_id, reason="private")
        with pytest.raises(Refused, match="STREAM_NOT_FOUND"):
            await viewer.call("watch_stream", stream_id=stream_id)
        await ada.call("DELETE", f"{LIVE}/{stream_id}")
        refused(await ada.ask("GET", f"{LIVE}/{stream_id}"), 404, "stream_not_found")
