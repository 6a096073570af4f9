"""What administrators do to people: the list, roles, bans."""

import asyncio
from typing import Any

import pytest
from system.people import PASSWORD, People, Person
from system.running import Running, refused
from system.sides import Sides
from system.waiting import until


@pytest.fixture(scope="module")
async def admin(people: People) -> Person:
    return await people.administrator()


async def found(admin: Person, **query: Any) -> list[dict[str, Any]]:
    page = await admin.call("GET", "admin/users", params={"limit": 100, **query})
    users: list[dict[str, Any]] = page["users"]
    assert page["total"] >= len(users)
    return users


async def test_a_person_is_found_by_the_beginning_of_a_name(admin: Person, ada: Person) -> None:
    for search in (ada.username, ada.username.upper(), ada.email[:-4], f"  {ada.username} "):
        [one] = [user for user in await found(admin, search=search) if user["id"] == ada.id]
        assert one == {
            "id": ada.id,
            "username": ada.username,
            "email": ada.email,
            "role": "user",
            "display_name": "",
            "banned": False,
            "banned_at": None,
            "ban_reason": None,
            "created_at": one["created_at"],
        }
    # Only the beginning counts, and no character is a wildcard.
    for search in (ada.username[1:], "%", "person%", "p_rson", "\\"):
        assert not await found(admin, search=search)


async def test_lists_by_role_and_ban_in_pages(admin: Person, people: People) -> None:
    one, other, third = [await people.register() for _ in range(3)]
    await admin.call("PUT", f"admin/users/{one.id}/role", json={"role": "moderator"})
    await admin.call("POST", f"admin/users/{other.id}/ban")
    assert one.id in {user["id"] for user in await found(admin, role="moderator")}
    assert {user["role"] for user in await found(admin, role="moderator")} == {"moderator"}
    banned = {user["id"] for user in await found(admin, banned="true")}
    assert other.id in banned
    assert not {one.id, third.id} & banned
    assert other.id not in {user["id"] for user in await found(admin, banned="false")}
    assert [user["id"] for user in await found(admin, banned="true", role="user", search=other.email)] == [other.id]
    first = await admin.call("GET", "admin/users", params={"limit": 2})
    assert [user["id"] for user in first["users"]] == [third.id, other.id]
    second = await admin.call("GET", "admin/users", params={"limit": 1, "offset": 1})
    assert second["users"] == first["users"][1:]
    for query in ({"role": "emperor"}, {"banned": "perhaps"}, {"limit": 101}, {"offset": -1}, {"search": "x" * 255}):
        refused(await admin.ask("GET", "admin/users", params=query), 400, "invalid_argument")


async def test_only_administrators_see_the_list(admin: Person, ada: Person) -> None:
    for role in ("user", "creator", "moderator"):
        await admin.call("PUT", f"admin/users/{ada.id}/role", json={"role": role})
        refused(await ada.ask("GET", "admin/users"), 403, "permission_denied")


async def test_a_ban_has_a_reason_and_a_second_keeps_it(admin: Person, ada: Person) -> None:
    path = f"admin/users/{ada.id}"
    assert await admin.call("POST", f"{path}/ban", json={"reason": " Spam "}) == {"id": ada.id, "banned": True}
    [before] = await found(admin, search=ada.username, banned="true")
    await admin.call("POST", f"{path}/ban")
    [after] = await found(admin, search=ada.username, banned="true")
    assert after == before
    assert before["ban_reason"] == "Spam"
    await admin.call("POST", f"{path}/unban")
    [again] = await found(admin, search=ada.email)
    assert (again["banned"], again["banned_at"], again["ban_reason"]) == (False, None, None)
    for body in ({"reason": "x" * 501}, {"reason": 5}):
        refused(await admin.ask("POST", f"{path}/ban", json=body), 400, "invalid_argument")


async def test_nobody_does_it_to_themselves(admin: Person, people: People) -> None:
    # There is another administrator, so that this is not about the last.
    await people.administrator()
    refused(await admin.ask("PUT", f"admin/users/{admin.id}/role", json={"role": "user"}), 409, "conflict")
    refused(await admin.ask("POST", f"admin/users/{admin.id}/ban"), 409, "conflict")
    assert (await admin.call("GET", "users/me"))["role"] == "admin"


async def test_two_who_dismiss_each_other(people: People) -> None:
    one, other = await people.administrator(), await people.administrator()
    answers = await asyncio.gather(
        one.ask("PUT", f"admin/users/{other.id}/role", json={"role": "user"}),
        other.ask("PUT", f"admin/users/{one.id}/role", json={"role": "user"}),
    )
    # There are more administrators, so both may succeed; neither fails in another way.
    assert {answer.status_code for answer in answers} <= {200, 403}
    assert 200 in {answer.status_code for answer in answers}


async def test_a_ban_reaches_both_gateways(system: Running, admin: Person, ada: Person) -> None:
    async with Sides(system) as sides:
        sockets = [await sides.connect(ada, side) for side in (0, 1)]
        lines = [await sides.line(side) for side in (0, 1)]
        bearer = {"Authorization": f"Bearer {ada.token}"}
        for line in lines:
            assert (await line.get("users/me", headers=bearer)).status_code == 200
        await admin.call("POST", f"admin/users/{ada.id}/ban")
        assert [await socket.until_closed(5) for socket in sockets] == [4003, 4003]
        for line in lines:

            async def shut_out(line: Any = line) -> bool:
                return bool((await line.get("users/me", headers=bearer)).status_code == 403)

            await until(shut_out, "the gateway to refuse the banned", 5)
        login = await ada.system.http.post("auth/login", json={"email": ada.email, "password": PASSWORD})
        refused(login, 403, "banned")
        await admin.call("POST", f"admin/users/{ada.id}/unban")
        await ada.login()
