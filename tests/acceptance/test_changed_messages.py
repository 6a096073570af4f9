"""What happens to messages after they were sent, over the socket, as everyone in the room sees it."""

import pytest
from system.people import People, Person
from system.sockets import Refused, Socket


async def joined(person: Person, room_id: str) -> Socket:
    socket = await person.connect()
    await socket.call("join_room", room_id=room_id)
    return socket


async def refused(socket: Socket, kind: str, **arguments: object) -> str:
    with pytest.raises(Refused) as caught:
        await socket.call(kind, **arguments)
    return caught.value.code


async def test_edit_react_pin_delete_reach_everyone_and_last(ada: Person, bob: Person) -> None:
    room_id = await ada.room(bob)
    async with await joined(ada, room_id) as of_ada, await joined(bob, room_id) as of_bob:
        sent = await of_ada.send(room_id, "frist")
        message = {"room_id": room_id, "message_id": sent["message_id"]}
        seqs = [
            (await of_ada.call("edit_message", **message, content="first"))["seq"],
            (await of_bob.call("add_reaction", **message, emoji="🎸"))["seq"],
            (await of_ada.call("pin_message", **message))["seq"],
        ]
        assert seqs == [2, 3, 4]
        edited = await of_bob.event("message_edited", seq=2)
        assert (edited["message_id"], edited["content"], edited["sender"]["id"]) == (
            sent["message_id"],
            "first",
            ada.id,
        )
        assert (await of_ada.event("reaction_added"))["emoji"] == "🎸"
        assert (await of_bob.event("message_pinned"))["message_id"] == sent["message_id"]
        [shown] = (await of_bob.call("get_history", room_id=room_id))["messages"]
        assert shown["content"] == "first"
        assert shown["edited_at"] == edited["edited_at"]
        assert shown["reactions"] == [{"emoji": "🎸", "count": 1, "me": True}]
        assert shown["pinned"] is True
        assert (await bob.call("GET", f"conversations/{room_id}/pins"))["total"] == 1
        await of_bob.call("remove_reaction", **message, emoji="🎸")
        await of_ada.call("unpin_message", **message)
        await of_ada.call("delete_message", **message)
        await of_bob.through(room_id, 7)
        # Whoever comes later is shown nothing of it, neither by history nor by recovery.
        replay = (await of_bob.call("join_room", room_id=room_id, last_seq=0))["events"]
        assert [event["seq"] for event in replay] == list(range(1, 8))
        assert [event.get("content") for event in replay] == [None] * 7
        assert replay[0]["deleted_at"]
        [shown] = (await of_bob.call("get_history", room_id=room_id))["messages"]
        assert (shown["content"], shown["pinned"], shown["reactions"]) == (None, False, [])


async def test_who_may_not(ada: Person, bob: Person, eve: Person) -> None:
    room_id, other_room = await ada.room(bob), await ada.room(bob)
    async with (
        await joined(ada, room_id) as of_ada,
        await joined(bob, room_id) as of_bob,
        await eve.connect() as of_eve,
    ):
        sent = await of_ada.send(room_id, "mine")
        message = {"room_id": room_id, "message_id": sent["message_id"]}
        assert await refused(of_bob, "edit_message", **message, content="yours") == "PERMISSION_DENIED"
        assert await refused(of_bob, "delete_message", **message) == "PERMISSION_DENIED"
        assert await refused(of_bob, "pin_message", **message) == "PERMISSION_DENIED"
        for kind, more in (
            ("edit_message", {"content": "x"}),
            ("delete_message", {}),
            ("add_reaction", {"emoji": "🎸"}),
            ("remove_reaction", {"emoji": "🎸"}),
            ("pin_message", {}),
            ("unpin_message", {}),
        ):
            assert await refused(of_eve, kind, **message, **more) == "ROOM_NOT_FOUND"
            elsewhere = {**message, "room_id": other_room}
            assert await refused(of_ada, kind, **elsewhere, **more) == "MESSAGE_NOT_FOUND"
        assert await refused(of_eve, "get_thread", room_id=room_id, parent_id=sent["message_id"]) == "ROOM_NOT_FOUND"
        assert await refused(of_ada, "get_thread", room_id=other_room, parent_id=sent["message_id"]) == (
            "MESSAGE_NOT_FOUND"
        )
        assert await refused(of_ada, "edit_message", **message, content="x" * 4001) == "MESSAGE_TOO_LONG"
        assert await refused(of_ada, "add_reaction", **message, emoji="two words") == "INVALID_ARGUMENT"
        assert [event["type"] for event in of_ada.events(room_id)] == ["message"]


