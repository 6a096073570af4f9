"""Reports: filed by people, listed and closed by administrators, with what that does to the author."""

import asyncio
import uuid
from collections import Counter
from typing import Any

import pytest
from system.people import People, Person
from system.running import data_of, refused


@pytest.fixture(scope="module")
async def admin(people: People) -> Person:
    return await people.administrator()


async def report(by: Person, kind: str, content_id: str, reason: str = "Not nice") -> dict[str, Any]:
    body = {"content_type": kind, "content_id": content_id, "reason": reason}
    found: dict[str, Any] = data_of(await by.ask("POST", "reports", json=body), 201)
    return found


async def resolve(admin: Person, found: dict[str, Any], action: str) -> dict[str, Any]:
    done: dict[str, Any] = await admin.call("POST", f"admin/reports/{found['id']}/resolve", json={"action": action})
    return done


async def listed(admin: Person, **query: Any) -> dict[str, dict[str, Any]]:
    page = await admin.call("GET", "admin/reports", params={"limit": 100, **query})
    return {found["id"]: found for found in page["reports"]}


# -- filing ----------------------------------------------------------------------------------------------------


async def test_a_person_is_reported(admin: Person, ada: Person, bob: Person) -> None:
    await bob.call("PUT", "users/me", json={"bio": "I sell followers"})
    filed = await report(ada, "user", bob.id, "  Spam  ")
    assert set(filed) == {"id", "content_type", "content_id", "reason", "status", "created_at"}
    assert (filed["content_id"], filed["reason"], filed["status"]) == (bob.id, "Spam", "pending")
    shown = (await listed(admin))[filed["id"]]
    assert shown["reporter"] == {"id": ada.id, "username": ada.username}
    assert shown["author"] == {"id": bob.id, "username": bob.username}
    assert shown["excerpt"] == "I sell followers"
    assert [shown[name] for name in ("action", "resolved_by", "resolved_at")] == [None] * 3


async def test_a_message_is_reported_by_who_can_see_it(admin: Person, ada: Person, bob: Person, eve: Person) -> None:
    room_id = await ada.room(bob)
    message_id = (await bob.post(room_id, "something bad"))["message_id"]
    hidden = {"content_type": "message", "content_id": message_id, "reason": "Curious"}
    refused(await eve.ask("POST", "reports", json=hidden), 404, "not_found")
    filed = await report(ada, "message", message_id)
    shown = (await listed(admin))[filed["id"]]
    assert (shown["author"]["id"], shown["excerpt"]) == (bob.id, "something bad")
    async with await bob.connect() as socket:
        await socket.call("join_room", room_id=room_id)
        await socket.call("delete_message", room_id=room_id, message_id=message_id)
    gone = (await listed(admin))[filed["id"]]
    assert (gone["author"]["id"], gone["excerpt"]) == (bob.id, None)
    refused(await ada.ask("POST", "reports", json=hidden), 404, "not_found")


async def test_the_same_thing_is_reported_once_while_it_waits(
    admin: Person, ada: Person, bob: Person, eve: Person
) -> None:
    body = {"content_type": "user", "content_id": bob.id, "reason": "Spam"}
    answers = await asyncio.gather(*(ada.ask("POST", "reports", json=body) for _ in range(5)))
    assert Counter(answer.status_code for answer in answers) == {201: 1, 200: 4}
    first, *others = (answer.json()["data"] for answer in answers)
    assert all(other == first for other in others)
    # Somebody else's is another, and so is the next after this one was closed.
    assert (await report(eve, "user", bob.id))["id"] != first["id"]
    await resolve(admin, first, "dismiss")
    assert (await report(ada, "user", bob.id))["id"] != first["id"]


async def test_what_cannot_be_reported(ada: Person, bob: Person) -> None:
    room_id = await ada.room(bob)
    own = (await ada.post(room_id, "mine"))["message_id"]
    for kind, content_id in (("user", ada.id), ("message", own)):
        body = {"content_type": kind, "content_id": content_id, "reason": "x"}
        assert refused(await ada.ask("POST", "reports", json=body), 400)["details"][0]["field"] == "content_id"
    for kind in ("user", "message", "track", "comment", "stream", "product", "post"):
        body = {"content_type": kind, "content_id": str(uuid.uuid4()), "reason": "x"}
        refused(await ada.ask("POST", "reports", json=body), 404, "not_found")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"content_type": "planet"}, "content_type"),
        ({"content_type": None}, "content_type"),
        ({"content_id": "1"}, "content_id"),
        ({"reason": ""}, "reason"),
        ({"reason": "   "}, "reason"),
        ({"reason": "x" * 1001}, "reason"),
        ({"reason": 5}, "reason"),
    ],
)
async def test_bad_input(ada: Person, bob: Person, change: dict[str, Any], field: str) -> None:
    body = {"content_type": "user", "content_id": bob.id, "reason": "Spam", **change}
    answer = refused(await ada.ask("POST", "reports", json=body), 400, "invalid_argument")
    assert answer["details"][0]["field"] == field


# -- listing ---------------------------------------------------------------------------------------------------


