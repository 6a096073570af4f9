"""Sessions over HTTP, on a real database: refresh and its reuse, logout, revocation on every gateway, sweeps."""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import jwt
import pytest
from gateways import SECRET, Gateway, StartGateway, until
from people import acting

from veza.errors import Banned, Unauthenticated
from veza.http.auth import Authenticator
from veza.http.tokens import Audience, Tokens
from veza.realtime.principal import Role
from veza.storage import account_admin, sessions
from veza.storage.sweeps import BATCH, sweep

PASSWORD = "SecureP@ssw0rd"


async def signed_in(gateway: Gateway, times: int = 1) -> list[dict[str, Any]]:
    """A new person with so many sessions: the `data` of each, oldest first."""
    name = f"user_{uuid4().hex[:12]}"
    login = {"email": f"{name}@example.com", "password": PASSWORD}
    first = await gateway.call("POST", "/auth/register", json={"username": name, **login})
    assert first.status_code == 201, first.text
    more = [await gateway.call("POST", "/auth/login", json=login) for _ in range(times - 1)]
    return [response.json()["data"] for response in (first, *more)]


def session_of(data: dict[str, Any]) -> str:
    return str(jwt.decode(data["access_token"], options={"verify_signature": False})["sid"])


async def status(gateway: Gateway, data: dict[str, Any]) -> int:
    """What `/users/me` says to an access token."""
    return (await gateway.call("GET", "/users/me", token=data["access_token"])).status_code


async def refreshed(gateway: Gateway, token: str) -> tuple[int, dict[str, Any]]:
    response = await gateway.call("POST", "/auth/refresh", json={"refresh_token": token})
    return response.status_code, response.json()


async def test_refresh_rotates_and_keeps_the_session(gateway: Gateway) -> None:
    [data] = await signed_in(gateway)
    code, body = await refreshed(gateway, data["refresh_token"])
    assert code == 200
    assert set(body["data"]) == {"user", "access_token", "refresh_token", "expires_in"}
    assert body["data"]["user"] == data["user"]
    assert body["data"]["refresh_token"] != data["refresh_token"]
    assert session_of(body["data"]) == session_of(data)
    assert (await refreshed(gateway, body["data"]["refresh_token"]))[0] == 200
    assert await status(gateway, data) == 200


async def cookies(gateway: Gateway, refresh_token: str) -> dict[str, str]:
    """What a page of ours sends that knows its visitor by a cookie alone."""
    token = (await gateway.call("GET", "/csrf-token")).json()["data"]["csrf_token"]
    return {"Cookie": f"veza_refresh={refresh_token}; csrf_token={token}", "X-CSRF-Token": token}


async def test_refresh_by_cookie(gateway: Gateway) -> None:
    [data] = await signed_in(gateway)
    headers = await cookies(gateway, data["refresh_token"])
    response = await gateway.call("POST", "/auth/refresh", headers=headers)
    assert response.status_code == 200
    assert response.headers["set-cookie"].startswith(f"veza_refresh={response.json()['data']['refresh_token']}")


async def test_headers_that_are_no_text_do_no_harm(gateway: Gateway) -> None:
    cookie = {"Cookie": b"veza_refresh=\xff\xfe"}
    assert (await gateway.call("POST", "/auth/refresh", headers=cookie)).status_code == 403
    name = f"user_{uuid4().hex[:12]}"
    body = {"username": name, "email": f"{name}@example.com", "password": PASSWORD}
    response = await gateway.call("POST", "/auth/register", json=body, headers={"User-Agent": b"caf\xff\xe9" * 200})
    assert response.status_code == 201
    token = response.json()["data"]["access_token"]
    assert (await gateway.call("GET", "/sessions", token=token)).status_code == 200
    assert (await gateway.call("GET", "/users/me", headers={"Authorization": b"Bearer \xff"})).status_code == 401


