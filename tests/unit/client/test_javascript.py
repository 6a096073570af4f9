"""The JavaScript SDK against a peer that cuts, repeats, reorders, refuses and contradicts itself."""

from random import Random
from typing import Any

import pytest
from chat_peer import Command, Peer, tell
from script import script
from websockets.asyncio.server import ServerConnection

from veza.client.cursor import RoomCursor

ROOM = "22222222-2222-4222-8222-222222222222"


async def test_sends_in_flight_over_many_cuts_are_stored_once_each(peer: Peer) -> None:
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
    body = """
    const room = await (await veza.connect()).join(ROOM);
    const stored = await Promise.all(Array.from({ length: 40 }, (_, n) => room.send(`m${n}`)));
    tell(stored.map((one) => one.seq));
    tell((await take(room, 40)).map((event) => event.seq));
    """
    async with script(peer.url, body) as js:
        assert sorted(await js.told()) == list(range(1, 41))
        assert await js.told() == list(range(1, 41))
    assert {event["content"] for event in peer.logs[ROOM]} == {f"m{n}" for n in range(40)}


async def test_lost_repeated_and_early_events_come_once_and_in_order(peer: Peer) -> None:
    body = """
    const room = await (await veza.connect()).join(ROOM);
    tell("joined");
    tell((await take(room, 6)).map((event) => event.seq));
    """
    async with script(peer.url, body) as js:
        assert await js.told() == "joined"
        first = peer.append(ROOM, "1")
        second = peer.append(ROOM, "2")
        await peer.broadcast(ROOM, second)  # before the first: a gap
        await peer.broadcast(ROOM, first)
        await peer.broadcast(ROOM, second)
        peer.append(ROOM, "lost")
        await peer.say(ROOM, "4")
        await peer.broadcast(ROOM, first)
        await peer.say(ROOM, "5")
        await peer.say(ROOM, "6")
        assert await js.told() == [1, 2, 3, 4, 5, 6]


async def test_a_slow_consumer_is_served_from_the_log(peer: Peer) -> None:
    peer.page_size = 10
    body = """
    const room = await (await veza.connect({ buffer: 4 })).join(ROOM);
    tell("joined");
    await until();
    while (room.live) await new Promise((resolve) => setTimeout(resolve, 5));
    tell(room.backlog <= 4 + 10);
    tell((await take(room, 300)).map((event) => event.seq));
    """
    async with script(peer.url, body) as js:
        assert await js.told() == "joined"
        for number in range(300):
            await peer.say(ROOM, f"m{number}")
        await js.go()
        assert await js.told() is True
        assert await js.told() == list(range(1, 301))


async def test_it_comes_back_when_and_as_the_server_asks(peer: Peer) -> None:
    body = """
    const chat = await veza.connect();
    const room = await chat.join(ROOM);
    const events = chat.events();
    tell("joined");
    tell((await room.send("answered on the old connection")).seq);
    for await (const event of events) if (event.type === "connected") break;
    tell((await room.send("and on the new one")).seq);
    tell((await take(room, 2)).map((event) => event.seq));
    """
    async with script(peer.url, body) as js:
        assert await js.told() == "joined"
        await peer.tell_all({"type": "reconnect", "after_ms": 100})
        assert [await js.told() for _ in range(3)] == [1, 2, [1, 2]]
    assert peer.connections == 2


@pytest.mark.parametrize(
    ("code", "error"),
    [(4003, "SessionEnded"), (4029, "Abuse"), (1009, "ProtocolError"), (4008, None), (1001, None), (1011, None)],
)
async def test_close_codes(peer: Peer, code: int, error: str | None) -> None:
    body = """
    const chat = await veza.connect();
    const room = await chat.join(ROOM);
    const events = chat.events();
    tell("joined");
    tell(await failure(room.next()));
    tell(await failure(room.send("x")));
    tell(await failure(events.next()));
    """
    async with script(peer.url, body) as js:
        assert await js.told() == "joined"
        await peer.close_all(code)
        if error is None:
            await peer.until(lambda: peer.connections == 2)
            await peer.say(ROOM, "still here")
            assert [await js.told() for _ in range(3)] == ["no failure"] * 3
        else:
            assert [(await js.told())[0] for _ in range(3)] == [error] * 3


async def test_refusals_are_waited_out_or_told(peer: Peer) -> None:
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
    peer.refusals = [503, 429]
    body = """
    const room = await (await veza.connect()).join(ROOM);
    tell(await failure(room.send("hi")));
    tell((await room.send("hi")).seq);
    tell(await failure(room.send("x".repeat(70000))));
    """
    async with script(peer.url, body) as js:
        assert await js.told() == ["RateLimited", "rate_limited", 7]
        assert await js.told() == 1
        assert (await js.told())[:2] == ["InvalidArgument", "frame_too_big"]
    assert len(peer.tokens) == 3


