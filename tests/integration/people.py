"""People for tests of the API: made, signed in, and how their mistakes are answered."""

import itertools
from datetime import UTC, datetime
from typing import Any

import httpx
from gateways import Gateway

from veza.ids import new_id
from veza.storage import accounts
from veza.storage.audit import AuditRow

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


def acting() -> AuditRow:
    """The row of the audit log for somebody who has no account."""
    return AuditRow(
        id=new_id(),
        user_id=None,
        action="test",
        resource="/",
        ip="",
        user_agent="",
        status=200,
        request_id="",
        created_at=datetime.now(UTC),
        details={},
    )


def refused(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """The body of an error, after a look at what every error has."""
    body: dict[str, Any] = response.json()
    assert (response.status_code, body.get("code")) == (status, code), response.text
    assert body["success"] is False
    assert isinstance(body["error"], str)
    assert body["request_id"]
    return body
