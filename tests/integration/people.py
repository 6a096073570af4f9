"""People for tests of the API: made, signed in, and how their mistakes are answered."""

import itertools
from typing import Any

import httpx
from gateways import Gateway

from veza.storage import accounts

PASSWORD = "SecureP@ssw0rd"
_numbers = itertools.count(1)


def person(**changed: Any) -> dict[str, Any]:
    """A registration nobody else has made."""
    name = f"person_{next(_numbers)}"
    return {"username": name, "email": f"{name}@example.com", "password": PASSWORD, **changed}


async def registered(gateway: Gateway) -> dict[str, Any]:
    """The `data` of a new registration."""
    response = await gateway.call("POST", "/auth/register", json=person())
    assert response.status_code == 201, response.text
    found: dict[str, Any] = response.json()["data"]
    return found


async def administrator(gateway: Gateway) -> dict[str, Any]:
    """The `data` of an administrator's login."""
    made = person()
    await accounts.create_admin(gateway.services.pool, made["username"], made["email"], PASSWORD)
    response = await gateway.call("POST", "/auth/login", json={"email": made["email"], "password": PASSWORD})
    found: dict[str, Any] = response.json()["data"]
    return found


def refused(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """The body of an error, after a look at what every error has."""
    body: dict[str, Any] = response.json()
    assert (response.status_code, body.get("code")) == (status, code), response.text
    assert body["success"] is False
    assert isinstance(body["error"], str)
    assert body["request_id"]
    return body
