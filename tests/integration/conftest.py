"""One real PostgreSQL a run, a fresh migrated database a module, and gateways that serve HTTP on it."""

import contextlib
import itertools
import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from gateways import SECRET, Gateway, StartGateway, following, serving
from sanic import Sanic

from veza.config import load_settings
from veza.http.auth import Authenticator
from veza.http.services import Services
from veza.http.tokens import Tokens
from veza.storage.control_log import ControlReader
from veza.storage.database import connect_arguments, open_pool
from veza.storage.embedded.objects import Objects
from veza.storage.embedded.postgres import Postgres
from veza.storage.migrate import migrate

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


@pytest.fixture(scope="session")
async def objects() -> AsyncIterator[Objects]:
    """The object store's server."""
    directory = open_directory()
    server = Objects(directory, "key", "secret-of-tests")
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