async def test_a_used_refresh_token_ends_its_session(deaf_gateway: Gateway, gateway: Gateway) -> None:
    stolen, other = await signed_in(deaf_gateway, 2)
    assert [await status(one, stolen) for one in (deaf_gateway, gateway)] == [200, 200]
    _, body = await refreshed(deaf_gateway, stolen["refresh_token"])
    code, reuse = await refreshed(deaf_gateway, stolen["refresh_token"])
    assert (code, reuse["code"]) == (401, "unauthenticated")
    assert await status(deaf_gateway, stolen) == 401
    assert await status(deaf_gateway, body["data"]) == 401
    assert (await refreshed(deaf_gateway, body["data"]["refresh_token"]))[0] == 401

    async def gone() -> bool:
        return await status(gateway, stolen) == 401

    await until(gone, 1.0)
    assert await status(deaf_gateway, other) == 200


async def test_of_refreshes_at_once_one_succeeds(gateway: Gateway) -> None:
    [data] = await signed_in(gateway)
    outcomes = await asyncio.gather(*(refreshed(gateway, data["refresh_token"]) for _ in range(8)))
    assert sorted(code for code, _ in outcomes) == [200] + [401] * 7
    # Two parties held the token, so neither keeps the session.
    winner = next(body for code, body in outcomes if code == 200)
    assert await status(gateway, winner["data"]) == 401


async def test_refresh_refuses(gateway: Gateway, pool: Any) -> None:
    [data] = await signed_in(gateway)
    assert (await refreshed(gateway, "unknown"))[0] == 401
    assert (await refreshed(gateway, data["access_token"]))[0] == 401
    assert (await gateway.call("POST", "/auth/refresh")).status_code == 401
    assert (await gateway.call("POST", "/auth/refresh", json={})).status_code == 401
    assert (await gateway.call("POST", "/auth/refresh", json={"refresh_token": 5})).status_code == 400
    session_id = UUID(session_of(data))
    await pool.execute("UPDATE refresh_tokens SET expires_at = now() WHERE session_id = $1", session_id)
    assert (await refreshed(gateway, data["refresh_token"]))[0] == 401
    assert await status(gateway, data) == 200


@pytest.mark.parametrize("path", ["/auth/logout", "/sessions/logout"])
async def test_logout_holds_for_the_very_next_request(deaf_gateway: Gateway, path: str) -> None:
    data, other = await signed_in(deaf_gateway, 2)
    assert await status(deaf_gateway, data) == 200
    response = await deaf_gateway.call("POST", path, token=data["access_token"])
    assert response.status_code == 200
    assert response.json()["success"] is True
    assert "max-age=0" in response.headers["set-cookie"].lower()
    assert await status(deaf_gateway, data) == 401
    assert (await refreshed(deaf_gateway, data["refresh_token"]))[0] == 401
    assert await status(deaf_gateway, other) == 200


async def test_logout_by_refresh_token_and_without_any(deaf_gateway: Gateway) -> None:
    by_body, by_cookie = await signed_in(deaf_gateway, 2)
    body = {"refresh_token": by_body["refresh_token"]}
    assert (await deaf_gateway.call("POST", "/auth/logout", json=body)).status_code == 200
    headers = await cookies(deaf_gateway, by_cookie["refresh_token"])
    assert (await deaf_gateway.call("POST", "/auth/logout", headers=headers)).status_code == 200
    assert [await status(deaf_gateway, data) for data in (by_body, by_cookie)] == [401, 401]
    assert (await deaf_gateway.call("POST", "/auth/logout")).status_code == 200


async def test_a_logout_reaches_another_gateway_within_a_second(gateway: Gateway, start_gateway: StartGateway) -> None:
    [data] = await signed_in(gateway)
    second = await start_gateway()
    assert await status(second, data) == 200
    await gateway.call("POST", "/auth/logout", token=data["access_token"])

    async def gone() -> bool:
        return await status(second, data) == 401

    await until(gone, 1.0)


