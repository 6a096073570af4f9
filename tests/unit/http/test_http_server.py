"""Connections: timeouts, drain, and that the server leaves its process alone."""

import asyncio
import logging
import signal
import socket

import httpx
import pytest
from http_harness import served

from veza.http import app as application
from veza.http import request as requests
from veza.http.api import system
from veza.http.app import create_app, start_server, stop_server
from veza.http.context import Context
from veza.http.routing import Auth, Resource
from veza.http.services import Services


async def dribble(client: httpx.AsyncClient, head: bytes, pause: float) -> bytes:
    """Send `head`, then a byte every `pause` seconds, until the server answers."""
    reader, writer = await asyncio.open_connection(client.base_url.host, client.base_url.port)

    async def send() -> None:
        writer.write(head)
        while not writer.is_closing():
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(pause)

    sending = asyncio.create_task(send())
    try:
        return await asyncio.wait_for(reader.read(65536), 10)
    finally:
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        writer.close()


async def test_slow_headers_are_cut_off(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(application, "HEADER_SECONDS", 0.3)
    async with served(services, [system.resource]) as client:
        answer = await dribble(client, b"GET /api/v1/health HTTP/1.1\r\nX-Slow: ", 0.05)
    assert answer.startswith(b"HTTP/1.1 408")
    assert b'"code":"request_timeout"' in answer


async def test_who_connects_and_says_nothing_is_cut_off(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(application, "HEADER_SECONDS", 0.3)
    async with served(services, [system.resource]) as client:
        reader, writer = await asyncio.open_connection(client.base_url.host, client.base_url.port)
        kept_reader, kept_writer = await asyncio.open_connection(client.base_url.host, client.base_url.port)
        kept_writer.write(b"GET /api/v1/health HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await kept_reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        assert await asyncio.wait_for(reader.read(), 10) == b""
        # One that has been of use is kept for longer.
        kept_writer.write(b"GET /nowhere HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert b"HTTP/1.1 404" in await asyncio.wait_for(kept_reader.read(), 10)
        writer.close()
        kept_writer.close()


async def test_slow_bodies_are_cut_off(client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "BODY_SECONDS", 0.3)
    head = b"POST /api/v1/songs HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 5000\r\n\r\n{"
    answer = await dribble(client, head, 0.05)
    assert answer.startswith(b"HTTP/1.1 408")


async def test_slow_handlers_are_503(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(application, "HANDLER_SECONDS", 0.2)
    resource = Resource("slow", "Slow things.")
    ended = asyncio.Event()

    @resource.get("/slow", auth=Auth.NONE)
    async def slow(ctx: Context) -> str:
        """Never answer."""
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return "never"

    async with served(services, [resource]) as client:
        response = await client.get("/api/v1/slow")
    assert response.status_code == 503
    assert response.json()["code"] == "unavailable"
    assert response.headers["retry-after"] == "1"
    assert ended.is_set()


async def test_drain_finishes_requests_and_refuses_new_ones(services: Services) -> None:
    resource = Resource("slow", "Slow things.")
    entered, release = asyncio.Event(), asyncio.Event()

    @resource.get("/slow", auth=Auth.NONE)
    async def slow(ctx: Context) -> str:
        """Answer when told to."""
        entered.set()
        await release.wait()
        return "done"

    listener = socket.create_server(("127.0.0.1", 0))
    server = await start_server(create_app(services, [resource]), listener)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{listener.getsockname()[1]}") as client:
        asked = asyncio.create_task(client.get("/api/v1/slow"))
        await entered.wait()
        stopping = asyncio.create_task(stop_server(server, 5))
        async with asyncio.timeout(5):
            while True:
                try:
                    await client.get("/api/v1/healthz")
                except httpx.TransportError:
                    break
                await asyncio.sleep(0.01)
        release.set()
        assert (await asked).json()["data"] == "done"
        await stopping


async def test_the_process_is_left_alone(services: Services) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    async with served(services, [system.resource]) as client:
        assert (await client.get("/api/v1/health")).status_code == 200
        assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
        assert (list(root.handlers), root.level) == (handlers, level)


async def test_pipelined_requests_are_answered_in_order(client: httpx.AsyncClient) -> None:
    reader, writer = await asyncio.open_connection(client.base_url.host, client.base_url.port)
    one = b"GET /api/v1/songs/by-name/%d HTTP/1.1\r\nHost: x\r\n%b\r\n"
    writer.write(one % (1, b"") + one % (2, b"") + one % (3, b"Connection: close\r\n"))
    answer = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    assert [int(part[:1]) for part in answer.split(b'"data":"')[1:]] == [1, 2, 3]


async def test_a_client_that_leaves_ends_its_request_quietly(
    services: Services, caplog: pytest.LogCaptureFixture
) -> None:
    resource = Resource("slow", "Slow things.")
    entered, ended = asyncio.Event(), asyncio.Event()

    @resource.get("/slow/<secret>", auth=Auth.NONE)
    async def slow(ctx: Context, secret: str) -> str:
        """Never answer."""
        entered.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return "never"

    caplog.set_level(logging.INFO)
    async with served(services, [resource]) as client:
        _, writer = await asyncio.open_connection(client.base_url.host, client.base_url.port)
        writer.write(b"GET /api/v1/slow/s3cret?token=s3cret HTTP/1.1\r\nHost: x\r\n\r\n")
        async with asyncio.timeout(5):
            await entered.wait()
            writer.close()
            await ended.wait()
        assert (await client.get("/api/v1/")).status_code == 200
    assert [record for record in caplog.records if record.levelno > logging.INFO] == []
    statuses = [vars(record)["status"] for record in caplog.records if record.name == "veza.access"]
    assert statuses == [408, 200]
    assert "s3cret" not in caplog.text
