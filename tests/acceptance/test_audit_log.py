"""The audit log: what is written by itself, what administrators' actions write, and how it is searched."""

from typing import Any

import pytest
from system.people import People, Person
from system.running import Running, data_of, refused
from system.waiting import until

# A second at most, says the contract; a busy machine may be later.
SOON_S = 10.0


@pytest.fixture(scope="module")
async def admin(people: People) -> Person:
    return await people.administrator()


async def search(admin: Person, **wanted: Any) -> list[dict[str, Any]]:
    page = await admin.call("GET", "admin/audit-logs", params={"limit": 100, **wanted})
    assert page["total"] >= len(page["audit_logs"])
    found: list[dict[str, Any]] = page["audit_logs"]
    return found


async def appears(admin: Person, **wanted: Any) -> dict[str, Any]:
    found: list[dict[str, Any]] = []

    async def there() -> bool:
        found[:] = await search(admin, **wanted)
        return bool(found)

    await until(there, f"a row with {wanted}", SOON_S)
    return found[0]


async def test_what_changes_something_is_logged(admin: Person, ada: Person) -> None:
    room = await ada.room()
    row = await appears(admin, user_id=ada.id, action="POST", resource="/api/v1/conversations")
    assert (row["resource"], row["status"], row["ip"]) == ("/api/v1/conversations", 201, ada.address)
    assert row["user_agent"]
    assert row["request_id"]
    assert row["details"] == {}
    path = f"/api/v1/conversations/{room}"
    assert (await ada.ask("DELETE", f"conversations/{room}?secret=1")).status_code == 200
    assert (await appears(admin, user_id=ada.id, action="DELETE"))["resource"] == path
    # What was refused is logged as well; what only reads is not.
    refused(await ada.ask("PUT", f"conversations/{room}", json={"name": "x"}), 404)
    assert (await appears(admin, user_id=ada.id, action="PUT"))["status"] == 404
    assert {row["action"] for row in await search(admin, user_id=ada.id)} == {"POST", "DELETE", "PUT"}


async def test_an_anonymous_request_has_no_user_and_no_secret(admin: Person, system: Running, people: People) -> None:
    headers = {"X-Forwarded-For": "198.51.100.77", "User-Agent": "x" * 2000}
    body = {"email": "nobody@example.com", "password": "Wrong-pass-1"}
    await system.http.post("auth/login?token=abc", json=body, headers=headers)
    row = await appears(admin, ip="198.51.100.77")
    assert (row["user_id"], row["resource"], row["status"]) == (None, "/api/v1/auth/login", 401)
    assert len(row["user_agent"]) == 512
    assert "Wrong" not in str(row)
    assert "abc" not in str(row)


async def test_an_administrators_action_is_there_when_it_is_answered(admin: Person, eve: Person) -> None:
    await admin.call("POST", f"admin/users/{eve.id}/ban", json={"reason": "spam"})
    [row] = [found for found in await search(admin, user_id=admin.id) if eve.id in found["resource"]]
    assert "ban" in row["action"]
    # Its own row only, not that of the request besides.
    assert not await search(admin, user_id=admin.id, action="POST", resource="/api/v1/admin")


async def test_a_search_is_by_all_that_is_given(admin: Person, ada: Person) -> None:
    await ada.room()
    row = await appears(admin, user_id=ada.id, action="POST", resource="/api/v1/conversations")
    for wanted, there in (
        ({"from": row["created_at"]}, True),
        ({"to": row["created_at"]}, False),
        ({"status": 201}, True),
        ({"status": 404}, False),
        ({"resource": "/api/v1/conv"}, True),
        ({"resource": "/api/v1/%"}, False),
        ({"resource": "/api_v1/conv"}, False),
        ({"ip": ada.address}, True),
        ({"ip": "203.0.113.1"}, False),
    ):
        found = await search(admin, user_id=ada.id, **wanted)
        assert (row["id"] in {each["id"] for each in found}) is there, wanted
    page = data_of(await admin.ask("GET", "admin/audit-logs", params={"limit": 1, "offset": 1}))
    assert len(page["audit_logs"]) == 1


@pytest.mark.parametrize(
    "query", [{"limit": 0}, {"user_id": "me"}, {"from": "yesterday"}, {"from": "2026-01-01T00:00:00"}, {"status": 7}]
)
async def test_a_bad_search_is_400(admin: Person, query: dict[str, Any]) -> None:
    refused(await admin.ask("GET", "admin/audit-logs", params=query), 400)


async def test_only_administrators_search(ada: Person, system: Running) -> None:
    refused(await ada.ask("GET", "admin/audit-logs"), 403)
    refused(await system.http.get("admin/audit-logs"), 401)


async def test_who_signs_in_is_named(admin: Person, ada: Person) -> None:
    await ada.login()
    row = await appears(admin, user_id=ada.id, resource="/api/v1/auth/login")
    assert (row["status"], row["ip"]) == (200, ada.address)
    assert (await appears(admin, user_id=ada.id, resource="/api/v1/auth/register"))["status"] == 201


async def test_who_is_refused_is_named(admin: Person, ada: Person) -> None:
    made = await ada.call("POST", "developer/api-keys", json={"name": "reader", "scopes": ["read"]})
    headers = {"X-API-Key": made["key"]}
    refused(await ada.system.http.post("conversations", json={"type": "group"}, headers=headers), 403)
    assert await appears(admin, user_id=ada.id, resource="/api/v1/conversations", status=403)


async def test_a_name_that_is_no_text_harms_nobody(admin: Person, system: Running) -> None:
    gateways = {process.pid for process in await system.living("Gateway")}
    headers = {"User-Agent": b"caf\xff\xe9\x01", "X-Forwarded-For": b"198.51.100.78"}
    system.http.cookies.clear()
    for _ in range(8):
        assert (await system.http.post("auth/logout", headers=headers)).status_code == 200
    # An administrator's own row is no different.
    named = {"User-Agent": b"caf\xff\xe9", "Authorization": f"Bearer {admin.token}".encode()}
    answer = await system.http.put("admin/maintenance", json={"enabled": False}, headers=named)
    assert answer.status_code == 200, answer.text
    assert (await appears(admin, ip="198.51.100.78"))["user_agent"] == "caf"
    assert (await appears(admin, user_id=admin.id, resource="/api/v1/admin/maintenance"))["user_agent"] == "caf"
    assert {process.pid for process in await system.living("Gateway")} == gateways
