"""Whatever leaves the server carries the security headers: answers of routes, of the parser, of time limits, files."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest
from http_harness import ORIGIN, make_services, raw_exchange, served
from http_samples import sample_resource
from system.headers import check_headers

from veza.http import app as application
from veza.http import request as requests
from veza.http.api import system, well_known
from veza.http.context import Context
from veza.http.routing import Auth, Resource

FROM = f"Host: x\r\nOrigin: {ORIGIN}\r\nConnection: close\r\n".encode()
slow_resource = Resource("slow", "Slow things.")


@slow_resource.get("/slow", auth=Auth.NONE)
async def slow(ctx: Context) -> str:
    """Never answer."""
    await asyncio.Event().wait()
    return ctx.request_id


@pytest.fixture(scope="module")
async def production(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[httpx.AsyncClient]:
    services = make_services(tmp_path_factory.mktemp("production"))
    services.settings = services.settings.__replace__(app_env="production")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(application, "HEADER_SECONDS", 0.5)
        patch.setattr(application, "HANDLER_SECONDS", 0.5)
        patch.setattr(requests, "BODY_SECONDS", 0.3)
        async with served(services, [system.resource, well_known.resource, sample_resource, slow_resource]) as client:
            yield client


def request(method: str, path: str, *headers: str, body: bytes = b"") -> bytes:
    length = f"Content-Length: {len(body)}\r\n" if body else ""
    lines = "".join(f"{header}\r\n" for header in headers)
    return f"{method} {path} HTTP/1.1\r\n{lines}{length}".encode() + FROM + b"\r\n" + body


JSON = "Content-Type: application/json"
# Those of which the server reads the headers, and so knows who asks.
READ = {
    "a route": (200, request("GET", "/api/v1/health")),
    "HEAD": (200, request("HEAD", "/api/v1/health")),
    "created": (201, request("POST", "/api/v1/songs", JSON, body=b'{"title":"Aria"}')),
    "deprecated": (200, request("GET", "/health")),
    "text": (200, request("GET", "/metrics")),
    "security.txt": (200, request("GET", "/.well-known/security.txt")),
    "gpc.json": (200, request("GET", "/.well-known/gpc.json")),
    "the page": (200, request("GET", "/swagger")),
    "the document": (200, request("GET", "/swagger/openapi.json")),
    "a script": (200, request("GET", "/swagger/swagger-ui-bundle.js")),
    "a style": (200, request("GET", "/swagger/swagger-ui.css")),
    "a picture": (200, request("GET", "/swagger/favicon-32x32.png")),
    "the SDK": (200, request("GET", "/sdk/veza.js")),
    "not modified": (304, request("GET", "/sdk/veza.js", "If-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT")),
    "a preflight": (200, request("OPTIONS", "/api/v1/songs", "Access-Control-Request-Method: POST")),
    "no route": (404, request("GET", "/nowhere")),
    "no file": (404, request("GET", "/swagger/../../etc/passwd")),
    "no method": (405, request("PATCH", "/api/v1/songs")),
    "no such method at all": (405, request("BREW", "/api/v1/songs")),
    "no credential": (401, request("GET", "/api/v1/me")),
    "too low a role": (
        403,
        request("DELETE", "/api/v1/songs/0190a5c4-6b1e-7cc3-98c4-dc0c0c07398f", "Authorization: Bearer user"),
    ),
    "not valid": (400, request("POST", "/api/v1/songs", JSON, body=b"{")),
    "a conflict": (409, request("GET", "/api/v1/fail/conflict")),
    "not JSON": (415, request("POST", "/api/v1/songs", "Content-Type: text/xml", body=b"<a/>")),
    "a large body": (413, request("POST", "/api/v1/songs", JSON, body=b"[" * (1024 * 1024 + 1))),
    "too many": (429, request("GET", "/api/v1/fail/limited")),
    "a bug": (500, request("GET", "/api/v1/fail/bug")),
    "an outage": (503, request("GET", "/api/v1/fail/outage")),
    "a slow handler": (503, request("GET", "/api/v1/slow")),
    "a slow body": (
        408,
        f"POST /api/v1/songs HTTP/1.1\r\n{JSON}\r\nContent-Length: 10\r\n".encode() + FROM + b"\r\n{",
    ),
    "bad chunks": (
        400,
        f"POST /api/v1/songs HTTP/1.1\r\n{JSON}\r\nTransfer-Encoding: chunked\r\n".encode() + FROM + b"\r\nzz\r\n",
    ),
    "an awaited body": (201, request("POST", "/api/v1/songs", JSON, "Expect: 100-continue", body=b'{"title":"Aria"}')),
}
# What the parser gives up on before.
UNREAD = {
    "garbage": (400, b"GARBAGE\r\n\r\n"),
    "another protocol": (400, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    "TLS": (400, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 64 + b"\r\n\r\n"),
    "an unknown version": (400, b"GET / HTTP/9.9\r\nHost: x\r\n\r\n"),
    "a path that is no text": (400, b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n"),
    "a header without a colon": (400, b"GET / HTTP/1.1\r\nHost\r\n\r\n"),
    "a bad length": (400, b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n"),
    "two lengths": (400, b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}"),
    "an expectation": (400, b"POST / HTTP/1.1\r\nContent-Length: 1\r\nExpect: tea\r\n\r\n{"),
    "large headers": (413, b"GET / HTTP/1.1\r\nX-Large: " + b"x" * 17_000 + b"\r\n\r\n"),
    "a large path": (413, b"GET /" + b"x" * 17_000 + b" HTTP/1.1\r\n\r\n"),
    "slow headers": (408, b"GET /api/v1/health HTTP/1.1\r\nX-Slow: "),
}


@pytest.mark.parametrize("name", READ)
async def test_answers(production: httpx.AsyncClient, name: str) -> None:
    status, sent = READ[name]
    check_headers(await raw_exchange(production, sent), status, origin=ORIGIN, production=True)


@pytest.mark.parametrize("name", UNREAD)
async def test_refusals_of_the_parser(production: httpx.AsyncClient, name: str) -> None:
    status, sent = UNREAD[name]
    answer = await raw_exchange(production, sent)
    check_headers(answer, status, production=True)
    assert b'"success":false' in answer


async def test_a_stranger_is_told_nothing(production: httpx.AsyncClient) -> None:
    for path in ("/api/v1/health", "/nowhere", "/sdk/veza.js", "/swagger"):
        sent = request("GET", path).replace(ORIGIN.encode(), b"https://evil.example")
        status = 404 if path == "/nowhere" else 200
        check_headers(await raw_exchange(production, sent), status, production=True)


async def test_answers_with_data_are_not_kept(production: httpx.AsyncClient) -> None:
    answer = await raw_exchange(production, request("GET", "/api/v1/me", "Authorization: Bearer user"))
    assert check_headers(answer, 200, origin=ORIGIN, production=True)["cache-control"] == "no-store"
