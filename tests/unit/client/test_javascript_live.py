"""Live streams with the JavaScript SDK, against a peer that cuts, forgets and refuses."""

from random import Random
from typing import Any

from chat_peer import Command, Peer, tell
from peer_streams import MOMENT, STREAM, shown
from script import script
from websockets.asyncio.server import ServerConnection

from veza.client.cursor import StreamCursor

WATCH = f'const STREAM = "{STREAM}";'


async def say(peer: Peer, content: str) -> dict[str, Any]:
    """Somebody writes, and whoever watches is told."""
    message = peer.streams.say(content)
    await peer.tell_viewers("stream_message", **message)
    return message


async def test_a_stream_is_watched_from_its_start_to_its_end(peer: Peer) -> None:
    body = f"""{WATCH}
    const stream = await (await veza.connect()).watch(STREAM);
    tell([stream.stream.title, stream.stream.isLive, stream.viewerCount]);
    tell((await take(stream, 5)).map((event) => event.content ?? event.counts ?? event.count ?? event.type));
    tell([stream.stream.status, stream.stream.isLive, stream.viewerCount, stream.lastSeq]);
    tell((await take(stream, 1))[0]);
    tell((await take(stream, 1)).map((event) => [event.durationS, stream.stream.status, stream.stream.peakViewers]));
    await stream.unwatch();
    tell((await stream.next()).done);
    """
    peer.streams.say("before")
    async with script(peer.url, body) as js:
        assert await js.told() == ["Aria", False, 1]
        await peer.tell_viewers("stream_started", started_at=MOMENT, playback_url="/p")
        await peer.tell_viewers("viewer_count", count=7)
        await peer.tell_viewers("stream_reactions", counts={":a_b:": 3})
        await say(peer, "hello")
        # An emoji may be a word, which is no name of ours.
        assert await js.told() == ["before", "stream_started", 7, {":a_b:": 3}, "hello"]
        assert await js.told() == ["live", True, 7, 2]
        await peer.tell_viewers("something_new", value=1)
        data = {"value": 1, "type": "something_new", "stream_id": STREAM}
        assert await js.told() == {"type": "other", "kind": "something_new", "streamId": STREAM, "data": data}
        await peer.tell_viewers("stream_stopped", duration_s=12.5, peak_viewers=9)
        assert await js.told() == [[12.5, "ended", 9]]
        assert await js.told() is True
    assert [command["type"] for command in peer.commands][-1] == "unwatch_stream"


async def test_what_came_while_away_comes_once_and_in_order(peer: Peer) -> None:
    body = f"""{WATCH}
    const stream = await (await veza.connect()).watch(STREAM);
    stream.listen((event) => event.type === "stream_message" && tell(event.content));
    tell("watching");
    await until();
    """
    async with script(peer.url, body) as js:
        assert await js.told() == "watching"
        for turn in range(5):
            await say(peer, f"live {turn}")
            assert await js.told() == f"live {turn}"
            peer.cut()
            peer.streams.say(f"missed {turn}")
            assert await js.told() == f"missed {turn}"
        await js.go()


async def test_what_became_of_a_stream_while_away_is_told(peer: Peer) -> None:
    body = f"""{WATCH}
    const stream = await (await veza.connect()).watch(STREAM);
    await take(stream, 2);
    tell("watching");
    tell((await take(stream, 3)).map((event) => event.stream?.title ?? event.count ?? event.messageId));
    tell((await take(stream, 2)).map((event) => event.count ?? event.type));
    tell((await take(stream, 50)).map((event) => event.seq));
    """
    peer.streams.say("fine")
    rude = peer.streams.say("rude")
    async with script(peer.url, body) as js:
        assert await js.told() == "watching"
        peer.streams.shown, peer.streams.viewers = shown(title="Fugue"), 5
        peer.streams.deleted.add(rude["id"])
        peer.cut()
        assert await js.told() == ["Fugue", 5, rude["id"]]
        for number in range(100):
            peer.streams.say(f"m{number}")
        peer.cut()
        assert await js.told() == ["stream_updated", 50]
        assert await js.told() == list(range(53, 103))


