"""The application on a real loopback port, and httpx to talk to it."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import httpx
from http_samples import Gate
from sanic import Sanic

from veza.config import Settings, load_settings
from veza.http.app import create_app, start_server, stop_server
from veza.http.routing import Resource
from veza.http.services import Services

# Lets several applications live in one process.
Sanic.test_mode = True

ORIGIN = "https://app.example.org"


def make_services(data_dir: Path, **changes: str) -> Services:
    environment = {"VEZA_DATA_DIR": str(data_dir), "ALLOWED_ORIGINS": ORIGIN, "APP_ENV": "test", **changes}
    settings: Settings = load_settings(environment, None)
    gate: Any = Gate()
    return Services(settings=settings, pool=None, authenticator=gate)


@contextlib.asynccontextmanager
async def served(services: Services, resources: Sequence[Resource]) -> AsyncIterator[httpx.AsyncClient]:
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    server = await start_server(create_app(services, resources), sock)
    try:
        base = f"http://127.0.0.1:{sock.getsockname()[1]}"
        async with httpx.AsyncClient(base_url=base, timeout=10) as client:
            yield client
    finally:
        await stop_server(server, 1)


async def raw_exchange(client: httpx.AsyncClient, request: bytes) -> bytes:
    """Send bytes that no client library would, and read until the server closes."""
    url = client.base_url
    reader, writer = await asyncio.open_connection(url.host, url.port)
    writer.write(request)
    await writer.drain()
    answer = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    await writer.wait_closed()
    return answer
