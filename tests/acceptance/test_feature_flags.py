"""Feature flags: listed, set, made, and what the platform does without a feature."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from system.people import PASSWORD, People, Person
from system.running import Running, data_of, refused
from system.waiting import until


@pytest.fixture(scope="module")
async def admin(people: People) -> Person:
    return await people.administrator()


class Switch:
    """Turns features off for a test, and waits until that is known to every gateway."""

    def __init__(self, system: Running, admin: Person) -> None:
        self._system = system
        self._admin = admin
        self._off: list[str] = []

    async def off(self, name: str) -> None:
        self._off.append(name)
        await self._set(name, False)

    async def on(self) -> None:
        for name in self._off:
            await self._set(name, True)

    async def _set(self, name: str, enabled: bool) -> None:
        flag = await self._admin.call("PUT", f"admin/feature-flags/{name}", json={"enabled": enabled})
        assert (flag["name"], flag["enabled"]) == (name, enabled)

        async def known() -> bool:
            # Each over a connection of its own, which goes to whichever gateway.
            lists = [await enabled_flags(self._system) for _ in range(8)]
            return all((name in found) is enabled for found in lists)

        await until(known, f"{name} to be {enabled}")


async def enabled_flags(system: Running) -> list[str]:
    async with httpx.AsyncClient(base_url=f"{system.url}/api/v1/", timeout=15) as client:
        page = data_of(await client.get("feature-flags"))
    assert page["total"] == len(page["feature_flags"])
    found: list[str] = page["feature_flags"]
    return found


@pytest.fixture
async def switch(system: Running, admin: Person) -> AsyncIterator[Switch]:
    made = Switch(system, admin)
    yield made
    await made.on()


async def flags(admin: Person) -> dict[str, dict[str, Any]]:
    page = await admin.call("GET", "admin/feature-flags")
    assert page["total"] == len(page["feature_flags"])
    return {flag["name"]: flag for flag in page["feature_flags"]}


async def test_what_the_platform_asks_for_is_listed(admin: Person) -> None:
    found = await flags(admin)
    assert {"registration", "creator_signup", "public_rooms", "attachments"} <= set(found)
    assert all(found[name]["description"] for name in ("registration", "attachments"))
    assert list(found) == sorted(found)


async def test_an_unknown_flag_is_made(system: Running, admin: Person, ada: Person, switch: Switch) -> None:
    assert "new_player" not in await flags(admin)
    made = await admin.call("PUT", "admin/feature-flags/new_player", json={"enabled": True})
    assert made == {
        "name": "new_player",
        "enabled": True,
        "description": None,
        "updated_at": made["updated_at"],
        "updated_by": {"id": admin.id, "username": admin.username},
    }
    assert (await flags(admin))["new_player"] == made
    await until(lambda: has(ada, "new_player"), "the flag to be on for the caller")
    await switch.off("new_player")
    assert not await has(ada, "new_player")
    assert (await flags(admin))["new_player"]["enabled"] is False


async def has(person: Person, name: str) -> bool:
    return name in (await person.call("GET", "feature-flags"))["feature_flags"]


async def test_bad_input_and_who_may(admin: Person, ada: Person) -> None:
    for body in ({}, {"enabled": "yes"}, {"enabled": None}, {"enabled": 1}):
        answer = refused(await admin.ask("PUT", "admin/feature-flags/x", json=body), 400, "invalid_argument")
        assert answer["details"][0]["field"] == "enabled"
    for name in ("with%20space", "x%0A", "a" * 101, ".hidden", "%F0%9F%8E%A7", "x'--"):
        path = f"admin/feature-flags/{name}"
        refused(await admin.ask("PUT", path, json={"enabled": True}), 400, "invalid_argument")
    await admin.call("PUT", f"admin/users/{ada.id}/role", json={"role": "moderator"})
    refused(await ada.ask("PUT", "admin/feature-flags/registration", json={"enabled": False}), 403)
    refused(await ada.ask("GET", "admin/feature-flags"), 403, "permission_denied")


async def test_registration_closed(system: Running, people: People, switch: Switch) -> None:
    await switch.off("registration")
    body = {"username": "too_late", "email": "too_late@example.org", "password": PASSWORD}
    refused(await system.http.post("auth/register", json=body), 403, "feature_disabled")
    await switch.on()
    data_of(await system.http.post("auth/register", json=body), 201)


async def test_creators_made_by_administrators_only(admin: Person, ada: Person, switch: Switch) -> None:
    await switch.off("creator_signup")
    refused(await ada.ask("POST", "users/me/creator"), 403, "feature_disabled")
    made = await admin.call("PUT", f"admin/users/{ada.id}/role", json={"role": "creator"})
    assert made["role"] == "creator"


async def test_no_public_rooms(ada: Person, bob: Person, switch: Switch) -> None:
    room_id = await ada.room(kind="public", name="Open stage")
    await switch.off("public_rooms")
    new = {"type": "public", "name": "Another", "member_ids": []}
    refused(await ada.ask("POST", "conversations", json=new), 403, "feature_disabled")
    refused(await bob.ask("GET", "conversations/public"), 403, "feature_disabled")
    refused(await bob.ask("POST", f"conversations/{room_id}/join"), 403, "feature_disabled")
    # Who is in one stays, and other rooms are none of this.
    await ada.post(room_id, "still here")
    await ada.room(bob)
    await switch.on()
    await bob.call("POST", f"conversations/{room_id}/join")


async def test_no_attachments(ada: Person, switch: Switch) -> None:
    room_id = await ada.room()
    path, files = f"conversations/{room_id}/attachments", {"file": ("a.txt", b"words", "text/plain")}
    await switch.off("attachments")
    refused(await ada.ask("POST", path, files=files), 403, "feature_disabled")
    await switch.on()
    data_of(await ada.ask("POST", path, files=files), 201)
