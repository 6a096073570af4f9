"""Announcements: shown for their time, pushed to who is here, stored for nobody."""

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from system.people import People, Person
from system.running import Running, data_of, refused
from system.sides import Sides


@pytest.fixture(scope="module")
async def admin(people: People) -> Person:
    return await people.administrator()


async def announce(admin: Person, **fields: Any) -> dict[str, Any]:
    body = {"title": "Update", "content": "Tonight.", "type": "info", **fields}
    found: dict[str, Any] = data_of(await admin.ask("POST", "admin/announcements", json=body), 201)
    return found


async def active(system: Running) -> dict[str, dict[str, Any]]:
    page = data_of(await system.http.get("announcements/active"))
    assert page["total"] == len(page["announcements"])
    return {found["id"]: found for found in page["announcements"]}


def moment(minutes: int) -> str:
    return (datetime.now(UTC) + timedelta(minutes=minutes)).isoformat()


async def test_one_is_made_shown_and_deleted(system: Running, admin: Person) -> None:
    made = await announce(admin, title="Grüße 🎧", type="warning")
    assert set(made) == {"id", "title", "content", "type", "starts_at", "ends_at", "created_at"}
    assert (made["title"], made["type"], made["ends_at"]) == ("Grüße 🎧", "warning", None)
    assert (await active(system))[made["id"]] == made
    assert await admin.call("DELETE", f"admin/announcements/{made['id']}") == {"id": made["id"], "deleted": True}
    assert made["id"] not in await active(system)
    refused(await admin.ask("DELETE", f"admin/announcements/{made['id']}"), 404, "announcement_not_found")


async def test_it_is_shown_in_its_time_only(system: Running, admin: Person) -> None:
    past = await announce(admin, starts_at=moment(-20), ends_at=moment(-10))
    now = await announce(admin, starts_at=moment(-10), ends_at=moment(10))
    later = await announce(admin, starts_at=moment(10))
    shown = await active(system)
    assert now["id"] in shown
    assert not {past["id"], later["id"]} & set(shown)
    page = await admin.call("GET", "admin/announcements", params={"limit": 100})
    listed = [found["id"] for found in page["announcements"]]
    assert [found for found in listed if found in (past["id"], now["id"], later["id"])] == [
        later["id"],
        now["id"],
        past["id"],
    ]
    assert page["total"] == len(listed)
    one = await admin.call("GET", "admin/announcements", params={"limit": 1, "offset": 1})
    assert one["announcements"] == page["announcements"][1:2]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"title": ""}, "title"),
        ({"title": "x" * 201}, "title"),
        ({"content": ""}, "content"),
        ({"content": "x" * 5001}, "content"),
        ({"type": "shout"}, "type"),
        ({"ends_at": "2020-01-01T00:00:00Z"}, "ends_at"),
        ({"starts_at": "2030-01-02T00:00:00Z", "ends_at": "2030-01-01T00:00:00Z"}, "ends_at"),
        ({"starts_at": "2030-01-01T00:00:00"}, "starts_at"),
        ({"starts_at": "9999-12-31T23:59:59-14:00"}, "starts_at"),
        ({"ends_at": "tomorrow"}, "ends_at"),
    ],
)
async def test_bad_input(admin: Person, change: dict[str, Any], field: str) -> None:
    body = {"title": "Update", "content": "Tonight.", "type": "info", **change}
    answer = refused(await admin.ask("POST", "admin/announcements", json=body), 400, "invalid_argument")
    assert answer["details"][0]["field"] == field


async def test_only_administrators_announce(admin: Person, ada: Person) -> None:
    await admin.call("PUT", f"admin/users/{ada.id}/role", json={"role": "moderator"})
    body = {"title": "Mine", "content": "Look", "type": "info"}
    refused(await ada.ask("POST", "admin/announcements", json=body), 403, "permission_denied")
    refused(await ada.ask("GET", "admin/announcements"), 403, "permission_denied")
    refused(await ada.ask("DELETE", f"admin/announcements/{uuid.uuid4()}"), 403, "permission_denied")


async def test_who_is_here_is_told_on_both_gateways(system: Running, admin: Person, ada: Person, bob: Person) -> None:
    await bob.call("PUT", "notifications/preferences", json={"announcement": False})
    async with Sides(system) as sides, await bob.connect() as unwilling:
        sockets = [await sides.connect(ada, side) for side in (0, 1)]
        later = await announce(admin, title="Later", starts_at=moment(10))
        made = await announce(admin, title="Now")
        for socket in sockets:
            told = await socket.event("notification", id=made["id"])
            assert told["kind"] == "announcement"
            assert told["data"] == {
                "announcement_id": made["id"],
                "title": "Now",
                "content": made["content"],
                "type": "info",
            }
            assert not [frame for frame in socket.frames if frame.get("id") == later["id"]]
        await unwilling.quiet()
        assert not [frame for frame in unwilling.frames if frame["type"] == "notification"]
    # It stands in the list of announcements, not in everybody's own.
    assert (await ada.call("GET", "notifications"))["total"] == 0
