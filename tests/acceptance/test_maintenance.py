"""Maintenance and feature flags on every gateway, across a restart, and all of it without Redis."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from system.people import PASSWORD, People, Person
from system.ports import free_port
from system.running import Running, data_of, refused
from system.sides import Sides
from system.sockets import Socket
from system.waiting import until
from websockets.exceptions import InvalidStatus

PROBES = ("health", "healthz", "readyz", "health/deep", "status", "metrics")


@pytest.fixture(scope="module")
async def system() -> AsyncIterator[Running]:
    """A platform whose Redis does not answer."""
    async with Running({"REDIS_URL": f"redis://127.0.0.1:{free_port()}"}) as running:
        yield running


@pytest.fixture(scope="module")
def people(system: Running) -> People:
    return People(system)


@pytest.fixture(scope="module")
async def admin(people: People) -> Person:
    return await people.administrator()


@pytest.fixture(autouse=True)
async def open_in_the_end(admin: Person) -> AsyncIterator[None]:
    yield
    await admin.call("PUT", "admin/maintenance", json={"enabled": False})
    await until_status(admin.system, 401)


async def shut(admin: Person, message: str | None = None) -> None:
    """Close the platform and wait until every gateway has."""
    done = await admin.call("PUT", "admin/maintenance", json={"enabled": True, "message": message})
    assert (done["enabled"], done["message"]) == (True, message)
    await until_status(admin.system, 503)


async def until_status(system: Running, status: int) -> None:
    """Wait until strangers get this, over whichever connection."""

    async def all_answer() -> bool:
        async def ask() -> int:
            async with httpx.AsyncClient(timeout=15) as client:
                return (await client.get(f"{system.url}/api/v1/users/me")).status_code

        return {await ask() for _ in range(8)} == {status}

    await until(all_answer, f"strangers to get {status}")


def closed(answer: httpx.Response) -> dict[str, Any]:
    body = refused(answer, 503, "maintenance")
    assert int(answer.headers["retry-after"]) >= 1
    return body


async def test_who_and_what_gets_through(system: Running, people: People, admin: Person, ada: Person) -> None:
    room_id = await ada.room()
    await shut(admin)
    for method, path in (
        ("GET", "users/me"),
        ("GET", "conversations"),
        ("POST", f"conversations/{room_id}/messages"),
        ("PUT", "users/me"),
        ("GET", "announcements/active"),
        ("GET", ""),
        ("GET", "chat/token"),
    ):
        closed(await ada.ask(method, path, json={"content": "let me in"} if method != "GET" else None))
        closed(await system.http.request(method, path))
    for probe in PROBES:
        assert (await system.http.get(probe)).status_code == 200, probe
    assert (await system.http.get(f"{system.url}/health")).status_code == 200
    assert (await admin.call("GET", "users/me"))["role"] == "admin"
    await admin.call("GET", "announcements/active")
    await admin.room()
    # The administrators' part answers others as it does ever.
    refused(await ada.ask("GET", "admin/maintenance"), 403, "permission_denied")
    refused(await system.http.get("admin/maintenance"), 401, "unauthenticated")


async def test_signing_in_meanwhile(system: Running, people: People, admin: Person, ada: Person) -> None:
    await shut(admin, "New strings; back at noon.")

    async def login(email: str, password: str) -> httpx.Response:
        return await system.http.post("auth/login", json={"email": email, "password": password})

    assert closed(await login(ada.email, PASSWORD))["error"] == "New strings; back at noon."
    refused(await login(ada.email, "Wr0ng!pass"), 401, "unauthenticated")
    again = await admin.login()
    await again.call("GET", "sessions")
    new = {"username": "newcomer", "email": "newcomer@example.org", "password": PASSWORD}
    closed(await system.http.post("auth/register", json=new))
    # A session outlives the maintenance: it can be kept, and ended.
    data_of(await system.http.post("auth/refresh", json={"refresh_token": ada.refresh_token}))
    data_of(await ada.ask("POST", "auth/logout"))


async def test_sockets_of_others_are_sent_away_on_both_gateways(
    system: Running, people: People, admin: Person, ada: Person
) -> None:
    token = await ada.chat_token()
    async with Sides(system) as sides:
        of_ada = [await sides.connect(ada, side) for side in (0, 1)]
        of_admin = [await sides.connect(admin, side) for side in (0, 1)]
        lines = [await sides.line(side) for side in (0, 1)]
        nameless = await Socket.open(system)
        await admin.call("PUT", "admin/maintenance", json={"enabled": True})
        for socket in (*of_ada, nameless):
            assert (await socket.event("reconnect"))["after_ms"] > 0
            assert await socket.until_closed() == 1001
        for line in lines:
            closed(await line.get("users/me", headers={"Authorization": f"Bearer {ada.token}"}))
        for socket in of_admin:
            await socket.quiet()
        with pytest.raises(InvalidStatus) as caught:
            await Socket.open(system, token=token)
        assert caught.value.response.status_code == 503
        assert int(caught.value.response.headers["retry-after"]) >= 1
        # Who stops being an administrator has no place here any more.
        second = await people.administrator()
        async with await second.connect() as of_second:
            await admin.call("PUT", f"admin/users/{second.id}/role", json={"role": "user"})
            await of_second.event("reconnect")
            assert await of_second.until_closed() == 1001
        for socket in of_admin:
            await socket.quiet()
        await admin.call("PUT", "admin/maintenance", json={"enabled": False})
        for line in lines:

            async def is_open(line: httpx.AsyncClient = line) -> bool:
                answer = await line.get("users/me", headers={"Authorization": f"Bearer {ada.token}"})
                return answer.status_code == 200

            await until(is_open, "the gateway to be open again")
    async with await ada.connect() as socket:
        await socket.quiet()


async def test_a_flag_reaches_both_gateways(system: Running, admin: Person) -> None:
    async with Sides(system) as sides:
        lines = [await sides.line(side) for side in (0, 1)]
        for enabled in (True, False):
            await admin.call("PUT", "admin/feature-flags/on_both", json={"enabled": enabled})
            for line in lines:

                async def follows(line: httpx.AsyncClient = line, enabled: bool = enabled) -> bool:
                    found = data_of(await line.get("feature-flags"))["feature_flags"]
                    return ("on_both" in found) is enabled

                await until(follows, f"the gateway to have the flag {enabled}", 5)


async def test_the_state_is_told(admin: Person) -> None:
    await shut(admin, "Moving house.")
    state = await admin.call("GET", "admin/maintenance")
    assert (state["enabled"], state["message"]) == (True, "Moving house.")
    assert state["updated_by"] == {"id": admin.id, "username": admin.username}
    assert state["updated_at"].endswith("Z")
    for body in ({}, {"enabled": "yes"}, {"enabled": True, "message": 5}, {"enabled": True, "message": "x" * 501}):
        refused(await admin.ask("PUT", "admin/maintenance", json=body), 400, "invalid_argument")


async def test_by_the_command_line(system: Running, admin: Person, ada: Person) -> None:
    assert await system.command("maintenance", "on", "--message", "Be right back.") == (
        "Maintenance is on: Be right back.\n"
    )
    await until_status(system, 503)
    assert closed(await ada.ask("GET", "users/me"))["error"] == "Be right back."
    assert await system.command("maintenance") == "Maintenance is on: Be right back.\n"
    assert (await admin.call("GET", "admin/maintenance"))["updated_by"] is None
    assert await system.command("maintenance", "off") == "Maintenance is off.\n"
    await until_status(system, 401)
    assert await system.command("flags", "public_rooms", "off") == "public_rooms is off.\n"
    assert "off  public_rooms: " in await system.command("flags")
    flags = (await admin.call("GET", "admin/feature-flags"))["feature_flags"]
    assert [flag["enabled"] for flag in flags if flag["name"] == "public_rooms"] == [False]
    await system.command("flags", "public_rooms", "on")


async def test_all_of_it_survives_a_power_cut(system: Running, admin: Person, ada: Person) -> None:
    await admin.call("PUT", "admin/feature-flags/kept", json={"enabled": True})
    await admin.call("PUT", "admin/maintenance", json={"enabled": True, "message": "Still at it."})
    await system.kill()
    await system.start()
    # From the first request on, on whichever gateway.
    for _ in range(8):
        async with httpx.AsyncClient(timeout=15) as client:
            body = closed(await client.get(f"{system.url}/api/v1/users/me"))
        assert body["error"] == "Still at it."
    assert "kept" in (await admin.call("GET", "feature-flags"))["feature_flags"]
