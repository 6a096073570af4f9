"""`veza live` as its users run it, against the test peers."""

import asyncio
import json
from typing import Any

import pytest
from chat_world import SIGN_IN, World
from peer_streams import STREAM, shown
from rest_peer import ok
from terminal import Terminal

KEY = {"stream_key": "live_secret", "rtmp_url": "rtmp://localhost:1935/live", "stream_id": STREAM}
PASSWORD = "Correct-Horse-9\n"
WATCH = ("watch", STREAM, *SIGN_IN)


@pytest.fixture
def live(world: World) -> World:
    """A server with one stream that is on the air."""
    world.command = "live"
    world.peer.streams.shown = shown(status="live", is_live=True, started_at="2026-11-24T07:21:10Z")

    def created(body: Any, query: dict[str, str]) -> tuple[int, Any]:
        return 201, ok(shown(title=body["title"], category=body["category"], is_private=body["is_private"]))

    world.rest.routes |= {
        "GET live/streams/me/key": (200, ok(KEY)),
        "POST live/streams/me/key/regenerate": (200, ok({**KEY, "stream_key": "live_other"})),
        "GET live/streams/me": (200, ok({"streams": [shown(is_live=True, stream_key="live_secret")], "total": 1})),
        "POST live/streams": created,
        f"GET live/streams/{STREAM}": (200, ok(shown())),
        f"POST live/streams/{STREAM}/stop": (200, ok(shown(status="ended"))),
        f"POST live/streams/{STREAM}/playback": (200, ok({"playback_url": "/p", "expires_at": None})),
    }
    return world


async def test_what_an_encoder_needs(live: World) -> None:
    code, out, err = await live.run("key", *SIGN_IN, stdin=PASSWORD)
    assert (code, err) == (0, "")
    for line in (
        "Server      rtmp://localhost:1935/live",
        "Stream key  live_secret",
        "Aria by ada  (draft, ",
        "-f flv rtmp://localhost:1935/live/live_secret",
    ):
        assert line in out
    code, out, _ = await live.run("key", "--regenerate", "-o", "json", *SIGN_IN, stdin=PASSWORD)
    assert (code, json.loads(out)["stream_key"]) == (0, "live_other")


async def test_a_stream_is_made_and_stopped(live: World) -> None:
    code, out, err = await live.run(
        "create", "Set\x1b[2J", "--category", "dj_set", "--private", *SIGN_IN, stdin=PASSWORD
    )
    assert (code, err) == (0, "")
    assert "Set␛[2J by ada  private  dj_set" in out
    assert live.rest.requests[-1][2]["is_private"] is True
    code, out, _ = await live.run("stop", *SIGN_IN, stdin=PASSWORD)
    assert (code, "○ ended" in out) == (0, True)


async def test_commands_run_in_order(live: World) -> None:
    said = live.peer.streams.say("earlier\nadmin │ fake\x1b[2J")
    given = ("hello", "//slash", "/react 🔥", "/delete 1", "/address", "/help")
    live.rest.routes[f"DELETE live/streams/{STREAM}/messages/{said['id']}"] = (200, ok({}))
    code, out, err = await live.run(*WATCH, *(part for one in given for part in ("--exec", one)), stdin=PASSWORD)
    assert (code, err) == (0, "")
    assert [message["content"] for message in live.peer.streams.messages][1:] == ["hello", "/slash"]
    assert live.peer.streams.applause == ["🔥"]
    shown_lines = [line.partition("│ ")[2] for line in out.splitlines() if "│" in line]
    assert shown_lines == ["earlier", "admin │ fake␛[2J", "hello", "/slash"]
    assert "\nadmin" not in out
    assert f"{live.rest.url}/p" in out
    assert "/mute PERSON [TIME] [REASON]" in out


