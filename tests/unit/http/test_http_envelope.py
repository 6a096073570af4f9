"""The envelope, statuses and headers that every answer has."""

import logging
import uuid

import httpx
import pytest
from http_harness import ORIGIN, make_services, raw_exchange, served
from http_samples import sample_resource

from veza.http.api import system
from veza.http.services import Services

SECURITY = {
    "content-security-policy",
    "x-frame-options",
    "x-content-type-options",
    "referrer-policy",
    "permissions-policy",
}


def failure_of(response: httpx.Response, status: int, code: str) -> dict[str, object]:
    """The envelope of a failure, after checking its form."""
    assert response.status_code == status, response.text
    body = response.json()
    assert body["success"] is False
    assert body["code"] == code
    assert isinstance(body["error"], str)
    assert body["request_id"] == response.headers["x-request-id"]
    assert set(body) <= {"success", "error", "code", "request_id", "details"}
    assert isinstance(body, dict)
    return body


async def test_success(client: httpx.AsyncClient) -> None:
    response = await client.get("/api/v1/health")
    assert response.status_code == 200
    assert response.json() == {"success": True, "data": {"status": "ok"}}
    assert response.headers["content-type"] == "application/json"


async def test_declared_status_and_reply(client: httpx.AsyncClient) -> None:
    created = await client.post("/api/v1/songs", json={"title": "Aria", "unknown": [1]})
    assert created.status_code == 201
    assert created.json()["data"] == {"title": "Aria", "inner": None, "tags": []}
    song_id = str(uuid.uuid4())
    removed = await client.delete(f"/api/v1/songs/{song_id}", headers={"Authorization": "Bearer admin"})
    assert removed.status_code == 202
    assert removed.headers["x-was"] == "here"
    cookie = removed.headers["set-cookie"]
    assert f"last={song_id}" in cookie
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert "Secure" not in cookie


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nowhere", 404, "not_found"),
        ("GET", "/api/v1/nowhere", 404, "not_found"),
        ("GET", "/api/v1/songs/not-a-uuid", 404, "not_found"),
        ("DELETE", "/api/v1/health", 405, "method_not_allowed"),
        ("BREW", "/api/v1/health", 405, "method_not_allowed"),
        ("GET", "/api/v1/fail/bug", 500, "internal"),
        ("GET", "/api/v1/fail/unencodable", 500, "internal"),
        ("GET", "/api/v1/fail/outage", 503, "unavailable"),
        ("GET", "/api/v1/fail/unavailable", 503, "unavailable"),
        ("GET", "/api/v1/fail/limited", 429, "rate_limited"),
        ("GET", "/api/v1/fail/conflict", 409, "conflict"),
        ("GET", "/api/v1/fail/invalid", 400, "invalid_argument"),
        ("GET", "/api/v1/me", 401, "unauthenticated"),
    ],
)
async def test_failures_share_envelope_and_headers(
    client: httpx.AsyncClient, method: str, path: str, status: int, code: str
) -> None:
    response = await client.request(method, path, headers={"Origin": ORIGIN})
    failure_of(response, status, code)
    assert set(response.headers) >= SECURITY
    assert response.headers["x-frame-options"] == "DENY"
    assert response.headers["access-control-allow-origin"] == ORIGIN
    assert "server" not in response.headers


async def test_allow_and_retry_after(client: httpx.AsyncClient) -> None:
    wrong = await client.delete("/api/v1/health")
    assert wrong.headers["allow"] == "GET, HEAD"
    assert (await client.get("/api/v1/fail/unavailable")).headers["retry-after"] == "4"
    assert (await client.get("/api/v1/fail/limited")).headers["retry-after"] == "1"
    assert (await client.get("/api/v1/me")).headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize("how", ["bug", "outage", "unavailable"])
async def test_failures_of_ours_say_nothing_about_us(client: httpx.AsyncClient, how: str) -> None:
    text = (await client.get(f"/api/v1/fail/{how}")).text
    for word in ("/srv", "/run", "PostgreSQL", "Error", "Traceback"):
        assert word not in text


async def test_details_name_the_field(client: httpx.AsyncClient) -> None:
    body = failure_of(await client.get("/api/v1/fail/invalid"), 400, "invalid_argument")
    assert body["details"] == [{"field": "name", "message": "is odd"}]


async def test_request_id_is_echoed_or_made(client: httpx.AsyncClient) -> None:
    given = str(uuid.uuid4())
    for path in ("/api/v1/health", "/nowhere"):
        assert (await client.get(path, headers={"X-Request-ID": given})).headers["x-request-id"] == given
    for malformed in ("", "two words", "<script>", "x" * 200, "ünï"):
        response = await client.get("/api/v1/health", headers={"X-Request-ID": malformed.encode()})
        made = response.headers["x-request-id"]
        assert made != malformed
        assert str(uuid.UUID(made)) == made


async def test_head_and_options(client: httpx.AsyncClient) -> None:
    head = await client.head("/api/v1/health")
    assert head.status_code == 200
    assert head.content == b""
    assert head.headers["content-length"] == "39"
    options = await client.options("/api/v1/songs")
    assert options.status_code == 200
    assert options.headers["allow"] == "GET, HEAD, OPTIONS, POST"
    assert options.json()["data"]["methods"] == ["GET", "HEAD", "OPTIONS", "POST"]
    failure_of(await client.options("/api/v1/nowhere"), 404, "not_found")


