"""Moderation, blocks, searches, pins and notifications, against the peers."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from chat_peer import Peer
from rest_peer import RestPeer, ok, refused

from veza.client import Banned, Client, Notification, RoomNotFound

BOB = {"id": "b", "username": "bob"}
WRITTEN = {"room_id": "r", "seq": 3, "id": "m", "sender": BOB, "content": "hi", "created_at": "2026-01-02T03:04:05Z"}


@pytest.fixture
async def server(peer: Peer) -> AsyncIterator[RestPeer]:
    async with RestPeer() as running:
        running.socket_port = int(peer.url.rpartition(":")[2])
        running.routes["GET chat/token"] = (200, ok({"token": "t", "expires_in": 300}))
        yield running


@pytest.fixture
async def veza(server: RestPeer) -> AsyncIterator[Client]:
    async with Client(server.url) as client:
        await client.login("ada@example.com", "Correct-Horse-9")
        yield client


def bodies(server: RestPeer, path: str) -> list[Any]:
    return [body for name, _, body in server.requests if name == path]


async def test_moderation_by_the_room_and_by_rest(server: RestPeer, veza: Client) -> None:
    asked = "POST /api/v1/conversations/r/sanctions"
    server.routes |= {
        "POST conversations/r/sanctions": lambda body, _: (201, ok({"id": "s", "seq": 8, **body})),
        "GET conversations/r/sanctions": (
            200,
            ok({"sanctions": [{"id": "s", "action": "ban", "user": BOB}], "total": 1}),
        ),
        "DELETE conversations/r/sanctions/b/mute": (200, ok({"seq": 9})),
        "PUT conversations/r/members/b": (200, ok({"seq": 10})),
    }
    async with veza.connect() as chat:
        room = await chat.join("r")
        warned = await room.warn("b", "language")
        assert (warned.action, warned.user_id, warned.seq) == ("warn", "b", 8)
        await room.mute("b", 600)
        await room.kick("b")
        await room.ban("b", reason="spam")
        assert bodies(server, asked) == [
            {"user_id": "b", "action": "warn", "reason": "language"},
            {"user_id": "b", "action": "mute", "duration_s": 600},
            {"user_id": "b", "action": "kick"},
            {"user_id": "b", "action": "ban", "reason": "spam"},
        ]
        assert [one.action for one in (await room.sanctions()).sanctions] == ["ban"]
        await room.lift("b", "mute")
        await room.set_role("b", "moderator")
        assert bodies(server, "PUT /api/v1/conversations/r/members/b") == [{"role": "moderator"}]
    server.routes["POST conversations/r/join"] = (403, refused("banned", "You are banned from this room."))
    with pytest.raises(Banned):
        await veza.conversations.join("r")


async def test_a_room_is_searched_and_shows_its_pins(server: RestPeer, veza: Client) -> None:
    def search(body: Any, query: dict[str, str]) -> tuple[int, Any]:
        assert query["q"] == "zażółć"
        first = "cursor" not in query
        page = {"messages": [WRITTEN], "next_cursor": "next" if first else None, "has_more": first}
        return 200, ok(page)

    server.routes |= {
        "GET conversations/r/search": search,
        "GET conversations/r/pins": (200, ok({"messages": [{**WRITTEN, "pinned": True}]})),
        "GET conversations/x/pins": (404, refused("room_not_found", "There is no such room.")),
        "PUT conversations/r": lambda body, _: (200, ok({"id": "r", "type": "group", **body})),
    }
    async with veza.connect() as chat:
        room = await chat.join("r")
        page = await room.search("zażółć", limit=1)
        assert [one.content for one in page.messages] == ["hi"]
        assert not (await room.search("zażółć", cursor=page.next_cursor)).has_more
        assert [one.pinned for one in await room.pins()] == [True]
    assert (await veza.conversations.update("r", retention_days=30)).type == "group"
    assert bodies(server, "PUT /api/v1/conversations/r") == [{"retention_days": 30}]
    with pytest.raises(RoomNotFound):
        await veza.conversations.pins("x")


async def test_people_are_blocked_and_listed(server: RestPeer, veza: Client) -> None:
    server.routes |= {
        "POST users/b/block": (200, ok({})),
        "DELETE users/b/block": (200, ok({})),
        "GET users/me/blocks": (200, ok({"blocks": [{"user": BOB, "created_at": "2026-01-02T03:04:05Z"}], "total": 1})),
    }
    await veza.block("b")
    assert [one.user.username for one in (await veza.blocks()).blocks] == ["bob"]
    await veza.unblock("b")


async def test_notifications_are_listed_and_marked(server: RestPeer, veza: Client) -> None:
    told = {"id": "n", "kind": "mention", "data": {"room_id": "r"}, "created_at": "2026-01-02T03:04:05Z"}
    server.routes |= {
        "GET notifications": lambda _, query: (200, ok({"notifications": [told], "unread_count": len(query)})),
        "POST notifications/read": (200, ok({"marked": 4, "unread_count": 0})),
        "GET notifications/preferences": (200, ok({"mention": True, "like": True})),
        "PUT notifications/preferences": lambda body, _: (
            200,
            ok({"mention": True, **body}),
        ),
    }
    page = await veza.notifications.list()
    assert page.notifications[0].data == {"room_id": "r"}
    assert (await veza.notifications.list(5, "c", unread=True)).unread_count == 3
    await veza.notifications.mark_read(["n"])
    assert (await veza.notifications.mark_read()).marked == 4
    assert bodies(server, "POST /api/v1/notifications/read") == [{"ids": ["n"]}, {"all": True}]
    assert (await veza.notifications.preferences())["like"]
    assert await veza.notifications.set_preferences({"like": False}) == {"mention": True, "like": False}


def pushed(number: int) -> dict[str, Any]:
    return {
        "type": "notification",
        "id": f"n{number}",
        "kind": "mention",
        "data": {},
        "created_at": "2026-01-02T03:04:05Z",
    }


async def test_a_notification_is_told_once_whatever_the_number_of_sockets(server: RestPeer, peer: Peer) -> None:
    called: list[str] = []
    done = asyncio.Event()

    def on_notification(notification: Notification) -> None:
        called.append(notification.id)
        if notification.id == "n2":
            done.set()

    async with Client(server.url, on_notification=on_notification) as veza:
        await veza.login("ada@example.com", "Correct-Horse-9")
        stream = veza.notifications.stream()
        async with veza.connect() as one, veza.connect() as two:
            events = two.events()
            for number in (1, 2):
                await peer.tell_all(pushed(number))
            assert [(await anext(stream)).id for _ in range(2)] == ["n1", "n2"]
            assert [event.id async for event in take_notifications(events, 2)] == ["n1", "n2"]
            await one.ping()
            async with asyncio.timeout(10):
                await done.wait()
        await peer.until(lambda: not peer.sockets)
    assert called == ["n1", "n2"]
    with pytest.raises(StopAsyncIteration):
        await anext(stream)


async def take_notifications(events: Any, count: int) -> AsyncIterator[Notification]:
    found = 0
    async for event in events:
        if isinstance(event, Notification):
            yield event
            found += 1
            if found == count:
                return


async def test_a_callback_that_fails_ends_nothing(server: RestPeer, peer: Peer) -> None:
    failures: list[Any] = []

    def fail(notification: Notification) -> None:
        raise ValueError(notification.id)

    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: failures.append(context["exception"]))
    try:
        async with Client(server.url, on_notification=fail) as veza:
            await veza.login("ada@example.com", "Correct-Horse-9")
            async with veza.connect() as chat:
                await peer.tell_all(pushed(1))
                await chat.ping()
                await chat.ping()
                assert chat.connected
    finally:
        loop.set_exception_handler(None)
    assert [str(one) for one in failures] == ["n1"]


async def test_presence_is_for_all_sockets_and_those_to_come(peer: Peer, veza: Client) -> None:
    def told() -> list[str]:
        return [command["status"] for command in peer.commands if command["type"] == "set_presence"]

    async with veza.connect(), veza.connect():
        await veza.set_presence("busy")
        assert told() == ["busy", "busy"]
        async with veza.connect():
            await peer.until(lambda: told() == ["busy"] * 3)
