"""Conversations over REST: making them, who is in them, what they list."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest
from system.people import People, Person
from system.running import Running, data_of, refused
from system.waiting import within


async def create(person: Person, status: int = 201, **body: Any) -> dict[str, Any]:
    found: dict[str, Any] = data_of(await person.ask("POST", "conversations", json=body), status)
    return found


async def listed(person: Person, **query: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await person.call("GET", "conversations", params=query))["conversations"]
    return found


# -- making ----------------------------------------------------------------------------------------------------


async def test_a_new_group(ada: Person, bob: Person) -> None:
    room = await create(ada, type="group", name="  Zespół 🎸  ", member_ids=[bob.id, bob.id, ada.id])
    assert room["type"] == "group"
    assert room["name"] == "Zespół 🎸"
    assert room["owner_id"] == ada.id
    assert (room["last_seq"], room["unread_count"], room["role"]) == (0, 0, "owner")
    assert room["created_at"].endswith("Z")
    assert [(m["user"]["id"], m["role"]) for m in room["members"]] == [(ada.id, "owner"), (bob.id, "member")]
    seen = await bob.call("GET", f"conversations/{room['id']}")
    assert (seen["id"], seen["role"], len(seen["members"])) == (room["id"], "member", 2)


async def test_a_direct_room_is_one_a_pair(ada: Person, bob: Person, eve: Person) -> None:
    room = await create(ada, type="direct", member_ids=[bob.id])
    assert (await create(ada, 200, type="direct", member_ids=[bob.id]))["id"] == room["id"]
    assert (await create(bob, 200, type="direct", member_ids=[ada.id]))["id"] == room["id"]
    assert (await create(ada, type="direct", member_ids=[eve.id]))["id"] != room["id"]
    [shown] = await listed(bob)
    assert shown["other"] == {"id": ada.id, "username": ada.username}


async def test_a_direct_room_made_by_both_at_once_is_one(ada: Person, bob: Person) -> None:
    calls = [
        person.ask("POST", "conversations", json={"type": "direct", "member_ids": [other.id]})
        for person, other in [(ada, bob), (bob, ada)] * 4
    ]
    answers = await asyncio.gather(*calls)
    assert sorted(answer.status_code for answer in answers) == [200] * 7 + [201]
    assert len({data_of(answer)["id"] for answer in answers}) == 1


async def test_a_direct_room_cannot_be_changed(ada: Person, bob: Person, eve: Person) -> None:
    path = f"conversations/{await ada.room(bob, kind='direct')}"
    for method, tail, body in (
        ("PUT", "", {"name": "x"}),
        ("DELETE", "", None),
        ("POST", "/members", {"user_id": eve.id}),
        ("DELETE", f"/members/{bob.id}", None),
        ("POST", "/leave", None),
    ):
        for person in (ada, bob):
            refused(await person.ask(method, path + tail, json=body), 403, "permission_denied")
    assert len((await ada.call("GET", path))["members"]) == 2


BAD_ROOMS: list[Any] = [
    {},
    [],
    "text",
    None,
    {"type": "secret", "name": "x"},
    {"type": 5, "name": "x"},
    {"type": "group"},
    {"type": "group", "name": ""},
    {"type": "group", "name": "   "},
    {"type": "group", "name": "x" * 51},
    {"type": "group", "name": "nul \0"},
    {"type": "group", "name": "two\nlines"},
    {"type": "group", "name": 5},
    {"type": "public", "name": None},
    {"type": "group", "name": "x", "member_ids": "all"},
    {"type": "group", "name": "x", "member_ids": ["no id"]},
    {"type": "group", "name": "x", "member_ids": [str(uuid.UUID(int=n)) for n in range(1000)]},
    {"type": "direct", "member_ids": []},
]


async def test_what_cannot_be_a_room(ada: Person, bob: Person, eve: Person) -> None:
    mistakes = [
        *BAD_ROOMS,
        {"type": "direct", "member_ids": [ada.id]},
        {"type": "direct", "member_ids": [bob.id, eve.id]},
        {"type": "direct", "name": "x", "member_ids": [bob.id]},
    ]
    for body in mistakes:
        refused(await ada.ask("POST", "conversations", json=body), 400, "invalid_argument")
    for text in (b'{"type":"group","name":"\\ud800"}', b'{"type":', b"\xff", b"", b"[" * 10_000):
        answer = await ada.system.http.post(
            "conversations",
            content=text,
            headers={"Authorization": f"Bearer {ada.token}", "Content-Type": "application/json"},
        )
        refused(answer, 400, "invalid_argument")
    nobody = {"type": "group", "name": "x", "member_ids": [str(uuid.uuid4())]}
    refused(await ada.ask("POST", "conversations", json=nobody), 404, "user_not_found")
    assert await listed(ada) == []
    assert (await create(ada, type="group", name="x" * 50, colour="ignored"))["name"] == "x" * 50


# -- listing ---------------------------------------------------------------------------------------------------


async def test_the_list_shows_last_message_and_unread_count(ada: Person, bob: Person) -> None:
    first, second = await ada.room(bob, name="First"), await ada.room(bob, name="Second")
    stored = await ada.post(first, "one", client_msg_id="m-1")
    await ada.post(second, "two")
    await bob.post(second, "mine does not count")
    shown = await listed(bob)
    assert [(room["name"], room["unread_count"], room["last_seq"]) for room in shown] == [
        ("Second", 1, 2),
        ("First", 1, 1),
    ]
    assert shown[0]["last_message"]["content"] == "mine does not count"
    assert shown[1]["last_message"] == {
        "room_id": first,
        "seq": 1,
        "id": stored["message_id"],
        "sender": {"id": ada.id, "username": ada.username},
        "content": "one",
        "parent_id": None,
        "client_msg_id": "m-1",
        "attachments": [],
        "created_at": stored["created_at"],
        "edited_at": None,
        "deleted_at": None,
        "reactions": [],
        "pinned": False,
        "reply_count": 0,
        "mentions": [],
    }
    # The latest activity comes first.
    await ada.post(first, "three")
    assert [room["name"] for room in await listed(bob)] == ["First", "Second"]
    async with await bob.connect() as socket:
        await socket.call("mark_read", room_id=first, seq=2)
    assert [room["unread_count"] for room in await listed(bob)] == [0, 1]


async def test_the_list_has_presence_of_direct_rooms(ada: Person, bob: Person) -> None:
    await ada.room(bob, kind="direct")
    assert [room["presence"] for room in await listed(ada)] == ["offline"]
    async with await bob.connect():
        assert [room["presence"] for room in await listed(ada)] == ["online"]


async def test_the_list_is_paged(ada: Person) -> None:
    rooms = [await ada.room(name=f"Room {number}") for number in range(5)]
    page = await ada.call("GET", "conversations", params={"limit": 2, "offset": 1})
    assert [room["id"] for room in page["conversations"]] == [rooms[3], rooms[2]]
    assert page["total"] == 5
    beyond = await ada.call("GET", "conversations", params={"offset": 100})
    assert beyond == {"conversations": [], "total": 5}
    for query in ({"limit": 0}, {"limit": 101}, {"limit": "x"}, {"offset": -1}, {"offset": 2**70}, {"limit": ""}):
        refused(await ada.ask("GET", "conversations", params=query), 400, "invalid_argument")


# -- changing --------------------------------------------------------------------------------------------------


async def test_who_may_rename_and_delete(people: People, ada: Person, bob: Person, eve: Person) -> None:
    room_id = await ada.room(eve)
    path = f"conversations/{room_id}"
    await ada.call("POST", f"{path}/members", json={"user_id": bob.id, "role": "moderator"})
    renamed = await bob.call("PUT", path, json={"name": " Nowa "})
    assert renamed["name"] == "Nowa"
    refused(await eve.ask("PUT", path, json={"name": "x"}), 403, "permission_denied")
    for name in ("", " ", "x" * 51, "\0", 5, None):
        refused(await ada.ask("PUT", path, json={"name": name}), 400, "invalid_argument")
    for person in (bob, eve):
        refused(await person.ask("DELETE", path), 403, "permission_denied")
    assert (await eve.call("GET", path))["name"] == "Nowa"
    await ada.call("DELETE", path)
    for person in (ada, bob, eve):
        for method, tail in (("GET", ""), ("GET", "/history"), ("DELETE", ""), ("POST", "/leave")):
            refused(await person.ask(method, path + tail), 404, "room_not_found")
        refused(await person.ask("POST", f"{path}/messages", json={"content": "x"}), 404, "room_not_found")
        assert await listed(person) == []
    other = await ada.room()
    await (await people.administrator()).call("DELETE", f"conversations/{other}")
    refused(await ada.ask("GET", f"conversations/{other}"), 404, "room_not_found")


async def test_members(people: People, ada: Person, bob: Person, eve: Person) -> None:
    room_id = await ada.room()
    path = f"conversations/{room_id}/members"
    assert (await ada.call("POST", path, json={"user_id": bob.id, "role": "moderator"}))["seq"] == 1
    assert (await bob.call("POST", path, json={"user_id": eve.id}))["seq"] == 2
    refused(await ada.ask("POST", path, json={"user_id": eve.id}), 409, "conflict")
    newcomer = await people.register()
    moderator = {"user_id": newcomer.id, "role": "moderator"}
    refused(await bob.ask("POST", path, json=moderator), 403, "permission_denied")
    refused(await eve.ask("POST", path, json={"user_id": newcomer.id}), 403, "permission_denied")
    refused(await ada.ask("POST", path, json={"user_id": str(uuid.uuid4())}), 404, "user_not_found")
    for body in ({}, {"user_id": "x"}, {"user_id": newcomer.id, "role": "owner"}, {"user_id": newcomer.id, "role": 1}):
        refused(await ada.ask("POST", path, json=body), 400, "invalid_argument")
    # Only from above.
    refused(await eve.ask("DELETE", f"{path}/{bob.id}"), 403, "permission_denied")
    refused(await bob.ask("DELETE", f"{path}/{ada.id}"), 403, "permission_denied")
    refused(await ada.ask("DELETE", f"{path}/{newcomer.id}"), 403, "not_a_member")
    refused(await ada.ask("DELETE", f"{path}/{uuid.uuid4()}"), 404, "user_not_found")
    await bob.call("DELETE", f"{path}/{eve.id}")
    refused(await eve.ask("GET", f"conversations/{room_id}"), 404, "room_not_found")
    refused(await ada.ask("POST", f"conversations/{room_id}/leave"), 409, "conflict")
    await bob.call("POST", f"conversations/{room_id}/leave")
    assert [m["user"]["id"] for m in (await ada.call("GET", f"conversations/{room_id}"))["members"]] == [ada.id]


async def test_public_rooms_are_discovered_and_joined(ada: Person, bob: Person) -> None:
    mark = uuid.uuid4().hex[:8]
    room_id = await ada.room(kind="public", name=f"100% {mark}_a")
    await ada.room(kind="public", name=f"100x {mark}xa")
    await ada.room(name=f"{mark} private")

    async def discovered(q: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (await bob.call("GET", "conversations/public", params={"q": q}))["conversations"]
        return found

    assert len(await discovered(mark)) == 2
    # A search is text, no pattern; whatever its case.
    for q in (f"100% {mark}", f"{mark}_a", f"{mark.upper()}_A"):
        [found] = await discovered(q)
        assert (found["id"], found["member_count"], found["joined"]) == (room_id, 1, False)
    path = f"conversations/{room_id}"
    refused(await bob.ask("GET", f"{path}/history"), 403, "not_a_member")
    assert (await bob.call("POST", f"{path}/join"))["seq"] == 1
    refused(await bob.ask("POST", f"{path}/join"), 409, "conflict")
    [found] = await discovered(f"{mark}_a")
    assert (found["member_count"], found["joined"]) == (2, True)
    await bob.post(room_id, "here I am")
    await bob.call("POST", f"{path}/leave")
    refused(await bob.ask("POST", f"{path}/messages", json={"content": "x"}), 403, "not_a_member")
    private = await ada.room()
    refused(await bob.ask("POST", f"conversations/{private}/join"), 404, "room_not_found")
    refused(await bob.ask("GET", "conversations/public", params={"q": "nul\0"}), 400, "invalid_argument")


# -- without the shards ----------------------------------------------------------------------------------------


@pytest.fixture
async def stopped() -> AsyncIterator[Running]:
    """A platform of its own, for the test that stops the shards of it."""
    async with Running({}) as running:
        yield running


async def test_rooms_are_made_and_listed_while_no_shard_answers(stopped: Running) -> None:
    people = People(stopped)
    ada, bob = await people.register(), await people.register()
    direct = await ada.room(bob, kind="direct")
    async with await bob.connect():
        shards = await stopped.living("RoomShard")
        for shard in shards:
            shard.suspend()
        try:
            async with within(3, "a new room and the list of rooms"):
                body = {"type": "group", "name": "Once", "member_ids": [bob.id]}
                made = data_of(await ada.ask("POST", "conversations", json=body), 201)
                found = await listed(ada)
        finally:
            for shard in shards:
                shard.resume()
    assert {member["presence"] for member in made["members"]} == {"offline"}
    assert [room["id"] for room in found] == [made["id"], direct]
    assert [room.get("presence") for room in found] == [None, "offline"]


# -- messages --------------------------------------------------------------------------------------------------


async def test_history_by_cursor_while_others_write(ada: Person, bob: Person) -> None:
    room_id = await ada.room(bob)
    for number in range(1, 31):
        await ada.post(room_id, str(number))
    path = f"conversations/{room_id}/history"
    seen: list[int] = []
    query: dict[str, Any] = {"limit": 7}
    while True:
        page = await bob.call("GET", path, params=query)
        seen.extend(message["seq"] for message in page["messages"])
        await ada.post(room_id, "meanwhile")
        if not page["has_more"]:
            assert page["next_cursor"] is None
            break
        query["cursor"] = page["next_cursor"]
    assert seen == list(range(30, 0, -1))
    assert len((await bob.call("GET", path))["messages"]) == 20
    for wrong in ({"limit": 0}, {"limit": 101}, {"cursor": ""}, {"cursor": "!"}, {"cursor": "bm9uc2Vuc2U"}):
        refused(await bob.ask("GET", path, params=wrong), 400, "invalid_argument")
    # Well-formed, but of values that no history has: {"seq": "x"}, {"seq": -1}, {"seq": 2**70}.
    for cursor in ("eyJzZXEiOiJ4In0", "eyJzZXEiOi0xfQ", "eyJzZXEiOjExODA1OTE2MjA3MTc0MTEzMDM0MjR9"):
        refused(await bob.ask("GET", path, params={"cursor": cursor}), 400, "invalid_argument")


async def test_sending_by_rest(ada: Person, bob: Person) -> None:
    room_id = await ada.room(bob)
    path = f"conversations/{room_id}/messages"
    body = {"content": "  Zażółć 🎸\n", "client_msg_id": "r-1"}
    first = data_of(await ada.ask("POST", path, json=body), 201)
    assert (first["seq"], first["duplicate"]) == (1, False)
    assert data_of(await ada.ask("POST", path, json=body)) == {**first, "duplicate": True}
    answered = await bob.post(room_id, "yes", parent_id=first["message_id"])
    [message, answer] = await bob.history(room_id)
    assert (message["id"], message["content"], message["client_msg_id"]) == (first["message_id"], "Zażółć 🎸", "r-1")
    assert (answer["id"], answer["parent_id"]) == (answered["message_id"], first["message_id"])


async def test_concurrent_retries_by_rest_are_one_message(ada: Person) -> None:
    room_id = await ada.room()
    answers = await asyncio.gather(*(ada.post(room_id, "once", client_msg_id="same") for _ in range(10)))
    assert {answer["seq"] for answer in answers} == {1}
    assert [answer["duplicate"] for answer in answers].count(False) == 1
    assert len(await ada.history(room_id)) == 1


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"content": ""},
        {"content": "  "},
        {"content": None},
        {"content": ["x"]},
        {"content": "nul \0"},
        {"content": "x" * 4001},
        {"content": "x" * 9000},
        {"content": "x", "client_msg_id": ""},
        {"content": "x", "client_msg_id": "x" * 1000},
        {"content": "x", "client_msg_id": "nul \0"},
        {"content": "x", "client_msg_id": 5},
        {"content": "x", "parent_id": "no id"},
    ],
)
async def test_what_cannot_be_sent(ada: Person, body: dict[str, Any]) -> None:
    room_id = await ada.room()
    refused(await ada.ask("POST", f"conversations/{room_id}/messages", json=body), 400)
    assert await ada.history(room_id) == []
    await ada.post(room_id, "x" * 4000)


async def test_a_body_above_1_mib_is_413(ada: Person) -> None:
    room_id = await ada.room()
    reader, writer = await asyncio.open_connection("127.0.0.1", ada.system.port)
    # Refused by what the head announces, before any of it is sent.
    writer.write(
        f"POST /api/v1/conversations/{room_id}/messages HTTP/1.1\r\nHost: localhost\r\n"
        f"Authorization: Bearer {ada.token}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {1024 * 1024 + 1}\r\n\r\n".encode()
    )
    async with within(10, "the refusal"):
        # What was announced is still waited for a while: closed at once, the connection might lose the answer.
        answer = await reader.readuntil(b'"code":"payload_too_large"')
    assert answer.startswith(b"HTTP/1.1 413 ")
    writer.close()
