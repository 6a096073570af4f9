"""Accounts over HTTP, on a real database: registration, profiles, passwords, roles, bans."""

import asyncio
from typing import Any
from uuid import UUID, uuid4

import jwt
import pytest
from gateways import SECRET, Gateway, until
from people import PASSWORD, acting, administrator, person, refused, registered

from veza.errors import Conflict, InvalidArgument
from veza.realtime.principal import Role
from veza.storage import account_admin, accounts


@pytest.fixture(autouse=True)
async def no_failures_so_far(pool: Any) -> None:
    """All requests of these tests come from one address."""
    await pool.execute("DELETE FROM login_failures")


async def test_register_has_the_documented_shape(gateway: Gateway) -> None:
    asked = person()
    response = await gateway.call("POST", "/auth/register", json=asked)
    assert response.status_code == 201
    body = response.json()
    assert set(body) == {"success", "data"}
    data = body["data"]
    assert set(data) == {"user", "access_token", "refresh_token", "expires_in"}
    assert data["user"] == {
        "id": str(UUID(data["user"]["id"])),
        "username": asked["username"],
        "email": asked["email"],
    }
    assert data["expires_in"] == 3600
    claims = jwt.decode(data["access_token"], SECRET, algorithms=["HS256"], audience="api")
    assert claims["exp"] - claims["iat"] == 3600
    assert claims["sub"] == data["user"]["id"]
    cookie = response.headers["set-cookie"].lower()
    assert cookie.startswith("veza_refresh=")
    for attribute in ("httponly", "samesite=lax", "path=/api/v1", "max-age=604800"):
        assert attribute in cookie
    assert "secure" not in cookie


@pytest.mark.parametrize(
    ("changed", "fields"),
    [
        ({"username": "ab"}, {"username"}),
        ({"username": "a" * 31}, {"username"}),
        ({"username": "no spaces"}, {"username"}),
        ({"username": "ünïcode"}, {"username"}),
        ({"username": "newline\n"}, {"username"}),
        ({"email": "no-address"}, {"email"}),
        ({"email": "two@@example.com"}, {"email"}),
        ({"email": "a@b"}, {"email"}),
        ({"email": f"{'a' * 64}@{'b' * 200}.example"}, {"email"}),
        ({"password": "Sh0rt!"}, {"password"}),
        ({"password": "Aa1!" + "x" * 125}, {"password"}),
        ({"password": "secureP0ssword"}, {"password"}),
        ({"password": "SECUREP@SSW0RD"}, {"password"}),
        ({"password": "securep@ssw0rd"}, {"password"}),
        ({"password": "SecureP@ssword"}, {"password"}),
        ({"username": "", "email": "", "password": ""}, {"username", "email", "password"}),
        ({"username": 5}, {"username"}),
        ({"email": None}, {"email"}),
    ],
)
async def test_register_refuses_and_names_the_fields(
    gateway: Gateway, changed: dict[str, Any], fields: set[str]
) -> None:
    response = await gateway.call("POST", "/auth/register", json=person(**changed))
    body = refused(response, 400, "invalid_argument")
    assert {detail["field"] for detail in body["details"]} == fields


@pytest.mark.parametrize("field", ["username", "email", "password"])
async def test_register_needs_every_field(gateway: Gateway, field: str) -> None:
    asked = person()
    del asked[field]
    body = refused(await gateway.call("POST", "/auth/register", json=asked), 400, "invalid_argument")
    assert [detail["field"] for detail in body["details"]] == [field]


@pytest.mark.parametrize("field", ["username", "email"])
async def test_names_are_unique_whatever_their_case(gateway: Gateway, field: str) -> None:
    first = person()
    await gateway.call("POST", "/auth/register", json=first)
    again = person(**{field: first[field].upper()})
    body = refused(await gateway.call("POST", "/auth/register", json=again), 409, "conflict")
    assert [detail["field"] for detail in body["details"]] == [field]


async def test_of_registrations_at_once_in_different_case_one_succeeds(gateway: Gateway) -> None:
    name = person()["username"]
    variants = [name, name.upper(), name.title(), name.capitalize(), name.swapcase()]
    responses = await asyncio.gather(
        *(
            gateway.call("POST", "/auth/register", json=person(username=variant, email=f"v{n}{name}@example.com"))
            for n, variant in enumerate(variants)
        )
    )
    assert sorted(response.status_code for response in responses) == [201, 409, 409, 409, 409]