async def test_allow_names_the_methods_of_every_route_of_an_address(client: httpx.AsyncClient) -> None:
    song = f"/api/v1/songs/{uuid.uuid4()}"
    assert (await client.put(song)).headers["allow"] == "DELETE, GET, HEAD"
    assert (await client.options(song)).headers["allow"] == "DELETE, GET, HEAD, OPTIONS"


async def test_preflight(client: httpx.AsyncClient) -> None:
    asks = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    allowed = await client.options("/api/v1/songs", headers={"Origin": ORIGIN, **asks})
    assert allowed.headers["access-control-allow-origin"] == ORIGIN
    assert "POST" in allowed.headers["access-control-allow-methods"]
    assert "Authorization" in allowed.headers["access-control-allow-headers"]
    assert allowed.headers["access-control-allow-credentials"] == "true"
    assert "Origin" in allowed.headers["vary"]
    stranger = await client.options("/api/v1/songs", headers={"Origin": "https://evil.example", **asks})
    assert not [name for name in stranger.headers if name.startswith("access-control")]
    assert "Origin" in stranger.headers["vary"]


async def test_hsts_only_in_production(client: httpx.AsyncClient, services: Services) -> None:
    assert "strict-transport-security" not in (await client.get("/api/v1/health")).headers
    services.settings = services.settings.__replace__(app_env="production")
    async with served(services, [system.resource]) as production:
        assert "strict-transport-security" in (await production.get("/nowhere")).headers


@pytest.mark.parametrize(
    ("token", "status", "code"),
    [
        ("Bearer nonsense", 401, "unauthenticated"),
        ("Bearer", 401, "unauthenticated"),
        ("Basic dTpw", 401, "unauthenticated"),
        ("Bearer banned", 403, "banned"),
    ],
)
async def test_bad_credentials(client: httpx.AsyncClient, token: str, status: int, code: str) -> None:
    for path in ("/api/v1/me", "/api/v1/maybe-me"):
        failure_of(await client.get(path, headers={"Authorization": token}), status, code)


async def test_roles_and_scopes(client: httpx.AsyncClient) -> None:
    path = f"/api/v1/songs/{uuid.uuid4()}"
    failure_of(await client.delete(path, headers={"Authorization": "Bearer user"}), 403, "permission_denied")
    assert (await client.delete(path, headers={"Authorization": "Bearer admin"})).status_code == 202
    key = {"X-API-Key": "veza_sk_reader"}
    assert (await client.get("/api/v1/me", headers=key)).json()["data"]["name"] == "script"
    failure_of(await client.post("/api/v1/me", headers=key), 403, "permission_denied")
    assert (await client.get("/api/v1/maybe-me")).json()["data"]["name"] is None
    assert (await client.get("/api/v1/maybe-me", headers={"Authorization": "bearer user"})).json()["data"][
        "name"
    ] == "ann"


async def test_forwarded_address_counts_only_from_proxies(client: httpx.AsyncClient, services: Services) -> None:
    chain = {"X-Forwarded-For": "9.9.9.9, 203.0.113.7, 10.0.0.2"}
    assert (await client.get("/api/v1/maybe-me", headers=chain)).json()["data"]["ip"] == "127.0.0.1"
    behind = make_services(services.settings.data_dir, TRUSTED_PROXIES="127.0.0.1,10.0.0.0/8")
    async with served(behind, [sample_resource]) as proxied:
        assert (await proxied.get("/api/v1/maybe-me", headers=chain)).json()["data"]["ip"] == "203.0.113.7"
        spoofed = {"X-Forwarded-For": "garbage"}
        assert (await proxied.get("/api/v1/maybe-me", headers=spoofed)).json()["data"]["ip"] == "127.0.0.1"


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GARBAGE\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /api/v1/health HTTP/9.9\r\nHost: x\r\n\r\n",
        b"POST /api/v1/songs HTTP/1.1\r\nContent-Length: x\r\n\r\n",
        b"POST /api/v1/songs HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}",
    ],
)
async def test_broken_http_is_400_in_the_envelope(client: httpx.AsyncClient, request_bytes: bytes) -> None:
    answer = await raw_exchange(client, request_bytes)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400")
    assert b'"code":"invalid_argument"' in body
    assert b"content-security-policy" in head.lower()


async def test_access_log_has_no_secrets(client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        await client.get("/api/v1/songs/by-name/s3cret?token=s3cret", headers={"Authorization": "Bearer s3cret"})
        await client.get("/api/v1/me", headers={"Authorization": "Bearer user"})
        await client.post("/api/v1/songs", json={"title": "s3cret"})
    lines = [record for record in caplog.records if record.name == "veza.access"]
    assert [vars(line)["route"] for line in lines] == [
        "/api/v1/songs/by-name/<name>",
        "/api/v1/me",
        "/api/v1/songs",
    ]
    assert [vars(line)["status"] for line in lines] == [200, 200, 201]
    assert vars(lines[1])["user_id"] == str(uuid.UUID(int=1))
    for record in caplog.records:
        if record.name.startswith(("httpx", "httpcore")):
            continue  # the client of this test, not the server
        assert "s3cret" not in repr(vars(record))