async def test_lists_by_status_and_in_pages(admin: Person, people: People, bob: Person) -> None:
    filed = [await report(await people.register(), "user", bob.id) for _ in range(4)]
    await resolve(admin, filed[0], "resolve")
    await resolve(admin, filed[1], "dismiss")
    expected = {"pending": filed[2:], "resolved": filed[:1], "dismissed": filed[1:2], "all": filed}
    ids = {found["id"] for found in filed}
    for status, members in expected.items():
        found = await listed(admin, status=status)
        assert ids & set(found) == {member["id"] for member in members}
        if status != "all":
            assert {one["status"] for one in found.values()} == {status}
    assert ids & set(await listed(admin)) == {found["id"] for found in filed[2:]}
    one = await admin.call("GET", "admin/reports", params={"status": "all", "limit": 1, "offset": 1})
    both = await admin.call("GET", "admin/reports", params={"status": "all", "limit": 2})
    assert both["reports"][1:] == one["reports"]
    assert both["total"] == one["total"] >= 4
    times = [found["created_at"] for found in both["reports"]]
    assert times == sorted(times, reverse=True)
    for query in ({"status": "open"}, {"limit": 0}, {"limit": 101}, {"offset": -1}):
        refused(await admin.ask("GET", "admin/reports", params=query), 400, "invalid_argument")


# -- closing ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("action", "status"), [("resolve", "resolved"), ("dismiss", "dismissed")])
async def test_closing_without_consequences(admin: Person, ada: Person, bob: Person, action: str, status: str) -> None:
    filed = await report(ada, "user", bob.id)
    done = await resolve(admin, filed, action)
    assert (done["status"], done["action"], done["resolved_by"]["id"]) == (status, action, admin.id)
    assert done["resolved_at"] is not None
    assert (await bob.call("GET", "notifications"))["total"] == 0
    again = await admin.ask("POST", f"admin/reports/{filed['id']}/resolve", json={"action": "ban"})
    refused(again, 409, "conflict")
    await bob.call("GET", "users/me")


async def test_a_warning_reaches_the_author(admin: Person, ada: Person, bob: Person) -> None:
    filed = await report(ada, "user", bob.id, "a secret reason")
    async with await bob.connect() as socket:
        await resolve(admin, filed, "warn")
        told = await socket.event("notification")
    assert told["kind"] == "moderation"
    assert told["data"]["action"] == "warn"
    assert (told["data"]["content_type"], told["data"]["content_id"]) == ("user", bob.id)
    assert "secret" not in str(told)
    assert ada.username not in str(told)
    [stored] = (await bob.call("GET", "notifications"))["notifications"]
    assert stored["data"] == told["data"]


async def test_a_ban_shuts_the_author_out(admin: Person, ada: Person, bob: Person) -> None:
    room_id = await ada.room(bob)
    message_id = (await bob.post(room_id, "something bad"))["message_id"]
    filed = await report(ada, "message", message_id)
    async with await bob.connect() as one, await bob.connect() as other:
        await resolve(admin, filed, "ban")
        assert [await one.until_closed(5), await other.until_closed(5)] == [4003, 4003]
    refused(await bob.ask("GET", "users/me"), 403, "banned")
    [found] = (await admin.call("GET", "admin/users", params={"search": bob.username}))["users"]
    assert found["banned"] is True


async def test_an_author_who_cannot_be_banned(admin: Person, ada: Person, people: People) -> None:
    filed = await report(ada, "user", admin.id)
    path = f"admin/reports/{filed['id']}/resolve"
    refused(await admin.ask("POST", path, json={"action": "ban"}), 409, "conflict")
    # It still waits, for another decision or another administrator.
    assert (await listed(admin))[filed["id"]]["status"] == "pending"
    await resolve(admin, filed, "dismiss")


async def test_of_two_administrators_at_once_one_wins(admin: Person, people: People, ada: Person, bob: Person) -> None:
    second = await people.administrator()
    for _ in range(5):
        filed = await report(ada, "user", bob.id)
        path = f"admin/reports/{filed['id']}/resolve"
        answers = await asyncio.gather(
            *(by.ask("POST", path, json={"action": action}) for by, action in ((admin, "warn"), (second, "dismiss")))
        )
        assert sorted(answer.status_code for answer in answers) == [200, 409]
        won = next(answer.json()["data"] for answer in answers if answer.status_code == 200)
        assert (await listed(admin, status="all"))[filed["id"]] == won


async def test_who_may_close_and_with_what(admin: Person, ada: Person, bob: Person, eve: Person) -> None:
    filed = await report(ada, "user", bob.id)
    path = f"admin/reports/{filed['id']}/resolve"
    await admin.call("PUT", f"admin/users/{eve.id}/role", json={"role": "moderator"})
    for person in (ada, bob, eve):
        refused(await person.ask("POST", path, json={"action": "dismiss"}), 403, "permission_denied")
        refused(await person.ask("GET", "admin/reports"), 403, "permission_denied")
    for body in ({"action": "delete"}, {"action": None}, {}):
        refused(await admin.ask("POST", path, json=body), 400, "invalid_argument")
    unknown = f"admin/reports/{uuid.uuid4()}/resolve"
    refused(await admin.ask("POST", unknown, json={"action": "dismiss"}), 404, "report_not_found")
