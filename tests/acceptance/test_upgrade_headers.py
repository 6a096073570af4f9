"""The upgrade to a WebSocket carries the security headers too, granted or refused."""

import asyncio

import pytest
from system.headers import check_headers
from system.people import Person
from system.running import ALLOWED_ORIGIN, Running

UPGRADE = (
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)


async def ask(system: Running, path: str, *headers: str) -> bytes:
    """The head of the answer to a GET."""
    reader, writer = await asyncio.open_connection("127.0.0.1", system.port)
    lines = "".join(f"{header}\r\n" for header in headers)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{system.port}\r\n{lines}\r\n".encode())
    try:
        return await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
    finally:
        writer.close()


@pytest.mark.parametrize("path", ["/ws", "/api/v1/ws"])
async def test_the_upgrade(system: Running, ada: Person, path: str) -> None:
    token = await ada.chat_token()
    answer = await ask(system, f"{path}?token={token}", *UPGRADE, f"Origin: {ALLOWED_ORIGIN}", "X-Request-ID: mine-1")
    headers = check_headers(answer, 101, origin=ALLOWED_ORIGIN)
    assert headers["sec-websocket-accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    assert headers["x-request-id"] == "mine-1"
    check_headers(await ask(system, path, *UPGRADE), 101)


async def test_refused_upgrades(system: Running) -> None:
    here = f"Origin: {ALLOWED_ORIGIN}"
    check_headers(await ask(system, "/ws", here), 400, origin=ALLOWED_ORIGIN)
    check_headers(await ask(system, "/ws?token=garbage", *UPGRADE, here), 401, origin=ALLOWED_ORIGIN)
    check_headers(await ask(system, "/ws", *UPGRADE, "Origin: https://evil.example"), 403)
    check_headers(await ask(system, "/wss", *UPGRADE, here), 404, origin=ALLOWED_ORIGIN)