async def test_me_and_what_others_see(gateway: Gateway) -> None:
    mine, other = await registered(gateway), await registered(gateway)
    me = (await gateway.call("GET", "/users/me", token=mine["access_token"])).json()["data"]
    assert me == {
        **mine["user"],
        "role": "user",
        "display_name": "",
        "bio": "",
        "avatar_url": None,
        "do_not_sell": False,
        "created_at": me["created_at"],
    }
    assert me["created_at"].endswith("Z")
    response = await gateway.call("GET", f"/users/{me['id']}", token=other["access_token"])
    assert response.status_code == 200
    profile = response.json()["data"]
    assert set(profile) == {"id", "username", "role", "display_name", "bio", "avatar_url", "created_at"}
    assert me["email"] not in response.text
    for path, code in ((f"/users/{uuid4()}", "user_not_found"), ("/users/nobody", "not_found")):
        refused(await gateway.call("GET", path, token=mine["access_token"]), 404, code)


async def test_update_me(gateway: Gateway) -> None:
    mine, other = await registered(gateway), await registered(gateway)
    token = mine["access_token"]
    change = {"display_name": "Jö 🎧", "bio": "b", "avatar_url": "https://example.com/a.png", "role": "admin"}
    response = await gateway.call("PUT", "/users/me", token=token, json=change)
    assert response.status_code == 200
    assert response.json()["data"]["display_name"] == "Jö 🎧"
    assert response.json()["data"]["role"] == "user"
    response = await gateway.call("PUT", "/users/me", token=token, json={"avatar_url": None, "username": "Re.named"})
    data = response.json()["data"]
    assert (data["avatar_url"], data["bio"], data["username"]) == (None, "b", "Re.named")
    taken = {"username": other["user"]["username"].upper()}
    refused(await gateway.call("PUT", "/users/me", token=token, json=taken), 409, "conflict")
    for wrong in (
        {"username": ""},
        {"bio": "x" * 1001},
        {"display_name": None},
        {"avatar_url": "javascript:alert(1)"},
        {"bio": "nul\x00"},
    ):
        body = refused(await gateway.call("PUT", "/users/me", token=token, json=wrong), 400, "invalid_argument")
        assert body.get("details") or "NUL" in body["error"]


async def test_password_change_ends_the_other_sessions(deaf_gateway: Gateway) -> None:
    asked = person()
    here = (await deaf_gateway.call("POST", "/auth/register", json=asked)).json()["data"]
    login = {"email": asked["email"], "password": PASSWORD}
    there = (await deaf_gateway.call("POST", "/auth/login", json=login)).json()["data"]
    assert (await deaf_gateway.call("GET", "/users/me", token=there["access_token"])).status_code == 200
    change = {"current_password": "Wr0ng!pass", "new_password": "An0ther!one"}
    path = "/users/me/password"
    refused(await deaf_gateway.call("PUT", path, token=here["access_token"], json=change), 403, "permission_denied")
    weak = {"current_password": PASSWORD, "new_password": "weak"}
    body = refused(await deaf_gateway.call("PUT", path, token=here["access_token"], json=weak), 400, "invalid_argument")
    assert body["details"][0]["field"] == "new_password"
    change["current_password"] = PASSWORD
    assert (await deaf_gateway.call("PUT", path, token=here["access_token"], json=change)).status_code == 200
    refused(await deaf_gateway.call("GET", "/users/me", token=there["access_token"]), 401, "unauthenticated")
    refresh = {"refresh_token": there["refresh_token"]}
    refused(await deaf_gateway.call("POST", "/auth/refresh", json=refresh), 401, "unauthenticated")
    assert (await deaf_gateway.call("GET", "/users/me", token=here["access_token"])).status_code == 200
    refused(await deaf_gateway.call("POST", "/auth/login", json=login), 401, "unauthenticated")
    login["password"] = "An0ther!one"
    assert (await deaf_gateway.call("POST", "/auth/login", json=login)).status_code == 200


async def test_become_creator_holds_for_the_token_in_hand(deaf_gateway: Gateway) -> None:
    token = (await registered(deaf_gateway))["access_token"]
    for _ in range(2):
        response = await deaf_gateway.call("POST", "/users/me/creator", token=token)
        assert (response.status_code, response.json()["data"]["role"]) == (200, "creator")
    principal = await deaf_gateway.services.authenticator.access(token)
    assert principal.role is Role.CREATOR


async def test_a_role_change_reaches_issued_tokens_on_every_gateway(deaf_gateway: Gateway, gateway: Gateway) -> None:
    admin, somebody = await administrator(deaf_gateway), await registered(deaf_gateway)
    path = f"/admin/users/{somebody['user']['id']}/role"
    nobody = f"/admin/users/{uuid4()}/role"
    for one in (deaf_gateway, gateway):
        refused(
            await one.call("PUT", nobody, token=somebody["access_token"], json={"role": "user"}),
            403,
            "permission_denied",
        )
    response = await deaf_gateway.call("PUT", path, token=admin["access_token"], json={"role": "admin"})
    assert (response.status_code, response.json()["data"]["role"]) == (200, "admin")

    async def let_in(one: Gateway) -> bool:
        response = await one.call("PUT", nobody, token=somebody["access_token"], json={"role": "user"})
        return response.status_code == 404

    assert await let_in(deaf_gateway)
    await until(lambda: let_in(gateway), 1.0)
    refused(
        await deaf_gateway.call("PUT", path, token=admin["access_token"], json={"role": "emperor"}),
        400,
        "invalid_argument",
    )