async def test_messages_are_stored_once_over_many_cuts(peer: Peer) -> None:
    seen = 0

    async def cut_often(socket: ServerConnection, command: Command) -> bool:
        nonlocal seen
        seen += 1
        if seen % 7 == 0:
            if command["type"] == "stream_message":
                peer.streams.store(command["content"], command["client_msg_id"])
            socket.transport.abort()
            return True
        return False

    peer.on_command = cut_often
    body = f"""{WATCH}
    const stream = await (await veza.connect()).watch(STREAM);
    const stored = await Promise.all(Array.from({{ length: 40 }}, (_, n) => stream.send(`m${{n}}`)));
    tell(stored.map((one) => one.seq));
    const heard = [];
    for await (const event of stream) {{
      if (event.type === "stream_message" && heard.push(event.seq) === 40) break;
    }}
    tell(heard);
    """
    async with script(peer.url, body) as js:
        assert sorted(await js.told()) == list(range(1, 41))
        assert await js.told() == list(range(1, 41))
    assert {message["content"] for message in peer.streams.messages} == {f"m{n}" for n in range(40)}


async def test_refusals_and_the_end(peer: Peer) -> None:
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
    body = f"""{WATCH}
    const chat = await veza.connect();
    for (let n = 0; n < 2; n += 1) tell((await failure(chat.watch(STREAM)))[0]);
    const stream = await chat.watch(STREAM);
    tell([(await chat.watch(STREAM)) === stream, (await failure(chat.watch(STREAM, {{ lastSeq: 1 }})))[0]]);
    tell((await take(stream, 1)).map((event) => event.deleted));
    tell((await stream.next()).done);
    const again = await chat.watch(STREAM);
    tell("watching again");
    tell((await failure(again.next()))[0]);
    await again.react("🔥");
    """
    async with script(peer.url, body) as js:
        assert [await js.told(), await js.told()] == ["RateLimited", "Banned"]
        assert await js.told() == [True, "RangeError"]
        await peer.tell_viewers("stream_updated", deleted=True)
        assert [await js.told(), await js.told()] == [[True], True]
        assert await js.told() == "watching again"
        peer.streams.shown = None
        peer.cut()
        assert await js.told() == "NotFound"
    assert not peer.streams.applause


async def test_an_anonymous_socket_needs_no_sign_in(peer: Peer) -> None:
    peer.openings = [{"type": "welcome", "session_id": None, "user": None, "limits": {"frame_bytes": 65536}}]
    body = f"""{WATCH}
    const nobody = new sdk.Client("{peer.url}");
    const chat = await nobody.connect({{ anonymous: true }});
    await nobody.setPresence("busy");
    const stream = await chat.watch(STREAM);
    tell([chat.anonymous, chat.userId, stream.stream.title]);
    tell((await failure(nobody.connect()))[0]);
    await nobody.close();
    """
    async with script(peer.url, body) as js:
        assert await js.told() == [True, None, "Aria"]
        assert await js.told() == "Unauthenticated"
    assert peer.tokens == ["anonymous"]