async def test_a_send_that_nobody_answers_ends_at_its_timeout(peer: Peer) -> None:
    async def silent(socket: ServerConnection, command: Command) -> bool:
        return command["type"] == "send_message"

    peer.on_command = silent
    body = """
    const room = await (await veza.connect({ commandTimeoutMs: 50 })).join(ROOM);
    tell(await failure(room.send("hi", { timeoutMs: 120 })));
    const stop = new AbortController();
    const sending = failure(room.send("hi", { signal: stop.signal }));
    stop.abort();
    tell((await sending)[0]);
    """
    async with script(peer.url, body) as js:
        assert (await js.told())[:2] == ["CommandTimeout", "timeout"]
        assert await js.told() == "AbortError"
    tries = [command for command in peer.commands if command["type"] == "send_message"]
    assert len(tries) >= 2
    assert len({command["client_msg_id"] for command in tries[:2]}) == 1


async def test_an_aborted_wait_loses_no_event(peer: Peer) -> None:
    body = """
    const room = await (await veza.connect()).join(ROOM);
    const stop = new AbortController();
    const waiting = failure(room.next({ signal: stop.signal }));
    stop.abort();
    tell((await waiting)[0]);
    for await (const event of room) {
      tell(event.seq);
      break;
    }
    for await (const event of room) {
      tell(event.seq);
      break;
    }
    """
    async with script(peer.url, body) as js:
        assert await js.told() == "AbortError"
        await peer.say(ROOM, "1")
        await peer.say(ROOM, "2")
        assert [await js.told(), await js.told()] == [1, 2]


async def test_an_event_that_came_with_the_abort_is_not_lost(peer: Peer) -> None:
    body = """
    const { Buffer } = await inner("buffer.js");
    const buffer = new Buffer(4);
    const stop = new AbortController();
    const waiting = buffer.get(stop.signal);
    buffer.put("it");
    stop.abort();
    tell((await waiting).value);
    """
    async with script(peer.url, body) as js:
        assert await js.told() == "it"


def cursor_story(chance: Random) -> list[list[Any]]:
    """What may happen to a cursor: live events, pages, cuts, events that nobody could take."""
    story: list[list[Any]] = [["new", chance.choice([None, 0, 3])]]
    for _ in range(chance.randint(1, 12)):
        seq = chance.randint(1, 9)
        page = [chance.sample(range(1, 10), chance.randint(0, 4)), seq, chance.random() < 0.3, chance.choice([1, 1, 5])]
        story.append(chance.choice([["event", seq], ["missed", seq], ["suspend"], ["page", *page]]))
    return story


def cursor_outcome(story: list[list[Any]]) -> list[Any]:
    """What the cursor of the Python SDK makes of it."""
    cursor = RoomCursor(story[0][1])
    outcome: list[Any] = []
    for kind, *arguments in story[1:]:
        match kind:
            case "event":
                outcome.append(cursor.event(arguments[0]).value)
            case "missed":
                cursor.missed(arguments[0])
            case "suspend":
                cursor.suspend()
            case "page":
                fresh = cursor.page([(seq, seq) for seq in arguments[0]], *arguments[1:])
                outcome.append([[item[0], item[-1]] if isinstance(item, range) else item for item in fresh])
        outcome.append([cursor.last_seq, cursor.live])
    return outcome


async def test_the_cursor_decides_as_that_of_the_other_sdk(peer: Peer) -> None:
    body = """
    const { RoomCursor } = await inner("cursor.js");
    const outcome = ([[, lastSeq], ...story]) => {
      const cursor = new RoomCursor(lastSeq);
      return story.flatMap(([kind, ...args]) => {
        if (kind === "page") args[0] = args[0].map((seq) => ({ seq }));
        const given = cursor[kind](...args);
        const told = kind === "page" ? given.map((item) => item.seq ?? [item.from, item.to]) : given;
        return [...(given === undefined ? [] : [told]), [cursor.lastSeq, cursor.live]];
      });
    };
    tell(JSON.parse(await until()).map(outcome));
    """
    stories = [cursor_story(Random(seed)) for seed in range(500)]  # noqa: S311 - the same stories each time
    async with script(peer.url, body) as js:
        await js.go(stories)
        for story, outcome in zip(stories, await js.told(), strict=True):
            assert outcome == cursor_outcome(story), story