async def test_a_ban_ends_sessions_everywhere_and_refuses_login(deaf_gateway: Gateway, gateway: Gateway) -> None:
    admin = await administrator(deaf_gateway)
    asked = person()
    data = (await deaf_gateway.call("POST", "/auth/register", json=asked)).json()["data"]
    assert (await gateway.call("GET", "/users/me", token=data["access_token"])).status_code == 200
    path = f"/admin/users/{data['user']['id']}"
    response = await deaf_gateway.call("POST", f"{path}/ban", token=admin["access_token"])
    assert response.json()["data"] == {"id": data["user"]["id"], "banned": True}
    refused(await deaf_gateway.call("GET", "/users/me", token=data["access_token"]), 403, "banned")

    async def shut_out() -> bool:
        return (await gateway.call("GET", "/users/me", token=data["access_token"])).status_code == 403

    await until(shut_out, 1.0)
    login = {"email": asked["email"], "password": PASSWORD}
    refused(await deaf_gateway.call("POST", "/auth/login", json=login), 403, "banned")
    refresh = {"refresh_token": data["refresh_token"]}
    refused(await deaf_gateway.call("POST", "/auth/refresh", json=refresh), 403, "banned")
    assert (await deaf_gateway.call("POST", f"{path}/unban", token=admin["access_token"])).status_code == 200
    assert (await deaf_gateway.call("POST", "/auth/login", json=login)).status_code == 200
    refused(await deaf_gateway.call("GET", "/users/me", token=data["access_token"]), 401, "unauthenticated")


async def test_admin_routes_refuse_everybody_else(gateway: Gateway) -> None:
    token = (await registered(gateway))["access_token"]
    for method, path, body in (
        ("PUT", f"/admin/users/{uuid4()}/role", {"role": "admin"}),
        ("POST", f"/admin/users/{uuid4()}/ban", None),
        ("POST", f"/admin/users/{uuid4()}/unban", None),
    ):
        options = {"json": body} if body else {}
        refused(await gateway.call(method, path, token=token, **options), 403, "permission_denied")
        refused(await gateway.call(method, path, **options), 401, "unauthenticated")


async def test_the_last_administrator_stays(pool: Any) -> None:
    await pool.execute("UPDATE users SET role = 'user' WHERE role = 'admin'")
    two = [await accounts.create_admin(pool, *list(person().values())) for _ in range(2)]
    done = await asyncio.gather(
        *(account_admin.set_role(pool, one.id, Role.USER, acting()) for one in two), return_exceptions=True
    )
    assert sorted(isinstance(outcome, Conflict) for outcome in done) == [False, True]
    last = await pool.fetchval("SELECT id FROM users WHERE role = 'admin'")
    with pytest.raises(Conflict):
        await account_admin.ban(pool, last, None, acting())


async def test_create_admin(pool: Any) -> None:
    made = person()
    account = await accounts.create_admin(pool, made["username"], made["email"], PASSWORD)
    assert account.role is Role.ADMIN
    with pytest.raises(Conflict):
        await accounts.create_admin(pool, made["username"], person()["email"], PASSWORD)
    with pytest.raises(InvalidArgument):
        await accounts.create_admin(pool, "x", "y", "z")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/users/me"),
        ("PUT", "/users/me"),
        ("PUT", "/users/me/password"),
        ("POST", "/users/me/creator"),
        ("GET", f"/users/{uuid4()}"),
        ("GET", "/sessions"),
        ("POST", "/sessions/logout"),
        ("POST", "/sessions/logout-all"),
        ("POST", "/sessions/refresh"),
        ("GET", "/chat/token"),
    ],
)
async def test_no_token_and_wrong_tokens_are_refused(gateway: Gateway, method: str, path: str) -> None:
    chat = (await gateway.call("GET", "/chat/token", token=(await registered(gateway))["access_token"])).json()["data"][
        "token"
    ]
    for headers in (
        {},
        {"Authorization": "Bearer nonsense"},
        {"Authorization": "Basic dXNlcjpwYXNz"},
        {"Authorization": f"Bearer {chat}"},
        {"X-API-Key": "veza_sk_none"},
    ):
        refused(await gateway.call(method, path, headers=headers), 401, "unauthenticated")
