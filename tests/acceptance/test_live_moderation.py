"""Order in a stream's chat: moderators, deleted messages, mutes and bans; by REST, and at once on open sockets."""

from typing import Any

import pytest
from system.people import People, Person
from system.running import data_of, refused
from system.sockets import Frame, Refused, Socket
from system.waiting import until

LIVE = "live/streams"
UNKNOWN = "00000000-0000-7000-8000-000000000000"


class Chat:
    """The chat of one stream, as REST and sockets have it."""

    def __init__(self, owner: Person, stream_id: str) -> None:
        self.owner = owner
        self.id = stream_id
        self.path = f"{LIVE}/{stream_id}"

    async def appoint(self, person: Person) -> Any:
        return await self.owner.call("PUT", f"{self.path}/moderators/{person.id}")

    async def sanction(self, by: Person, user: Person, action: str, **more: Any) -> Any:
        body = {"user_id": user.id, "action": action, **more}
        return data_of(await by.ask("POST", f"{self.path}/sanctions", json=body), 201)

    async def lift(self, by: Person, user: Person, action: str) -> Any:
        return await by.call("DELETE", f"{self.path}/sanctions/{user.id}/{action}")

    async def sanctions(self, **query: Any) -> Any:
        return await self.owner.call("GET", f"{self.path}/sanctions", params=query)

    async def watched(self, person: Person) -> Socket:
        socket = await person.connect()
        await self.watch(socket)
        return socket

    async def watch(self, socket: Socket) -> Any:
        return await socket.call("watch_stream", stream_id=self.id)

    async def say(self, socket: Socket, content: str) -> str:
        found: str = (await socket.call("stream_message", stream_id=self.id, content=content))["message_id"]
        return found

    async def refusal(self, socket: Socket, kind: str = "stream_message") -> Frame:
        """What somebody is told who may not."""
        with pytest.raises(Refused) as caught:
            await socket.call(kind, stream_id=self.id, **({"content": "x"} if kind == "stream_message" else {}))
        return caught.value.error


async def opened(owner: Person, **fields: Any) -> Chat:
    return Chat(owner, (await owner.call("POST", LIVE, json={"title": "Aria", **fields}))["id"])


@pytest.fixture
async def chat(ada: Person) -> Chat:
    return await opened(ada)


async def test_a_moderator_takes_a_message_away(chat: Chat, ada: Person, bob: Person, eve: Person) -> None:
    async with await chat.watched(ada) as streamer, await chat.watched(eve) as viewer:
        rude, fine = await chat.say(viewer, "rude"), await chat.say(viewer, "fine")
        path = f"{chat.path}/messages/{rude}"
        refused(await bob.ask("DELETE", path), 403, "permission_denied")
        assert await chat.appoint(bob) == {"user_id": bob.id, "is_moderator": True}
        assert await bob.call("DELETE", path) == {"id": rude, "deleted": True}
        for socket in (streamer, viewer):
            await socket.event("stream_message_deleted", stream_id=chat.id, message_id=rude)
        # Whoever has not heard of it asks again.
        assert await bob.call("DELETE", path) == {"id": rude, "deleted": True}
        refused(await bob.ask("DELETE", f"{chat.path}/messages/{UNKNOWN}"), 404, "message_not_found")
        assert [each["id"] for each in (await chat.watch(viewer))["messages"]] == [fine]
        kept = (await eve.call("GET", f"{chat.path}/messages", params={"order": "oldest"}))["messages"]
        assert [(each["id"], each["content"]) for each in kept] == [(rude, None), (fine, "fine")]
        assert kept[0]["deleted_at"] is not None
        # What one has said oneself needs nobody's leave.
        await eve.call("DELETE", f"{chat.path}/messages/{fine}")
        await streamer.event("stream_message_deleted", message_id=fine)


