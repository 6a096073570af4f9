"""API keys: made, used, listed, and good no more at once, on every gateway."""

import json
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import pytest
from system.people import People, Person
from system.running import Running, data_of, refused
from system.sides import Sides
from system.sockets import Socket
from system.waiting import until
from websockets.exceptions import InvalidStatus

from veza.storage.database import connect_arguments


async def make(person: Person, **fields: Any) -> dict[str, Any]:
    body = {"name": "robot", "scopes": ["read", "write"], **fields}
    found: dict[str, Any] = data_of(await person.ask("POST", "developer/api-keys", json=body), 201)
    return found


async def use(system: Running, key: str, method: str = "GET", path: str = "users/me", **more: Any) -> httpx.Response:
    return await system.http.request(method, path, headers={"X-API-Key": key}, **more)


async def test_a_key_is_shown_once_and_speaks_for_its_owner(ada: Person, system: Running) -> None:
    made = await make(ada, name="  my robot ")
    assert made["key"].startswith("veza_sk_")
    assert (len(made["key"]), made["name"], made["scopes"]) == (51, "my robot", ["read", "write"])
    assert data_of(await use(system, made["key"]))["id"] == ada.id
    bearer = {"Authorization": f"Bearer {made['key']}"}
    assert data_of(await system.http.get("users/me", headers=bearer))["id"] == ada.id
    [listed] = (await ada.call("GET", "developer/api-keys"))["api_keys"]
    assert listed["last_used_at"] is not None
    assert {**listed, "last_used_at": None} == {
        "last_used_at": None,
        **{name: value for name, value in made.items() if name not in ("key", "last_used_at")},
    }
    assert made["key"].startswith(listed["prefix"])


async def test_scopes_say_what_it_may_do(ada: Person, system: Running) -> None:
    reading, writing = await make(ada, scopes=["read"]), await make(ada, scopes=["write", "write"])
    room = {"type": "group", "name": "x", "member_ids": []}
    assert (await use(system, reading["key"])).status_code == 200
    refused(await use(system, reading["key"], "POST", "conversations", json=room), 403)
    assert (await use(system, writing["key"], "POST", "conversations", json=room)).status_code == 201
    refused(await use(system, writing["key"]), 403)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "developer/api-keys"),
        ("GET", "developer/api-keys"),
        ("GET", "sessions"),
        ("POST", "sessions/logout-all"),
        ("PUT", "users/me/password"),
        ("DELETE", "users/me"),
        ("GET", "chat/token"),
    ],
)
async def test_what_only_a_person_does(ada: Person, system: Running, method: str, path: str) -> None:
    key = (await make(ada))["key"]
    assert (await use(system, key, method, path)).status_code in (403, 404, 405)
    assert (await ada.call("GET", "users/me"))["id"] == ada.id


async def test_an_administrators_key_is_no_administrator(people: People, system: Running) -> None:
    key = (await make(await people.administrator()))["key"]
    refused(await use(system, key, path="admin/users"), 403)
    assert (await use(system, key)).status_code == 200


async def test_it_is_good_no_more_at_once_everywhere(ada: Person, eve: Person, system: Running) -> None:
    made = await make(ada)
    path = f"developer/api-keys/{made['id']}"
    async with Sides(system) as sides:
        lines = [await sides.line(side) for side in (0, 1)]
        for http in lines:
            assert (await http.get("users/me", headers={"X-API-Key": made["key"]})).status_code == 200
        refused(await eve.ask("DELETE", path), 404)
        assert await ada.call("DELETE", path) == {"id": made["id"], "revoked": True}
        for http in lines:

            async def gone(side: httpx.AsyncClient = http) -> bool:
                return (await side.get("users/me", headers={"X-API-Key": made["key"]})).status_code == 401

            await until(gone, "both gateways to refuse it", 5.0)
    refused(await ada.ask("DELETE", path), 404)
    assert (await ada.call("GET", "developer/api-keys"))["total"] == 0