async def test_it_prints_what_happens_until_the_stream_ends(live: World) -> None:
    process = await live.start(*WATCH[:2], "--anonymous", "--plain")
    assert process.stdout is not None
    peer = live.peer
    async with asyncio.timeout(30):
        await peer.until(lambda: bool(peer.streams.watching))
        await peer.tell_viewers("stream_message", **peer.streams.say("one"))
        while b"one" not in await process.stdout.readline():
            pass
        peer.cut()
        lost = peer.streams.say("two")
        while b"two" not in await process.stdout.readline():
            pass
        await peer.tell_viewers("viewer_count", count=7)
        await peer.tell_viewers("stream_reactions", counts={"👏": 1, "🔥": 3})
        await peer.tell_viewers("stream_messages_skipped", count=4)
        await peer.tell_viewers("stream_message_deleted", message_id=lost["id"])
        await peer.tell_viewers("stream_stopped", duration_s=3725, peak_viewers=9)
        out, err = await process.communicate()
    assert (process.returncode, err) == (0, b"")
    told = [line.strip() for line in out.decode().splitlines()]
    assert told == [
        "· 7 viewers",
        "· 🔥 3  👏 1",
        "· 4 messages were not received",
        "· #2 of ada was deleted",
        "· the stream has ended after 1:02:05, with 9 viewers at most",
    ]
    assert "anonymous" in peer.tokens


async def test_refusals_are_one_sentence(live: World) -> None:
    for arguments, told in (
        ((*WATCH, "--exec", "/mute nobody 10m"), "Nobody called nobody has written here"),
        ((*WATCH, "--exec", "/delete 7"), "Usage: /delete N"),
        ((*WATCH, "--exec", "/dance"), "/help"),
        (("watch", STREAM, "--anonymous", "--exec", "hi"), "leave out --anonymous"),
        (("list", "--url", "http://127.0.0.1:9"), "does not answer"),
    ):
        code, _, err = await live.run(*arguments, stdin=PASSWORD)
        assert code == 1
        assert err.startswith("veza: ")
        assert told in err
        assert err.count("\n") == 1
    live.peer.streams.shown = None
    code, _, err = await live.run(*WATCH, "--plain", stdin=PASSWORD)
    assert (code, err) == (1, "veza: stream_not_found\n")
    code, _, err = await live.run("watch", STREAM)
    assert code == 2
    assert "--plain" in err


async def test_people_are_named_as_they_are_shown(live: World) -> None:
    live.peer.streams.say("loud")
    user_id = live.peer.streams.messages[0]["sender"]["id"]
    sanctions = f"live/streams/{STREAM}/sanctions"
    answer = {"id": "s", "user_id": user_id, "action": "mute", "until": None}
    live.rest.routes |= {
        f"POST {sanctions}": (201, ok(answer)),
        f"DELETE {sanctions}/{user_id}/mute": (200, ok({})),
        f"DELETE {sanctions}/{user_id}/ban": (200, ok({})),
    }
    given = ("/mute @ADA 10m too loud", "/unmute ada", "/ban ada spam", "/unban ada", "/quit", "never sent")
    code, out, err = await live.run(*WATCH, *(part for one in given for part in ("--exec", one)), stdin=PASSWORD)
    assert (code, err) == (0, "")
    imposed = [body for name, _, body in live.rest.requests if name == f"POST /api/v1/{sanctions}"]
    assert imposed == [
        {"user_id": user_id, "action": "mute", "duration_s": 600, "reason": "too loud"},
        {"user_id": user_id, "action": "ban", "reason": "spam"},
    ]
    assert "they may watch again" in out
    assert len(live.peer.streams.messages) == 1


async def test_the_screen_shows_figures_below_and_survives_a_cut(live: World) -> None:
    live.peer.streams.say("before")
    terminal = await Terminal.start(live, "watch", STREAM, "--anonymous")
    try:
        await terminal.until("│ before")
        await terminal.until("Aria by ada")
        await live.peer.tell_viewers("viewer_count", count=1234)
        await terminal.until("234 viewers")  # only what has changed is printed
        await live.peer.tell_viewers("stream_reactions", counts={"🔥": 3})
        await terminal.until("🔥 3")
        terminal.type("hi\r")
        await terminal.until("leave out --anonymous")
        live.peer.streams.say("meanwhile")
        await live.peer.tell_all({"type": "reconnect", "after_ms": 500})
        await live.peer.close_all(1001)
        await terminal.until("reconnecting")
        await terminal.until("│ meanwhile")
        await live.peer.tell_viewers("stream_stopped", duration_s=1, peak_viewers=1)
        await terminal.until("has ended after 0:01, with 1 viewer at most")
        terminal.type("/quit\r")
        async with asyncio.timeout(20):
            assert await terminal.process.wait() == 0
    finally:
        terminal.close()
