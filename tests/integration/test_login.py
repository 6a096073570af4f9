"""Login over HTTP, on a real database: shape, equal answers, and the slowing of guesses."""

import asyncio
from typing import Any
from uuid import UUID, uuid4

import pytest
from gateways import Gateway
from people import PASSWORD, person, refused

from veza.storage.login_guard import guard_keys


def accounts_key(email: str) -> str:
    """What the failures of an account are counted under."""
    return guard_keys(email, "")[0]


@pytest.fixture(autouse=True)
async def no_failures_so_far(pool: Any) -> None:
    """All requests of these tests come from one address."""
    await pool.execute("DELETE FROM login_failures")


async def test_login_has_the_documented_shape(gateway: Gateway) -> None:
    asked = person()
    user = (await gateway.call("POST", "/auth/register", json=asked)).json()["data"]["user"]
    response = await gateway.call("POST", "/auth/login", json={"email": asked["email"].upper(), "password": PASSWORD})
    assert response.status_code == 200
    data = response.json()["data"]
    assert set(data) == {"user", "access_token", "refresh_token", "expires_in"}
    assert data["user"] == user
    assert "veza_refresh=" in response.headers["set-cookie"]


async def test_an_unknown_address_gets_the_answer_of_a_wrong_password_after_the_same_work(
    gateway: Gateway,
) -> None:
    asked = person()
    await gateway.call("POST", "/auth/register", json=asked)
    passwords = gateway.services.passwords
    answers = []
    for email in (asked["email"], "nobody@example.com"):
        before = passwords.performed
        response = await gateway.call("POST", "/auth/login", json={"email": email, "password": "Wr0ng!pass"})
        body = refused(response, 401, "unauthenticated")
        answers.append((body["error"], passwords.performed - before))
    assert answers[0] == answers[1]
    assert answers[0][1] == 1


async def test_ten_failures_close_the_account_even_to_the_right_password(gateway: Gateway, pool: Any) -> None:
    asked = person()
    await gateway.call("POST", "/auth/register", json=asked)
    wrong = {"email": asked["email"], "password": "Wr0ng!pass"}
    statuses = [(await gateway.call("POST", "/auth/login", json=wrong)).status_code for _ in range(10)]
    assert statuses == [401] * 10
    # As if from another address: what is left is the account's own count.
    await pool.execute("DELETE FROM login_failures WHERE key <> $1", accounts_key(asked["email"]))
    response = await gateway.call("POST", "/auth/login", json={"email": asked["email"], "password": PASSWORD})
    refused(response, 429, "rate_limited")
    assert 800 < int(response.headers["retry-after"]) <= 900
    await pool.execute("UPDATE login_failures SET failed_at = failed_at - interval '15 minutes'")
    response = await gateway.call("POST", "/auth/login", json={"email": asked["email"], "password": PASSWORD})
    assert response.status_code == 200


async def test_ten_failures_close_the_address_for_other_accounts(gateway: Gateway) -> None:
    for _ in range(10):
        await gateway.call("POST", "/auth/login", json={"email": f"{uuid4()}@example.com", "password": "Wr0ng!pass"})
    asked = person()
    await gateway.call("POST", "/auth/register", json=asked)
    login = {"email": asked["email"], "password": PASSWORD}
    refused(await gateway.call("POST", "/auth/login", json=login), 429, "rate_limited")


async def test_guesses_at_once_get_no_more_answers_than_guesses_in_a_row(gateway: Gateway) -> None:
    asked = person()
    await gateway.call("POST", "/auth/register", json=asked)
    wrong = {"email": asked["email"], "password": "Wr0ng!pass"}
    responses = await asyncio.gather(*(gateway.call("POST", "/auth/login", json=wrong) for _ in range(25)))
    statuses = sorted(response.status_code for response in responses)
    assert statuses == [401] * 10 + [429] * 15


async def test_a_success_forgets_the_failures_of_the_account(gateway: Gateway, pool: Any) -> None:
    asked = person()
    await gateway.call("POST", "/auth/register", json=asked)
    for _ in range(5):
        await gateway.call("POST", "/auth/login", json={"email": asked["email"], "password": "Wr0ng!pass"})
    await gateway.call("POST", "/auth/login", json={"email": asked["email"], "password": PASSWORD})
    key = accounts_key(asked["email"])
    assert await pool.fetchval("SELECT count(*) FROM login_failures WHERE key = $1", key) == 0


async def test_no_password_no_token_and_no_address_of_a_failure_is_stored(gateway: Gateway, pool: Any) -> None:
    asked = person()
    data = (await gateway.call("POST", "/auth/register", json=asked)).json()["data"]
    await gateway.call("POST", "/auth/login", json={"email": asked["email"], "password": "Wr0ng!pass"})
    stored = await pool.fetchval("SELECT password_hash FROM users WHERE id = $1", UUID(data["user"]["id"]))
    assert stored.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    hashes = await pool.fetch("SELECT encode(token_hash, 'escape') AS text FROM refresh_tokens")
    assert data["refresh_token"] not in {row["text"] for row in hashes}
    keys = await pool.fetch("SELECT key FROM login_failures")
    assert keys
    assert all(len(row["key"]) == 64 for row in keys)