async def test_a_mute_holds_until_it_is_lifted(chat: Chat, bob: Person, eve: Person) -> None:
    await chat.appoint(bob)
    async with await chat.watched(eve) as viewer, await chat.watched(bob) as other:
        made = await chat.sanction(bob, eve, "mute", duration_s=3600, reason="too loud")
        assert (made["user_id"], made["action"]) == (eve.id, "mute")
        error = await chat.refusal(viewer)
        assert error["code"] == "MUTED"
        assert made["until"] in error["message"]
        # Who is muted reads on.
        await chat.say(other, "quiet now")
        await viewer.event("stream_message", content="quiet now")
        [listed] = (await chat.sanctions())["sanctions"]
        assert listed == {
            "id": made["id"],
            "user": {"id": eve.id, "username": eve.username},
            "action": "mute",
            "reason": "too loud",
            "by": {"id": bob.id, "username": bob.username},
            "created_at": listed["created_at"],
            "until": made["until"],
            "lifted_at": None,
            "active": True,
        }
        assert await chat.lift(bob, eve, "mute") == {"user_id": eve.id, "action": "mute", "lifted": True}
        await chat.say(viewer, "thank you")
        await other.event("stream_message", content="thank you")
    refused(await bob.ask("DELETE", f"{chat.path}/sanctions/{eve.id}/mute"), 404, "not_found")
    assert await chat.sanctions() == {"sanctions": [], "total": 0, "next_cursor": None, "has_more": False}
    [ended] = (await chat.sanctions(include_ended=True))["sanctions"]
    assert (ended["id"], ended["active"]) == (made["id"], False)
    assert ended["lifted_at"] is not None


async def test_who_is_banned_is_told_nothing_more(chat: Chat, ada: Person, bob: Person, eve: Person) -> None:
    await chat.appoint(bob)
    async with await chat.watched(eve) as viewer, await chat.watched(ada) as streamer:
        made = await chat.sanction(bob, eve, "ban")
        assert made["until"] is None
        await viewer.event("stream_left", stream_id=chat.id, reason="banned")
        told = await viewer.event("notification")
        assert told["kind"] == "moderation"
        assert told["data"] == {"stream_id": chat.id, "title": "Aria", "action": "ban", "until": None, "reason": ""}
        assert (await chat.refusal(viewer))["code"] == "BANNED"
        assert (await chat.refusal(viewer, "watch_stream"))["code"] == "BANNED"
        unheard = await chat.say(streamer, "among us")
        await streamer.event("stream_message", id=unheard)
        await viewer.quiet()
        assert not [frame for frame in viewer.frames if frame["type"] == "stream_message"]
        await chat.lift(bob, eve, "ban")
        await until(lambda: may_watch(chat, viewer), "the gateway to hear that the ban was lifted")
        heard = await chat.say(streamer, "welcome back")
        await viewer.event("stream_message", id=heard)
        assert not [frame for frame in viewer.frames if frame.get("id") == unheard and frame["type"] != "reply"]


async def may_watch(chat: Chat, socket: Socket) -> bool:
    try:
        await chat.watch(socket)
    except Refused as refusal:
        assert refusal.code == "BANNED"  # noqa: PT017 - anything else is a failure
        return False
    return True


async def may_write(chat: Chat, socket: Socket) -> bool:
    try:
        await chat.say(socket, "may I?")
    except Refused as refusal:
        assert refusal.code == "MUTED"  # noqa: PT017 - anything else is a failure
        return False
    return True


