"""Roles, sanctions and blocks: by REST, and at once on open sockets."""

import pytest
from system.people import People, Person
from system.sockets import Refused, Socket


async def joined(person: Person, room_id: str) -> Socket:
    socket = await person.connect()
    await socket.call("join_room", room_id=room_id)
    return socket


async def write_is_refused(socket: Socket, room_id: str) -> str:
    with pytest.raises(Refused) as caught:
        await socket.send(room_id, "may I?")
    return caught.value.code


async def sanction(by: Person, room_id: str, user: Person, action: str, **more: object) -> dict[str, object]:
    answer = await by.ask(
        "POST", f"conversations/{room_id}/sanctions", json={"user_id": user.id, "action": action, **more}
    )
    assert answer.status_code == 201, answer.text
    found: dict[str, object] = answer.json()["data"]
    return found


async def test_a_moderator_mutes_and_lifts(ada: Person, bob: Person, eve: Person) -> None:
    room_id = await ada.room(bob, eve)
    await ada.call("PUT", f"conversations/{room_id}/members/{bob.id}", json={"role": "moderator"})
    async with await joined(eve, room_id) as of_eve:
        await sanction(bob, room_id, eve, "mute", duration_s=3600, reason="too loud")
        told = await of_eve.event("room_updated", seq=2)
        assert told["member"]["user"]["id"] == eve.id
        assert told["member"]["muted"] is True
        assert (await of_eve.event("notification"))["data"]["reason"] == "too loud"
        assert await write_is_refused(of_eve, room_id) == "MUTED"
        by_rest = await eve.ask("POST", f"conversations/{room_id}/messages", json={"content": "may I?"})
        assert (by_rest.status_code, by_rest.json()["code"]) == (403, "muted")
        await bob.call("DELETE", f"conversations/{room_id}/sanctions/{eve.id}/mute")
        await of_eve.send(room_id, "thank you")
        listed = await bob.call("GET", f"conversations/{room_id}/sanctions")
        assert listed["total"] == 1
        assert listed["sanctions"][0]["active"] is False
        assert listed["sanctions"][0]["by"]["id"] == bob.id


async def test_kick_and_ban_take_sockets_out(ada: Person, bob: Person) -> None:
    room_id = (await ada.call("POST", "conversations", json={"type": "public", "name": "Open stage"}))["id"]
    await bob.call("POST", f"conversations/{room_id}/join")
    async with await joined(bob, room_id) as of_bob, await joined(ada, room_id) as of_ada:
        await sanction(ada, room_id, bob, "kick")
        assert (await of_bob.event("member_left"))["reason"] == "kicked"
        await ada.post(room_id, "without you")
        await of_ada.event("message")
        await of_bob.quiet()
        assert not [frame for frame in of_bob.frames if frame["type"] == "message"]
        await bob.call("POST", f"conversations/{room_id}/join")
        await of_bob.call("join_room", room_id=room_id)
        await sanction(ada, room_id, bob, "ban")
        assert (await of_bob.event("member_left", reason="banned"))["user"]["id"] == bob.id
        back = await bob.ask("POST", f"conversations/{room_id}/join")
        assert (back.status_code, back.json()["code"]) == (403, "banned")
        await ada.call("DELETE", f"conversations/{room_id}/sanctions/{bob.id}/ban")
        await bob.call("POST", f"conversations/{room_id}/join")


async def test_three_warnings_mute(ada: Person, bob: Person) -> None:
    room_id = await ada.room(bob)
    async with await joined(bob, room_id) as of_bob:
        for _ in range(2):
            await sanction(ada, room_id, bob, "warn")
        await of_bob.send(room_id, "still here")
        await sanction(ada, room_id, bob, "warn")
        assert await write_is_refused(of_bob, room_id) == "MUTED"


async def test_who_may_sanction(people: People, ada: Person, bob: Person, eve: Person) -> None:
    room_id = await ada.room(bob)
    path = f"conversations/{room_id}/sanctions"
    for person, user, status in ((bob, ada, 403), (bob, bob, 403), (eve, bob, 404), (ada, eve, 403)):
        answer = await person.ask("POST", path, json={"user_id": user.id, "action": "mute"})
        assert answer.status_code == status, answer.text
    assert (await bob.ask("GET", path)).status_code == 403
    assert (await eve.ask("GET", path)).status_code == 404
    assert (await eve.ask("DELETE", f"{path}/{bob.id}/mute")).status_code == 404
    assert (
        await eve.ask("PUT", f"conversations/{room_id}/members/{bob.id}", json={"role": "moderator"})
    ).status_code == 404
    assert (
        await bob.ask("PUT", f"conversations/{room_id}/members/{ada.id}", json={"role": "member"})
    ).status_code == 403
    for body in ({"user_id": bob.id, "action": "hug"}, {"user_id": bob.id, "action": "mute", "duration_s": 0}):
        assert (await ada.ask("POST", path, json=body)).status_code == 400
    administrator = await people.administrator()
    await sanction(administrator, room_id, bob, "mute")
    assert (await administrator.call("GET", path))["total"] == 1


async def test_whom_one_blocks_cannot_write_to_them(ada: Person, bob: Person) -> None:
    room_id = await ada.room(bob, kind="direct")
    async with await joined(bob, room_id) as of_bob:
        await of_bob.send(room_id, "hello")
        await ada.call("POST", f"users/{bob.id}/block")
        assert await write_is_refused(of_bob, room_id) == "USER_BLOCKED"
        by_rest = await bob.ask("POST", f"conversations/{room_id}/messages", json={"content": "hello?"})
        assert (by_rest.status_code, by_rest.json()["code"]) == (403, "user_blocked")
        await ada.call("DELETE", f"users/{bob.id}/block")
        await of_bob.send(room_id, "again")


async def test_a_blocked_person_opens_no_direct_room(ada: Person, eve: Person) -> None:
    await ada.call("POST", f"users/{eve.id}/block")
    answer = await eve.ask("POST", "conversations", json={"type": "direct", "member_ids": [ada.id]})
    assert (answer.status_code, answer.json()["code"]) == (403, "user_blocked")


async def test_the_owner_says_how_long_messages_are_kept(ada: Person, bob: Person) -> None:
    room_id = await ada.room(bob)
    async with await joined(bob, room_id) as of_bob:
        room = await ada.call("PUT", f"conversations/{room_id}", json={"retention_days": 30})
        assert (room["retention_days"], room["first_seq"], room["name"]) == (30, 1, "A room")
        assert (await of_bob.event("room_updated"))["retention_days"] == 30
        assert (await ada.call("PUT", f"conversations/{room_id}", json={"retention_days": 0}))["retention_days"] is None
        assert (await bob.ask("PUT", f"conversations/{room_id}", json={"retention_days": 1})).status_code == 403
        assert (await ada.ask("PUT", f"conversations/{room_id}", json={"retention_days": -1})).status_code == 400
