"""One real PostgreSQL a run, a fresh migrated database a module, and gateways that serve HTTP on it."""

import asyncio
import contextlib
import itertools
import shutil
import socket
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, Protocol

import asyncpg
import httpx
import pytest
from sanic import Sanic

from veza.config import load_settings
from veza.http.api import auth, chat_token, sessions, users
from veza.http.app import create_app, start_server, stop_server
from veza.http.auth import Authenticator
from veza.http.services import Services
from veza.http.tokens import Tokens
from veza.storage.control_log import ControlReader
from veza.storage.database import connect_arguments, open_pool
from veza.storage.embedded.postgres import Postgres
from veza.storage.migrate import migrate

SECRET = "a secret for tests only, long enough"
TEMPLATE = "migrated"
_numbers = itertools.count(1)


def open_directory() -> Path:
    """A temporary directory that the account may enter which PostgreSQL runs as under root."""
    directory = Path(tempfile.mkdtemp(prefix="veza-test-"))
    directory.chmod(0o711)
    return directory


@pytest.fixture(scope="session")
async def postgres() -> AsyncIterator[Postgres]:
    """The server."""
    directory = open_directory()
    server = Postgres(directory)
    try:
        server.start()
        await server.ready()
        yield server
    finally:
        server.stop()
        shutil.rmtree(directory)


def named(url: str, database: str) -> str:
    """`url` with another database in it."""
    head, _, query = url.partition("?")
    return f"{head.rpartition('/')[0]}/{database}?{query}"


async def create_database(postgres: Postgres, template: str = "template0") -> str:
    """The URL of a new database."""
    name = f"test_{next(_numbers)}"
    connection = await asyncpg.connect(**connect_arguments(postgres.url))
    try:
        await connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
    finally:
        await connection.close()
    return named(postgres.url, name)


@pytest.fixture
async def empty_database_url(postgres: Postgres) -> str:
    """A database with nothing in it."""
    return await create_database(postgres)


@pytest.fixture(scope="session")
async def template(postgres: Postgres) -> str:
    connection = await asyncpg.connect(**connect_arguments(postgres.url))
    try:
        await connection.execute(f"CREATE DATABASE {TEMPLATE}")
    finally:
        await connection.close()
    await migrate(named(postgres.url, TEMPLATE))
    return TEMPLATE


@pytest.fixture(scope="module")
async def database_url(postgres: Postgres, template: str) -> str:
    """A migrated database, empty at the start of the module."""
    return await create_database(postgres, template)


@pytest.fixture(scope="module")
async def pool(database_url: str) -> AsyncIterator[Any]:
    """A pool on the module's database."""
    opened = await open_pool(database_url, size=10, name="test")
    yield opened
    await opened.close()


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
async def serving(services: Services) -> AsyncIterator[Gateway]:
    """The accounts' part of the application, served."""
    app = create_app(services, [auth.resource, sessions.resource, users.resource, chat_token.resource])
    listener = socket.create_server(("127.0.0.1", 0))
    server = await start_server(app, listener)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    try:
        async with httpx.AsyncClient(base_url=url, timeout=20) as client:
            yield Gateway(services, client)
    finally:
        await stop_server(server, 1.0)
        services.passwords.close()


@pytest.fixture(scope="module")
async def start_gateway(database_url: str, pool: Any, tmp_path_factory: Any) -> AsyncIterator[StartGateway]:
    """Makes gateways on the module's database."""
    settings = load_settings(
        {"APP_ENV": "test", "JWT_SECRET": SECRET, "VEZA_DATA_DIR": str(tmp_path_factory.mktemp("data"))},
        None,
        keep_secrets=False,
    )
    # Sanic rewrites its own methods when an application starts, and does so once only unless told this.
    Sanic.test_mode = True
    async with contextlib.AsyncExitStack() as stack:

        async def start(*, deaf: bool = False) -> Gateway:
            authenticator = Authenticator(pool, Tokens(SECRET), fresh=lambda: deaf or reader.fresh)
            reader = ControlReader(database_url, authenticator.on_control)
            if not deaf:
                await stack.enter_async_context(following(reader))
            services = Services(settings=settings, pool=pool, authenticator=authenticator)
            return await stack.enter_async_context(serving(services))

        yield start


@pytest.fixture(scope="module")
async def gateway(start_gateway: StartGateway) -> Gateway:
    """A gateway."""
    return await start_gateway()


@pytest.fixture(scope="module")
async def deaf_gateway(start_gateway: StartGateway) -> Gateway:
    """A gateway that hears no control events."""
    return await start_gateway(deaf=True)