async def test_the_calls(peer: Peer) -> None:
    body = """
    const asked = [];
    const note = async (url, { method, headers, body }) => {
      const signed = "Authorization" in headers;
      asked.push([method, decodeURIComponent(url.pathname + url.search).slice(8), signed, body && JSON.parse(body)]);
      return Response.json({ success: true, data: { messages: [], has_more: false } });
    };
    const spy = new sdk.Client("http://localhost/", { tokens, fetch: note });
    const { live, liveModeration: order } = spy;
    await live.list({ q: "aria", isLive: true, category: "music", sort: "newest" });
    await live.get("..");
    await live.mine({ limit: 5 });
    await live.create("Aria", { tags: ["bach"], isPrivate: true, scheduledAt: new Date(0) });
    await live.update("s", { title: "Fugue", slowModeSeconds: 0, scheduledAt: null });
    await live.delete("s");
    await live.start("s");
    await live.stop("s");
    await live.key();
    await live.regenerateKey();
    await live.playback("s");
    for await (const _ of live.walk("s", { order: "oldest" }));
    await live.health("s");
    await live.recording("s");
    await live.recordingMessages("s", { fromS: 1.5 });
    await live.deleteRecording("s");
    await order.deleteMessage("s", "m");
    await order.mute("s", "u", { durationS: 60, reason: "loud" });
    await order.ban("s", "u");
    await order.lift("s", "u", "ban");
    await order.sanctions("s", { includeEnded: true });
    await order.addModerator("s", "u");
    await order.removeModerator("s", "u");
    await order.moderators("s");
    await spy.follow("u");
    await spy.unfollow("u");
    await spy.followers("u");
    await spy.following("u");
    await new sdk.Client("http://localhost/", { fetch: note }).live.list();
    asked.forEach(tell);
    """
    once = {"title": "Aria", "tags": ["bach"], "is_private": True, "scheduled_at": "1970-01-01T00:00:00.000Z"}
    changes = {"title": "Fugue", "slow_mode_seconds": 0, "scheduled_at": None}
    mute = {"user_id": "u", "action": "mute", "duration_s": 60, "reason": "loud"}
    expected: list[tuple[str, str, Any]] = [
        ("GET", "live/streams?q=aria&is_live=true&category=music&sort=newest&limit=20&offset=0", None),
        ("GET", "live/streams/-", None),
        ("GET", "live/streams/me?limit=5&offset=0", None),
        ("POST", "live/streams", once),
        ("PUT", "live/streams/s", changes),
        ("DELETE", "live/streams/s", None),
        ("POST", "live/streams/s/start", None),
        ("POST", "live/streams/s/stop", None),
        ("GET", "live/streams/me/key", None),
        ("POST", "live/streams/me/key/regenerate", None),
        ("POST", "live/streams/s/playback", None),
        ("GET", "live/streams/s/messages?limit=100&order=oldest", None),
        ("GET", "live/streams/s/health", None),
        ("GET", "live/streams/s/recording", None),
        ("GET", "live/streams/s/recording/messages?limit=20&from_s=1.5", None),
        ("DELETE", "live/streams/s/recording", None),
        ("DELETE", "live/streams/s/messages/m", None),
        ("POST", "live/streams/s/sanctions", mute),
        ("POST", "live/streams/s/sanctions", {"user_id": "u", "action": "ban"}),
        ("DELETE", "live/streams/s/sanctions/u/ban", None),
        ("GET", "live/streams/s/sanctions?limit=20&include_ended=true", None),
        ("PUT", "live/streams/s/moderators/u", None),
        ("DELETE", "live/streams/s/moderators/u", None),
        ("GET", "live/streams/s/moderators?limit=20&offset=0", None),
        ("POST", "users/u/follow", None),
        ("DELETE", "users/u/follow", None),
        ("GET", "users/u/followers?limit=20&offset=0", None),
        ("GET", "users/u/following?limit=20&offset=0", None),
    ]
    async with script(peer.url, body) as js:
        for method, path, sent in expected:
            assert await js.told() == [method, path, True, sent]
        assert await js.told() == ["GET", "live/streams?limit=20&offset=0", False, None]


def story(chance: Random) -> list[list[Any]]:
    """What may happen to a viewer: messages that come or do not, cuts, the last messages after them, deletions."""
    told: list[list[Any]] = [["new", chance.choice([None, 0, 3])]]
    for _ in range(chance.randint(1, 14)):
        seq = chance.randint(1, 90)
        page = sorted(chance.sample(range(1, 90), chance.randint(0, 50)))
        told.append(chance.choice([["message", seq], ["suspend"], ["deleted", seq], ["recent", page]]))
    return told


def outcome(told: list[list[Any]]) -> list[Any]:
    """What the cursor of the Python SDK makes of it."""
    cursor = StreamCursor(told[0][1])
    found: list[Any] = []
    for kind, *arguments in told[1:]:
        match kind:
            case "message":
                found.append(cursor.message(arguments[0], f"{arguments[0]}"))
            case "suspend":
                cursor.suspend()
            case "deleted":
                cursor.deleted(f"{arguments[0]}")
            case "recent":
                recent = cursor.recent([(seq, f"{seq}", seq) for seq in arguments[0]])
                found.append([recent.skipped, recent.fresh, recent.deleted])
        found.append([cursor.last_seq, cursor.live])
    return found


async def test_the_cursor_decides_as_that_of_the_other_sdk(peer: Peer) -> None:
    body = """
    const { StreamCursor } = await inner("cursor.js");
    const outcome = ([[, lastSeq], ...story]) => {
      const cursor = new StreamCursor(lastSeq);
      return story.flatMap(([kind, given]) => {
        const found = [];
        if (kind === "message") found.push(cursor.message(given, `${given}`));
        else if (kind === "suspend") cursor.suspend();
        else if (kind === "deleted") cursor.deleted(`${given}`);
        else {
          const recent = cursor.recent(given.map((seq) => ({ seq, id: `${seq}` })));
          found.push([recent.skipped, recent.fresh.map((one) => one.seq), recent.deleted]);
        }
        return [...found, [cursor.lastSeq, cursor.live]];
      });
    };
    tell(JSON.parse(await until()).map(outcome));
    """
    stories = [story(Random(seed)) for seed in range(500)]  # noqa: S311 - the same stories each time
    async with script(peer.url, body) as js:
        await js.go(stories)
        for told, found in zip(stories, await js.told(), strict=True):
            assert found == outcome(told), told
