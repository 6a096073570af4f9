"""Who is known by a cookie alone must say what another cookie holds."""

import httpx
import pytest
from system.people import PASSWORD, Person
from system.running import Running, data_of, refused


async def cookies_of(person: Person) -> dict[str, str]:
    """Those that a browser has after a login and `GET /csrf-token`."""
    http, headers = person.system.http, {"X-Forwarded-For": person.address}
    body = {"email": person.email, "password": PASSWORD}
    signed_in = await http.post("auth/login", json=body, headers=headers)
    given = await http.get("csrf-token")
    assert "HttpOnly" not in given.headers["set-cookie"]
    assert "SameSite=Lax" in given.headers["set-cookie"]
    token = data_of(given)["csrf_token"]
    assert f"csrf_token={token}" in given.headers["set-cookie"]
    http.cookies.clear()
    return {"veza_refresh": data_of(signed_in)["refresh_token"], "csrf_token": token}


async def ask(system: Running, path: str, cookies: dict[str, str], **headers: str | bytes) -> httpx.Response:
    line = "; ".join(f"{name}={value}" for name, value in cookies.items()).encode()
    response = await system.http.post(path, headers={"Cookie": line, **headers})
    system.http.cookies.clear()
    return response


@pytest.mark.parametrize("path", ["auth/refresh", "auth/logout"])
async def test_a_cookie_alone_is_not_enough(ada: Person, path: str) -> None:
    cookies = await cookies_of(ada)
    token, system = cookies["csrf_token"], ada.system
    planted = {**cookies, "csrf_token": "a.b"}
    forged = token[:-1] + ("0" if token[-1] != "0" else "1")
    for held, said in (
        (cookies, None),
        (cookies, ""),
        (cookies, forged),
        ({**cookies, "csrf_token": forged}, forged),
        (planted, "a.b"),
        ({"veza_refresh": cookies["veza_refresh"]}, token),
        ({"veza_refresh": cookies["veza_refresh"]}, ""),
        (cookies, "ü"),
        ({**cookies, "csrf_token": "ü"}, "ü"),
    ):
        headers = {} if said is None else {"X-CSRF-Token": said.encode()}
        refused(await ask(system, path, held, **headers), 403, "csrf_invalid")
    # Nothing was spent by those.
    data_of(await ask(system, path, cookies, **{"X-CSRF-Token": token}))


async def test_who_shows_more_than_a_cookie_needs_no_token(ada: Person) -> None:
    cookies = await cookies_of(ada)
    held = {"veza_refresh": cookies["veza_refresh"]}
    bearer = {"Authorization": f"Bearer {ada.token}"}
    refreshed = await ada.system.http.post("auth/refresh", json={"refresh_token": cookies["veza_refresh"]})
    ada.system.http.cookies.clear()
    data_of(refreshed)
    data_of(await ask(ada.system, "auth/logout", held, **bearer))
    data_of(await ask(ada.system, "auth/logout", {}))
