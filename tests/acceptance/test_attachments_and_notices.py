"""What reaches people beside the messages: files with them, notifications of them, and nothing of whom they blocked."""

import hashlib
from typing import Any

import pytest
from system.people import Person
from system.running import Running, refused
from system.sockets import Refused


async def upload(person: Person, room: str, content: bytes, name: str = "take.flac") -> dict[str, Any]:
    found: dict[str, Any] = await person.call(
        "POST", f"conversations/{room}/attachments", files={"file": (name, content)}
    )
    return found


# -- attachments -------------------------------------------------------------------------------------------------


async def test_a_file_travels_with_its_message_and_goes_with_it(ada: Person, bob: Person, eve: Person) -> None:
    room = await ada.room(bob)
    content = b"fLaC" + bytes(6 * 1024 * 1024)
    made = await upload(ada, room, content)
    assert made["sha256"] == hashlib.sha256(content).hexdigest()
    async with await bob.connect() as socket, await ada.connect() as sender:
        await socket.call("join_room", room_id=room)
        sent = await sender.send(room, "Listen", attachments=[made["id"]])
        event = await socket.event("message", id=sent["message_id"])
        shown = {field: made[field] for field in ("id", "name", "mime_type", "size_bytes")}
        assert event["attachments"] == [shown]
        assert (await bob.history(room))[-1]["attachments"] == [shown]
        path = f"conversations/{room}/attachments/{made['id']}"
        assert (await bob.ask("GET", path)).content == content
        refused(await eve.ask("GET", path), 404, "room_not_found")
        await sender.call("delete_message", room_id=room, message_id=sent["message_id"])
        refused(await bob.ask("GET", path), 404, "attachment_not_found")
        assert (await bob.history(room))[-1]["attachments"] == []


async def test_only_ones_own_unused_files_of_the_room_can_be_sent(ada: Person, bob: Person) -> None:
    room, other = await ada.room(bob), await ada.room(bob)
    own, elsewhere, bobs = [
        (await upload(who, where, b"content"))["id"] for who, where in ((ada, room), (ada, other), (bob, room))
    ]
    async with await ada.connect() as socket:
        for wrong in ([elsewhere], [bobs], [own, bobs], ["00000000-0000-7000-8000-000000000000"], [own] * 11):
            with pytest.raises(Refused) as caught:
                await socket.send(room, "Look", attachments=wrong)
            assert caught.value.code == "INVALID_ARGUMENT"
        await socket.send(room, "Look", attachments=[own])
        with pytest.raises(Refused):
            await socket.send(room, "Again", attachments=[own])


# -- notifications -----------------------------------------------------------------------------------------------


async def test_a_mention_reaches_every_socket_and_rest(ada: Person, bob: Person) -> None:
    room = await ada.room(bob)
    async with await bob.connect() as one, await bob.connect() as other:
        sent = await ada.post(room, f"Ask @{bob.username} about it")
        seen = [await socket.event("notification") for socket in (one, other)]
    assert seen[0] == seen[1]
    assert set(seen[0]) == {"type", "id", "kind", "data", "created_at"}
    assert seen[0]["kind"] == "mention"
    assert seen[0]["data"]["message_id"] == sent["message_id"]
    page = await bob.call("GET", "notifications")
    assert (page["total"], page["unread_count"]) == (1, 1)
    (stored,) = page["notifications"]
    assert {name: stored[name] for name in ("id", "kind", "data", "created_at")} == {
        name: seen[0][name] for name in ("id", "kind", "data", "created_at")
    }
    assert (await bob.call("POST", "notifications/read", json={"ids": [stored["id"]]}))["unread_count"] == 0
    assert (await ada.call("GET", "notifications"))["total"] == 0


async def test_what_was_turned_off_or_comes_from_the_blocked_is_not_heard(ada: Person, bob: Person) -> None:
    room = await ada.room(bob)
    await bob.call("PUT", "notifications/preferences", json={"mention": False})
    await ada.post(room, f"@{bob.username}")
    await bob.call("PUT", "notifications/preferences", json={"mention": True})
    await bob.call("POST", f"users/{ada.id}/block")
    await ada.post(room, f"@{bob.username}")
    await bob.call("DELETE", f"users/{ada.id}/block")
    last = await ada.post(room, f"@{bob.username}")
    page = await bob.call("GET", "notifications")
    assert [notice["data"]["message_id"] for notice in page["notifications"]] == [last["message_id"]]


# -- blocks ------------------------------------------------------------------------------------------------------


async def test_who_is_blocked_does_not_write_to_the_blocker(ada: Person, bob: Person) -> None:
    room = await ada.room(bob, kind="direct")
    await bob.post(room, "Hello")
    await ada.call("POST", f"users/{bob.id}/block")
    refused(await bob.ask("POST", f"conversations/{room}/messages", json={"content": "Why?"}), 403, "user_blocked")
    async with await bob.connect() as socket:
        with pytest.raises(Refused) as caught:
            await socket.send(room, "Why?")
    assert caught.value.code == "USER_BLOCKED"
    body = {"type": "direct", "member_ids": [ada.id]}
    refused(await bob.ask("POST", "conversations", json=body), 403, "user_blocked")
    await ada.call("DELETE", f"users/{bob.id}/block")
    await bob.post(room, "Hello again")
    assert [message["content"] for message in await ada.history(room)] == ["Hello", "Hello again"]


async def test_a_block_before_the_room(ada: Person, bob: Person, system: Running) -> None:
    await ada.call("POST", f"users/{bob.id}/block")
    body = {"type": "direct", "member_ids": [ada.id]}
    refused(await bob.ask("POST", "conversations", json=body), 403, "user_blocked")
    assert (await ada.call("GET", "conversations"))["total"] == 0