async def test_sessions_are_listed_newest_first(gateway: Gateway) -> None:
    first, second, third = await signed_in(gateway, 3)
    await gateway.call("POST", "/auth/logout", token=second["access_token"])
    headers = {"Authorization": f"Bearer {first['access_token']}"}
    response = await gateway.call("GET", "/sessions", headers=headers)
    assert response.status_code == 200
    data = response.json()["data"]
    assert data["total"] == 2
    assert [found["id"] for found in data["sessions"]] == [session_of(third), session_of(first)]
    assert [found["current"] for found in data["sessions"]] == [False, True]
    fields = {"id", "device", "ip", "created_at", "last_seen_at", "expires_at", "current"}
    assert all(set(found) == fields for found in data["sessions"])
    assert data["sessions"][0]["ip"] == "127.0.0.1"
    assert data["sessions"][0]["device"].startswith("python-httpx/")
    page = (await gateway.call("GET", "/sessions?limit=1&offset=5", headers=headers)).json()["data"]
    assert page == {"sessions": [], "total": 2}
    for query in ("limit=0", "limit=101", "offset=-1", "limit=x"):
        assert (await gateway.call("GET", f"/sessions?{query}", headers=headers)).status_code == 400


async def test_logout_of_another_session_of_ones_own(gateway: Gateway) -> None:
    here, there = await signed_in(gateway, 2)
    [stranger] = await signed_in(gateway)
    body = {"session_id": session_of(there)}
    response = await gateway.call("POST", "/sessions/logout", token=stranger["access_token"], json=body)
    assert response.status_code == 404
    assert await status(gateway, there) == 200
    response = await gateway.call("POST", "/sessions/logout", token=here["access_token"], json=body)
    assert response.status_code == 200
    assert "set-cookie" not in response.headers
    assert [await status(gateway, data) for data in (here, there)] == [200, 401]
    body = {"session_id": "none"}
    response = await gateway.call("POST", "/sessions/logout", token=here["access_token"], json=body)
    assert response.status_code == 400


async def test_logout_all(deaf_gateway: Gateway) -> None:
    mine = await signed_in(deaf_gateway, 3)
    [other] = await signed_in(deaf_gateway)
    response = await deaf_gateway.call("POST", "/sessions/logout-all", token=mine[0]["access_token"])
    assert response.json()["data"]["ended"] == 3
    assert [await status(deaf_gateway, data) for data in mine] == [401] * 3
    assert await status(deaf_gateway, other) == 200


async def test_refresh_of_the_current_session(gateway: Gateway) -> None:
    data, other = await signed_in(gateway, 2)
    path, token = "/sessions/refresh", data["access_token"]
    foreign = {"refresh_token": other["refresh_token"]}
    assert (await gateway.call("POST", path, token=token, json=foreign)).status_code == 401
    own = {"refresh_token": data["refresh_token"]}
    response = await gateway.call("POST", path, token=token, json=own)
    assert response.status_code == 200
    assert session_of(response.json()["data"]) == session_of(data)
    renewed = (await gateway.call("POST", path, token=token)).json()["data"]
    assert (await refreshed(gateway, renewed["refresh_token"]))[0] == 200
    # What the renewal replaced counts as used.
    assert (await refreshed(gateway, response.json()["data"]["refresh_token"]))[0] == 401
    assert await status(gateway, data) == 401


async def test_chat_token(gateway: Gateway) -> None:
    [data] = await signed_in(gateway)
    response = await gateway.call("GET", "/chat/token", token=data["access_token"])
    assert response.status_code == 200
    found = response.json()["data"]
    assert set(found) == {"token", "expires_in"}
    assert found["expires_in"] == 300
    authenticator = gateway.services.authenticator
    principal = await authenticator.chat(found["token"])
    assert (str(principal.user_id), str(principal.session_id)) == (data["user"]["id"], session_of(data))
    with pytest.raises(Unauthenticated):
        await authenticator.chat(data["access_token"])
    await gateway.call("POST", "/auth/logout", token=data["access_token"])
    with pytest.raises(Unauthenticated):
        await authenticator.chat(found["token"])