async def test_its_sockets_close_with_it(ada: Person) -> None:
    made = await make(ada)
    async with await Socket.open(ada.system, headers={"X-API-Key": made["key"]}) as socket:
        await socket.call("ping")
        await ada.call("DELETE", f"developer/api-keys/{made['id']}")
        assert await socket.until_closed() == 4003


async def test_the_owners_ban_is_the_keys(people: People, ada: Person, system: Running) -> None:
    key = (await make(ada))["key"]
    assert (await use(system, key)).status_code == 200
    await (await people.administrator()).call("POST", f"admin/users/{ada.id}/ban", json={})

    async def refused_now() -> bool:
        return (await use(system, key)).status_code in (401, 403)

    await until(refused_now, "the key to be refused", 5.0)


@pytest.mark.parametrize("key", ["veza_sk_", "veza_sk_" + "0" * 43, "veza_sk_ü", "nothing", ""])
async def test_what_is_no_key(system: Running, key: str) -> None:
    response = await system.http.get("users/me", headers={"X-API-Key": key.encode()})
    refused(response, 401)


@pytest.mark.parametrize(
    "body",
    [
        {"name": "x", "scopes": []},
        {"name": "x", "scopes": ["admin"]},
        {"name": "  ", "scopes": ["read"]},
        {"name": "x" * 101, "scopes": ["read"]},
        {"name": "x", "scopes": ["read"], "expires_in_days": 0},
        {"scopes": ["read"]},
    ],
)
async def test_a_bad_request_is_400(ada: Person, body: dict[str, Any]) -> None:
    refused(await ada.ask("POST", "developer/api-keys", json=body), 400)


async def test_a_person_has_at_most_fifty(ada: Person) -> None:
    for _ in range(50):
        await make(ada, expires_in_days=1)
    body = {"name": "one more", "scopes": ["read"]}
    refused(await ada.ask("POST", "developer/api-keys", json=body), 409)
    page = await ada.call("GET", "developer/api-keys", params={"limit": 3, "offset": 49})
    assert (len(page["api_keys"]), page["total"]) == (1, 50)


async def end_after(system: Running, key_id: str, time: str) -> None:
    """Let a key end so long after it was made; days are the least that can be asked for."""
    state = json.loads((system.data_dir / "run" / "state.json").read_text())
    connection = await asyncpg.connect(**connect_arguments(state["database_url"]))
    try:
        query = "UPDATE api_keys SET expires_at = created_at + $2::text::interval WHERE id = $1"
        await connection.execute(query, UUID(key_id), time)
    finally:
        await connection.close()


async def test_its_end_is_that_of_its_sockets(ada: Person, system: Running) -> None:
    made = await make(ada, expires_in_days=1)
    headers = {"X-API-Key": made["key"]}
    await end_after(system, made["id"], "3 s")
    async with await Socket.open(system, headers=headers) as socket:
        assert (await socket.event("welcome"))["session_id"] is None
        assert await socket.until_closed() == 4003
    refused(await use(system, made["key"]), 401)
    with pytest.raises(InvalidStatus):
        await Socket.open(system, headers=headers)


async def test_its_sockets_outlive_a_change_of_its_owner(ada: Person) -> None:
    made = await make(ada)
    async with await Socket.open(ada.system, headers={"X-API-Key": made["key"]}) as socket:
        await socket.event("welcome")
        room, name = await ada.room(), f"{ada.username}_2"
        await ada.call("PUT", "users/me", json={"username": name})

        async def known() -> bool:
            await socket.send(room, "Still here?")
            return bool((await ada.history(room))[-1]["sender"]["username"] == name)

        await until(known, "the socket to speak for its owner by the new name")


async def test_a_key_that_only_reads_opens_no_socket(ada: Person, system: Running) -> None:
    made = await make(ada, scopes=["read"])
    with pytest.raises(InvalidStatus) as caught:
        await Socket.open(system, headers={"X-API-Key": made["key"]})
    assert caught.value.response.status_code == 403
