"""What is asked beforehand is answered by the rules that hold afterwards."""

from typing import Any

import httpx
import pytest
from system.people import PASSWORD, Person
from system.running import Running, data_of, refused

VALID: list[tuple[str, Any]] = [
    ("email", "ada@veza.example"),
    ("username", "ada.lovelace-1"),
    ("password", PASSWORD),
    ("url", "https://veza.example/me.png?size=2"),
    ("uuid", "0190a5c4-6b1e-7cc3-98c4-dc0c0c07398f"),
    ("track_metadata", {"title": "Aria", "tags": ["harp"], "more": 1}),
]
INVALID: list[tuple[str, Any, int]] = [
    ("email", "ada@veza", 1),
    ("email", ["ada@veza.example"], 1),
    ("username", "a b", 1),
    ("username", "ada\n", 1),
    ("password", "short", 1),
    ("password", "all-lower-case", 1),
    ("url", "javascript:alert(1)", 1),
    ("url", "https://veza.example/\n", 1),
    ("uuid", "0190a5c46b1e7cc398c4dc0c0c07398f", 1),
    ("uuid", 7, 1),
    ("track_metadata", {"title": "", "genre": 1}, 2),
    ("track_metadata", "Aria", 1),
    ("username", None, 1),
]


async def validate(system: Running, number: int, body: object) -> httpx.Response:
    """From an address of its own: each has 20 a minute."""
    return await system.http.post("validate", json=body, headers={"X-Forwarded-For": f"10.77.0.{number}"})


async def test_values(system: Running) -> None:
    for number, (kind, value) in enumerate(VALID):
        found = data_of(await validate(system, number, {"type": kind, "value": value}), 200)
        assert found == {"valid": True, "errors": []}, kind
    for number, (kind, value, errors) in enumerate(INVALID):
        found = data_of(await validate(system, 100 + number, {"type": kind, "value": value}), 200)
        assert found["valid"] is False
        assert len(found["errors"]) == errors, (kind, value)
        assert all(isinstance(error, str) for error in found["errors"])


@pytest.mark.parametrize(
    "body", [{}, {"type": "email"}, {"value": "x"}, {"type": "phone", "value": "x"}, [], "x", None]
)
async def test_what_is_no_question_is_400(system: Running, body: object) -> None:
    refused(await validate(system, 200, body), 400, "invalid_argument")


async def test_it_says_what_registration_says(system: Running) -> None:
    for field, value in (("username", "a b"), ("email", "ada"), ("password", "weak")):
        body = {"username": "some_one", "email": "some_one@example.org", "password": PASSWORD, field: value}
        [detail] = refused(await system.http.post("auth/register", json=body), 400)["details"]
        [error] = data_of(await validate(system, 201, {"type": field, "value": value}))["errors"]
        assert error == f"{field} {detail['message']}"


async def test_an_address_asks_20_times_a_minute(system: Running) -> None:
    body = {"type": "uuid", "value": "x"}
    answers = [await validate(system, 202, body)]
    # A window may end meanwhile: then there are two.
    while answers[-1].status_code == 200 and len(answers) <= 40:
        answers.append(await validate(system, 202, body))
    refused(answers[-1], 429, "rate_limited")
    assert len(answers) > 20
    assert answers[-1].headers["x-ratelimit-limit"] == answers[0].headers["x-ratelimit-limit"] == "20"
    assert answers[-1].headers["x-ratelimit-remaining"] == "0"
    assert 1 <= int(answers[-1].headers["retry-after"]) <= 60
    assert answers[-1].headers["x-frame-options"] == "DENY"


async def test_upload_limits(system: Running) -> None:
    found = data_of(await system.http.get("upload/limits"))
    assert {kind: limits["max_bytes"] for kind, limits in found.items()} == {
        "audio": 209_715_200,
        "image": 10_485_760,
        "document": 26_214_400,
        "cloud": 524_288_000,
    }
    assert found["cloud"]["max_bytes_in_parts"] == found["cloud"]["quota_bytes"] == 5_368_709_120
    assert "audio/mpeg" in found["audio"]["mime_types"]
    assert "mp3" in found["audio"]["extensions"]


async def test_a_limit_is_the_one_that_holds(ada: Person) -> None:
    largest = data_of(await ada.system.http.get("upload/limits"))["image"]["max_bytes"]
    room_id = await ada.room()
    png = b"\x89PNG\r\n\x1a\n"
    for size, status in ((largest, 201), (largest + 1, 413)):
        files = {"file": ("a.png", png + bytes(size - len(png)))}
        answer = await ada.ask("POST", f"conversations/{room_id}/attachments", files=files)
        assert answer.status_code == status, answer.text


async def test_validate_type(system: Running) -> None:
    async def ask(**query: str) -> httpx.Response:
        return await system.http.get("upload/validate-type", params=query)

    assert data_of(await ask(filename="aria.mp3", kind="audio")) == {"valid": True, "detected": "audio/mpeg"}
    refusal = data_of(await ask(filename="aria.mp3", mime="image/png", kind="image"))
    assert refusal["valid"] is False
    assert refusal["detected"] == "audio/mpeg"
    assert "image/png" in refusal["reason"]
    for bad in (
        {},
        {"kind": "audio"},
        {"filename": "a.mp3", "kind": "video"},
        {"filename": "x" * 1025},
        {"filename": ""},
    ):
        refused(await ask(**bad), 400, "invalid_argument")


async def test_well_known(system: Running) -> None:
    text = await system.http.get(f"{system.url}/.well-known/security.txt")
    assert text.text.startswith("Contact: mailto:security@localhost\nExpires: ")
    assert (await system.http.get(f"{system.url}/.well-known/gpc.json")).json()["gpc"] is True


@pytest.mark.parametrize("path", ["/health", "/health/deep", "/healthz", "/readyz", "/metrics"])
async def test_addresses_at_the_root_are_deprecated(system: Running, path: str) -> None:
    for method in ("GET", "HEAD"):
        old = await system.http.request(method, f"{system.url}{path}")
        new = await system.http.request(method, f"{system.url}/api/v1{path}")
        assert old.status_code == new.status_code == 200
        assert old.headers["content-type"] == new.headers["content-type"]
        assert old.headers["deprecation"].startswith("@")
        assert old.headers["link"] == f'</api/v1{path}>; rel="successor-version"'
        assert not {"deprecation", "link"} & set(new.headers)