async def test_what_is_for_a_while_ends_by_itself(chat: Chat, ada: Person, bob: Person, eve: Person) -> None:
    # Others watch by the same gateways: nobody asks the shard anew for who comes back.
    async with (
        await chat.watched(ada),
        await chat.watched(ada),
        await chat.watched(bob) as of_bob,
        await chat.watched(eve) as of_eve,
    ):
        await chat.sanction(ada, bob, "mute", duration_s=2)
        assert not await may_write(chat, of_bob)
        await chat.sanction(ada, eve, "ban", duration_s=2)
        assert not await may_watch(chat, of_eve)
        await until(lambda: may_write(chat, of_bob), "the mute to end")
        await until(lambda: may_watch(chat, of_eve), "the ban to end")
        heard = await chat.say(of_bob, "both are back")
        await of_eve.event("stream_message", id=heard)
    assert (await chat.sanctions())["sanctions"] == []
    ended = (await chat.sanctions(include_ended=True))["sanctions"]
    assert [(each["user"]["id"], each["active"], each["lifted_at"]) for each in ended] == [
        (eve.id, False, None),
        (bob.id, False, None),
    ]


async def test_who_may_do_what(people: People, chat: Chat, ada: Person, bob: Person, eve: Person) -> None:
    admin, another = await people.administrator(), await people.register()
    await chat.appoint(bob)
    await chat.appoint(another)
    sanctions, moderators = f"{chat.path}/sanctions", f"{chat.path}/moderators"
    # The owner by nobody, oneself by nobody, a moderator by the owner and administrators.
    for by, user in ((bob, ada), (admin, ada), (ada, ada), (bob, bob), (bob, another)):
        body = {"user_id": user.id, "action": "mute"}
        refused(await by.ask("POST", sanctions, json=body), 403, "permission_denied")
    for by in (ada, admin):
        await chat.sanction(by, bob, "mute")
        await chat.lift(by, bob, "mute")
    # Only the owner appoints.
    for by in (bob, admin):
        for method in ("PUT", "DELETE"):
            refused(await by.ask(method, f"{moderators}/{eve.id}"), 403, "permission_denied")
    refused(await ada.ask("PUT", f"{moderators}/{ada.id}"), 403, "permission_denied")
    # A word that names no sanction is a path that names nothing.
    refused(await ada.ask("DELETE", f"{sanctions}/{bob.id}/hug"), 404)
    for wrong in (
        {"user_id": eve.id, "action": "kick"},
        {"user_id": eve.id, "action": "mute", "duration_s": 0},
        {"user_id": eve.id, "action": "mute", "reason": "x" * 501},
        {"action": "mute"},
    ):
        refused(await ada.ask("POST", sanctions, json=wrong), 400, "invalid_argument")
    for method, path in (
        ("PUT", f"{moderators}/{UNKNOWN}"),
        ("DELETE", f"{moderators}/{UNKNOWN}"),
        ("DELETE", f"{sanctions}/{UNKNOWN}/mute"),
    ):
        refused(await ada.ask(method, path), 404, "user_not_found")
    body = {"user_id": UNKNOWN, "action": "mute"}
    refused(await ada.ask("POST", sanctions, json=body), 404, "user_not_found")


@pytest.mark.parametrize(("private", "status", "code"), [(False, 403, "permission_denied"), (True, 404, None)])
async def test_a_stranger_is_refused(
    ada: Person, bob: Person, eve: Person, private: bool, status: int, code: str | None
) -> None:
    chat = await opened(ada, is_private=private)
    async with await chat.watched(ada) as streamer:
        message_id = await chat.say(streamer, "mine")
    await chat.sanction(ada, bob, "mute")
    await chat.appoint(bob)
    body = {"user_id": bob.id, "action": "ban"}
    # Whoever was appointed does not see a private one either.
    for stranger in (eve, bob) if private else (eve,):
        for method, path, json in (
            ("DELETE", f"messages/{message_id}", None),
            ("GET", "moderators", None),
            ("PUT", f"moderators/{eve.id}", None),
            ("DELETE", f"moderators/{bob.id}", None),
            ("PUT", f"moderators/{UNKNOWN}", None),
            ("GET", "sanctions", None),
            ("POST", "sanctions", {**body, "user_id": eve.id if stranger is bob else bob.id}),
            ("DELETE", f"sanctions/{bob.id}/mute", None),
        ):
            answer = await stranger.ask(method, f"{chat.path}/{path}", json=json)
            if UNKNOWN in path and not private:
                refused(answer, 404, "user_not_found")
            else:
                refused(answer, status, code or "stream_not_found")
    [kept] = (await ada.call("GET", f"{chat.path}/messages"))["messages"]
    assert kept["content"] == "mine"
    assert [each["active"] for each in (await chat.sanctions())["sanctions"]] == [True]
    assert (await ada.call("GET", f"{chat.path}/moderators"))["total"] == 1