async def test_an_administrator_deletes_anywhere(people: People, ada: Person, bob: Person) -> None:
    room_id = await ada.room(bob)
    administrator = await people.administrator()
    async with await joined(ada, room_id) as of_ada, await administrator.connect() as of_admin:
        sent = await of_ada.send(room_id, "against the rules")
        await of_admin.call("delete_message", room_id=room_id, message_id=sent["message_id"])
        assert (await of_ada.event("message_deleted"))["sender"]["id"] == administrator.id


async def test_a_thread_is_walked_in_pages(ada: Person, bob: Person) -> None:
    room_id = await ada.room(bob)
    async with await joined(ada, room_id) as of_ada:
        parent = (await of_ada.send(room_id, "the question"))["message_id"]
        replies = [(await of_ada.send(room_id, f"{n}", parent_id=parent))["message_id"] for n in range(5)]
        found, after = [], 0
        while True:
            page = await of_ada.call("get_thread", room_id=room_id, parent_id=parent, after_seq=after, limit=2)
            found += [message["id"] for message in page["messages"]]
            after = page["messages"][-1]["seq"]
            if not page["has_more"]:
                break
        assert found == replies
        history = (await of_ada.call("get_history", room_id=room_id, limit=10))["messages"]
        assert history[-1]["reply_count"] == 5


async def test_a_mention_is_a_notification_on_every_socket_and_by_rest(ada: Person, bob: Person) -> None:
    room_id = await ada.room(bob)
    async with await ada.connect() as of_ada, await bob.connect() as of_bob, await bob.connect() as also_bob:
        sent = await of_ada.send(room_id, f"are you there, @{bob.username}?")
        for socket in (of_bob, also_bob):
            told = await socket.event("notification")
            assert told["kind"] == "mention"
            assert told["data"]["message_id"] == sent["message_id"]
        listed = await bob.call("GET", "notifications")
        assert listed["unread_count"] == 1
        assert listed["notifications"][0]["id"] == told["id"]
        await bob.call("POST", "notifications/read", json={"ids": [told["id"]]})
        assert (await bob.call("GET", "notifications"))["unread_count"] == 0
        assert not [frame for frame in of_ada.frames if frame["type"] == "notification"]


async def test_search_over_rest(ada: Person, bob: Person, eve: Person) -> None:
    room_id = await ada.room(bob)
    ids = [(await ada.post(room_id, f"a concert, number {n}"))["message_id"] for n in range(5)]
    found, cursor = [], None
    while True:
        query = {"q": "Concert num", "limit": 2, **({"cursor": cursor} if cursor else {})}
        page = await bob.call("GET", f"conversations/{room_id}/search", params=query)
        found += [message["id"] for message in page["messages"]]
        cursor = page["next_cursor"]
        if not page["has_more"]:
            break
    assert found == ids[::-1]
    assert (await eve.ask("GET", f"conversations/{room_id}/search", params={"q": "concert"})).status_code == 404
    assert (await eve.ask("GET", f"conversations/{room_id}/pins")).status_code == 404
    assert (await ada.ask("GET", f"conversations/{room_id}/search", params={"q": ""})).status_code == 400
