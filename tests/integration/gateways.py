"""A gateway for tests: the accounts' part of the application, served on a port of its own."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Protocol

import httpx

from veza.http.api import admin_users, auth, chat_token, sessions, users
from veza.http.app import create_app, start_server, stop_server
from veza.http.routing import Resource
from veza.http.services import Services
from veza.storage.control_log import ControlReader

SECRET = "a secret for tests only, long enough"


class Gateway:
    """One application on a port of its own, with its own cache, as a gateway process has."""

    def __init__(self, services: Services, client: httpx.AsyncClient) -> None:
        self.services = services
        self.client = client

    async def call(self, method: str, path: str, *, token: str | None = None, **options: Any) -> httpx.Response:
        """A request below `/api/v1`, without cookies of earlier ones."""
        headers = {**options.pop("headers", {})}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        self.client.cookies.clear()
        return await self.client.request(method, f"/api/v1{path}", headers=headers, **options)


class StartGateway(Protocol):
    """Starts a gateway; one that is `deaf` hears no control events, so what it knows it knows by its own doing."""

    async def __call__(self, *, deaf: bool = False) -> Gateway: ...


async def until(condition: Callable[[], Awaitable[bool]] | Callable[[], bool], seconds: float = 5.0) -> None:
    """Wait for a condition; fails when it does not come true in time."""
    async with asyncio.timeout(seconds):
        while True:
            found = condition()
            if found is True or (not isinstance(found, bool) and await found):
                return
            await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def following(reader: ControlReader) -> AsyncIterator[None]:
    """A control reader at work."""
    task = asyncio.create_task(reader.run())
    try:
        await until(lambda: reader.fresh)
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@contextlib.asynccontextmanager
async def serving(services: Services, *more: Resource) -> AsyncIterator[Gateway]:
    """The accounts' part of the application, and what a test adds, served."""
    known = (auth, sessions, users, admin_users, chat_token)
    app = create_app(services, [*(module.resource for module in known), *more])
    listener = socket.create_server(("127.0.0.1", 0))
    server = await start_server(app, listener)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    try:
        async with httpx.AsyncClient(base_url=url, timeout=20) as client:
            yield Gateway(services, client)
    finally:
        await stop_server(server, 1.0)
        services.passwords.close()