async def test_a_token_of_one_person_does_not_speak_for_the_session_of_another(gateway: Gateway) -> None:
    [mine], [theirs] = await signed_in(gateway), await signed_in(gateway)
    tokens = Tokens(SECRET)
    mixed = tokens.issue(Audience.API, UUID(mine["user"]["id"]), UUID(session_of(theirs)), datetime.now(UTC))
    assert (await gateway.call("GET", "/users/me", token=mixed)).status_code == 401


async def test_last_seen_moves_at_most_once_a_minute(gateway: Gateway, pool: Any) -> None:
    [data] = await signed_in(gateway)
    session_id = UUID(session_of(data))
    query = "SELECT last_seen_at FROM sessions WHERE id = $1"
    before = await pool.fetchval(query, session_id)
    await status(gateway, data)
    assert await pool.fetchval(query, session_id) == before
    await pool.execute(
        "UPDATE sessions SET last_seen_at = last_seen_at - interval '61 seconds' WHERE id = $1", session_id
    )
    authenticator = Authenticator(pool, Tokens(SECRET), fresh=lambda: True)
    await authenticator.access(data["access_token"])
    assert await pool.fetchval(query, session_id) >= before


async def test_the_cache_is_not_believed_while_the_log_cannot_be_followed(gateway: Gateway, pool: Any) -> None:
    [data] = await signed_in(gateway)
    fresh = True
    authenticator = Authenticator(pool, Tokens(SECRET), fresh=lambda: fresh)
    await authenticator.access(data["access_token"])
    await sessions.revoke(pool, UUID(data["user"]["id"]), UUID(session_of(data)))
    # No event was handed on: the session is still believed, as it is between a commit and its notification.
    await authenticator.access(data["access_token"])
    fresh = False
    with pytest.raises(Unauthenticated):
        await authenticator.access(data["access_token"])