async def test_no_id_leads_out_of_its_place(peer: Peer) -> None:
    body = """
    const asked = [];
    const note = async (url) => {
      asked.push(url.pathname + url.search);
      return Response.json({ success: true, data: {} });
    };
    const spy = new sdk.Client("http://localhost/", { tokens, fetch: note });
    for (const id of ["", ".", "..", "../users/me", "a/b", "a?b=c", "a#b", "ż"]) await spy.conversations.get(id);
    await spy.moderation.lift("..", "..", "..");
    tell(asked);
    """
    ids = ["-", "-", "-", "..%2Fusers%2Fme", "a%2Fb", "a%3Fb%3Dc", "a%23b", "%C5%BC"]
    async with script(peer.url, body) as js:
        assert await js.told() == [
            *(f"/api/v1/conversations/{found}" for found in ids),
            "/api/v1/conversations/-/sanctions/-/-",
        ]


async def test_listeners_are_called_in_order_and_may_fail(peer: Peer) -> None:
    body = """
    const chat = await veza.connect();
    const room = await chat.join(ROOM);
    console.error = (text) => tell(text);
    const stop = room.listen(async (event) => {
      await new Promise((resolve) => setTimeout(resolve, 5));
      tell(event.seq);
      if (event.seq === 2) throw new Error("the author's");
      if (event.seq === 3) stop();
    });
    chat.listen(() => {}, (error) => tell(["end", error]));
    tell("listening");
    await until();
    tell((await room.next()).value.seq);
    """
    async with script(peer.url, body) as js:
        assert await js.told() == "listening"
        for number in range(4):
            await peer.say(ROOM, f"{number}")
        told = [await js.told() for _ in range(4)]
        assert told == [1, 2, "veza: a listener failed:", 3]
        await js.go()
        assert await js.told() == 4
        assert await js.told() == ["end", None]


async def test_what_retention_took_is_told(peer: Peer) -> None:
    for number in range(9):
        peer.append(ROOM, f"m{number}")

    def shape(page: dict[str, Any]) -> None:
        page["first_seq"] = 7
        page["events"] = [event for event in page["events"] if event["seq"] >= 7]

    peer.shape_page = shape
    body = """
    const room = await (await veza.connect()).join(ROOM, { lastSeq: 2 });
    tell((await take(room, 4)).map((event) => [event.type, event.fromSeq ?? null, event.seq]));
    tell([room.recovered, room.firstSeq, room.lastSeq]);
    """
    async with script(peer.url, body) as js:
        assert await js.told() == [["events_expired", 3, 6], *(["message", None, seq] for seq in (7, 8, 9))]
        assert await js.told() == [False, 7, 9]


async def test_a_server_that_contradicts_itself_ends_the_room(peer: Peer) -> None:
    peer.append(ROOM, "announced and never given")

    def shape(page: dict[str, Any]) -> None:
        page["events"] = []

    peer.shape_page = shape
    body = """
    const room = await (await veza.connect()).join(ROOM, { lastSeq: 0 });
    tell((await failure(room.next()))[0]);
    """
    async with script(peer.url, body) as js:
        assert await js.told() == "ProtocolError"


async def test_what_nobody_awaits_fails_in_silence(peer: Peer) -> None:
    body = """
    const chat = await veza.connect();
    const room = await chat.join(ROOM);
    room.send("x".repeat(70000));
    room.markRead(1);
    room.next();
    chat.ping();
    chat.join("another");
    veza.me();
    tell("done");
    await until();
    await chat.close();
    room.send("too late");
    """

    async def silent(socket: ServerConnection, command: Command) -> bool:
        return command["type"] in ("mark_read", "ping")

    peer.on_command = silent
    async with script(peer.url, body) as js:
        assert await js.told() == "done"
        await js.go()


async def test_presence_and_unknown_events(peer: Peer) -> None:
    body = """
    await veza.setPresence("busy");
    const chat = await veza.connect();
    const events = chat.events();
    const notices = veza.notifications.stream();
    tell("connected");
    tell((await events.next()).value);
    tell((await notices.next()).value);
    """
    async with script(peer.url, body) as js:
        assert await js.told() == "connected"
        await peer.until(lambda: any(command["type"] == "set_presence" for command in peer.commands))
        await peer.tell_all({"type": "viewer_count", "stream_id": "s", "count": 3})
        notice = {"type": "notification", "id": "n", "kind": "sale", "data": {"order_id": 7}, "created_at": "t"}
        for _ in range(2):
            await peer.tell_all(notice)
        assert await js.told() == {
            "type": "other",
            "kind": "viewer_count",
            "data": {"type": "viewer_count", "stream_id": "s", "count": 3},
        }
        told = await js.told()
        assert (told["createdAt"], told["data"]) == ("t", {"order_id": 7})