async def test_an_administrator_keeps_order_everywhere(people: People, ada: Person, bob: Person) -> None:
    admin, chat = await people.administrator(), await opened(ada, is_private=True)
    async with await chat.watched(ada) as streamer:
        message_id = await chat.say(streamer, "rude")
        await admin.call("DELETE", f"{chat.path}/messages/{message_id}")
        await streamer.event("stream_message_deleted", message_id=message_id)
    await chat.sanction(admin, bob, "ban")
    assert (await admin.call("GET", f"{chat.path}/sanctions"))["total"] == 1
    assert (await admin.call("GET", f"{chat.path}/moderators"))["total"] == 0


async def test_who_is_no_moderator_any_more(chat: Chat, ada: Person, bob: Person, eve: Person) -> None:
    for _ in range(2):
        await chat.appoint(bob)
    [listed] = (await bob.call("GET", f"{chat.path}/moderators"))["moderators"]
    assert listed["user"] == {"id": bob.id, "username": bob.username}
    for _ in range(2):
        found = await ada.call("DELETE", f"{chat.path}/moderators/{bob.id}")
        assert found == {"user_id": bob.id, "is_moderator": False}
    for path in ("moderators", "sanctions"):
        refused(await bob.ask("GET", f"{chat.path}/{path}"), 403, "permission_denied")
    body = {"user_id": eve.id, "action": "mute"}
    refused(await bob.ask("POST", f"{chat.path}/sanctions", json=body), 403, "permission_denied")


async def test_the_lists_have_pages(people: People, chat: Chat, ada: Person) -> None:
    crowd = [await people.register() for _ in range(5)]
    for person in crowd:
        await chat.sanction(ada, person, "mute")
        await chat.appoint(person)
    newest_first = [person.id for person in reversed(crowd)]
    path = f"{chat.path}/moderators"
    pages = [await ada.call("GET", path, params={"limit": 2, "offset": offset}) for offset in (0, 2, 4)]
    assert [page["total"] for page in pages] == [5, 5, 5]
    assert [each["user"]["id"] for page in pages for each in page["moderators"]] == newest_first
    found: list[str] = []
    page = await chat.sanctions(limit=2)
    # What is imposed meanwhile moves nothing.
    await chat.sanction(ada, crowd[0], "ban")
    while True:
        found.extend(each["user"]["id"] for each in page["sanctions"])
        if not page["has_more"]:
            break
        page = await chat.sanctions(limit=2, cursor=page["next_cursor"])
    assert found == newest_first
    assert (page["total"], page["next_cursor"]) == (6, None)
    for query in ({"cursor": "x"}, {"limit": 0}, {"limit": 101}, {"include_ended": "perhaps"}):
        refused(await ada.ask("GET", f"{chat.path}/sanctions", params=query), 400, "invalid_argument")


async def test_the_longest_of_several_mutes_stands(chat: Chat, bob: Person, eve: Person) -> None:
    await chat.appoint(bob)
    await chat.sanction(bob, eve, "mute", duration_s=3600)
    longer = await chat.sanction(bob, eve, "mute", duration_s=7200)
    await chat.sanction(bob, eve, "mute", duration_s=60)
    async with await chat.watched(eve) as viewer:
        assert longer["until"] in (await chat.refusal(viewer))["message"]
    assert (await chat.sanctions())["total"] == 3
    await chat.lift(bob, eve, "mute")
    assert (await chat.sanctions())["total"] == 0