class HeldUp:
    """A pool whose answers are read at once but handed on only when `released`."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool
        self.read = asyncio.Event()
        self.released = asyncio.Event()

    async def fetchrow(self, query: str, *arguments: object) -> Any:
        row = await self._pool.fetchrow(query, *arguments)
        self.read.set()
        await self.released.wait()
        return row


async def test_a_load_that_raced_a_revocation_is_done_again(gateway: Gateway, pool: Any) -> None:
    [data] = await signed_in(gateway)
    slow = HeldUp(pool)
    authenticator = Authenticator(slow, Tokens(SECRET), fresh=lambda: True)
    loading = asyncio.create_task(authenticator.access(data["access_token"]))
    await slow.read.wait()
    authenticator.apply(await sessions.revoke(pool, UUID(data["user"]["id"]), UUID(session_of(data))))
    slow.released.set()
    with pytest.raises(Unauthenticated):
        await loading


async def test_a_load_that_raced_a_change_of_role_is_done_again(gateway: Gateway, pool: Any) -> None:
    [data] = await signed_in(gateway)
    slow = HeldUp(pool)
    authenticator = Authenticator(slow, Tokens(SECRET), fresh=lambda: True)
    loading = asyncio.create_task(authenticator.access(data["access_token"]))
    await slow.read.wait()
    _, events = await account_admin.set_role(pool, UUID(data["user"]["id"]), Role.MODERATOR, acting())
    authenticator.apply(events)
    slow.released.set()
    assert (await loading).role is Role.MODERATOR
    assert (await authenticator.access(data["access_token"])).role is Role.MODERATOR


async def test_the_cache_is_bounded(gateway: Gateway, pool: Any) -> None:
    first, second = await signed_in(gateway, 2)
    authenticator = Authenticator(pool, Tokens(SECRET), fresh=lambda: True, capacity=1)
    for data in (first, second):
        await authenticator.access(data["access_token"])
    await pool.execute(
        "UPDATE sessions SET revoked_at = now() WHERE id = ANY($1)", [session_of(first), session_of(second)]
    )
    with pytest.raises(Unauthenticated):
        await authenticator.access(first["access_token"])
    # Still in memory, and no event has said otherwise.
    assert await authenticator.access(second["access_token"])


async def test_an_extended_session_outlives_what_was_cached_of_it(gateway: Gateway, pool: Any) -> None:
    [data] = await signed_in(gateway)
    session_id = UUID(session_of(data))
    set_expiry = "UPDATE sessions SET expires_at = $2 WHERE id = $1"
    soon = datetime.now(UTC) + timedelta(milliseconds=150)
    await pool.execute(set_expiry, session_id, soon)
    authenticator = Authenticator(pool, Tokens(SECRET), fresh=lambda: True)
    await authenticator.access(data["access_token"])
    await until(lambda: datetime.now(UTC) > soon)
    with pytest.raises(Unauthenticated):
        await authenticator.access(data["access_token"])
    await pool.execute(set_expiry, session_id, soon + timedelta(days=1))
    assert await authenticator.access(data["access_token"])


async def test_a_ban_is_told_apart_and_ends_sessions(gateway: Gateway, pool: Any) -> None:
    [data] = await signed_in(gateway)
    events = await account_admin.ban(pool, UUID(data["user"]["id"]), None, acting())
    assert {event.subject for event in events} == {session_of(data), data["user"]["id"]}
    gateway.services.authenticator.apply(events)
    with pytest.raises(Banned):
        await gateway.services.authenticator.access(data["access_token"])


async def test_sweep_removes_what_has_had_its_day_and_nothing_else(gateway: Gateway, pool: Any) -> None:
    [living], [expired] = await signed_in(gateway), await signed_in(gateway)
    await sweep(pool)
    await pool.execute(
        "UPDATE sessions SET created_at = now() - interval '9 days', expires_at = now() - interval '2 days' "
        "WHERE id = $1",
        UUID(session_of(expired)),
    )
    await pool.execute(
        "UPDATE refresh_tokens SET expires_at = now() - interval '1 second' WHERE session_id = $1",
        UUID(session_of(expired)),
    )
    await pool.execute(
        "INSERT INTO login_failures SELECT 'k', now() - interval '16 minutes' FROM generate_series(1, $1)",
        BATCH + 1,
    )
    await pool.execute("INSERT INTO login_failures VALUES ('young', now())")
    await pool.execute(
        "INSERT INTO control_log (kind, subject, created_at) VALUES ('user_changed', $1, now() - interval '25 hours')",
        str(uuid4()),
    )
    await pool.execute(
        "INSERT INTO idempotency_keys (user_id, key, fingerprint, created_at) VALUES "
        "($1, 'old', '', now() - interval '25 hours'), ($1, 'young', '', now() - interval '23 hours')",
        UUID(living["user"]["id"]),
    )
    kept = await pool.fetchval("SELECT count(*) FROM control_log WHERE created_at > now() - interval '1 day'")
    assert await sweep(pool) == {
        "refresh_tokens": 1,
        "sessions": 1,
        "login_failures": BATCH + 1,
        "control_log": 1,
        "idempotency_keys": 1,
        "attachments": 0,
        "product_files": 0,
        "webhooks": 0,
        "notifications": 0,
        "room_events": 0,
    }
    assert set((await sweep(pool)).values()) == {0}
    assert await pool.fetchval("SELECT count(*) FROM control_log") == kept
    assert await status(gateway, living) == 200
    assert await pool.fetchval("SELECT count(*) FROM login_failures WHERE key = 'young'") == 1
    assert await pool.fetchval("SELECT array_agg(key) FROM idempotency_keys") == ["young"]


async def test_a_csrf_token_is_good_for_a_day(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    [data] = await signed_in(gateway)
    headers = await cookies(gateway, data["refresh_token"])
    real = time.time
    for hours, status_then in ((25, 403), (23, 200)):
        monkeypatch.setattr(time, "time", lambda hours=hours: real() + hours * 3600)
        response = await gateway.call("POST", "/auth/refresh", headers=headers)
        monkeypatch.undo()
        assert response.status_code == status_then, response.text
