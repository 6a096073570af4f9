"""The facade over a real PostgreSQL and Redis of its own: both well, each gone, and back."""

import asyncio
import contextlib
import shutil
import socket
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
from sanic import Sanic

from veza.config import load_settings
from veza.http.api import system
from veza.http.app import create_app, start_server, stop_server
from veza.http.context import Context
from veza.http.routing import Auth, Resource
from veza.http.services import Services
from veza.storage.cache import open_cache
from veza.storage.database import open_pool
from veza.storage.embedded import Postgres, Redis, Service

probe = Resource("probe", "Statements that fail in the ways databases do.")


@probe.get("/probe/<statement>", auth=Auth.NONE)
async def run(ctx: Context, statement: str) -> int:
    """Run a statement."""
    found: int = await ctx.services.pool.fetchval(statement)
    return found


@pytest.fixture
def directory() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="veza-test-"))
    # Open to the account that PostgreSQL runs as under root.
    made.chmod(0o711)
    yield made
    shutil.rmtree(made)


@contextlib.asynccontextmanager
async def running(service: Service) -> AsyncIterator[Service]:
    service.start()
    try:
        await service.ready()
        yield service
    finally:
        service.stop()


@contextlib.asynccontextmanager
async def gateway(directory: Path, pool: Any, cache: Any) -> AsyncIterator[httpx.AsyncClient]:
    # Sanic rewrites its own methods when an application starts, and does so once only unless told this.
    Sanic.test_mode = True
    settings = load_settings({"APP_ENV": "test", "VEZA_DATA_DIR": str(directory)}, None)
    authenticator: Any = None  # no route here asks for one
    services = Services(settings=settings, pool=pool, cache=cache, authenticator=authenticator)
    services.health.ready = True
    listener = socket.create_server(("127.0.0.1", 0))
    server = await start_server(create_app(services, [system.resource, probe]), listener)
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{listener.getsockname()[1]}", timeout=20) as client:
            yield client
    finally:
        await stop_server(server, 1)
        services.passwords.close()


async def judged(client: httpx.AsyncClient, *expected: tuple[int, str]) -> None:
    """Wait until deep health, readiness and status say `expected`, in this order."""
    found: list[tuple[int, str]] = []
    try:
        async with asyncio.timeout(15):
            while found != list(expected):
                found = []
                for path in ("/health/deep", "/readyz", "/status"):
                    response = await client.get(f"/api/v1{path}")
                    found.append((response.status_code, response.json()["data"]["status"]))
    except TimeoutError:
        pytest.fail(f"{found} stayed, not {expected}")


async def test_health_tells_what_is_gone_and_recovers(directory: Path) -> None:
    postgres, redis = Postgres(directory), Redis(directory, "a password for tests")
    async with running(postgres), running(redis):
        pool = await open_pool(postgres.url, size=2, name="test")
        cache = open_cache(redis.url)
        async with gateway(directory, pool, cache) as client:
            deep = (await client.get("/api/v1/health/deep")).json()["data"]
            assert {name: check["status"] for name, check in deep["checks"].items()} == {
                "database": "ok",
                "redis": "ok",
                "s3": "not_configured",
                "disk": "ok",
            }
            well = ((200, "healthy"), (200, "ready"), (200, "operational"))
            await judged(client, *well)

            redis.stop()
            await judged(client, (200, "degraded"), (200, "degraded"), (200, "degraded"))
            redis.start()
            await redis.ready()

            postgres.stop()
            await judged(client, (503, "unhealthy"), (503, "not_ready"), (200, "down"))
            assert (await client.get("/api/v1/healthz")).status_code == 200
            refused = await client.get("/api/v1/probe/SELECT%201")
            assert (refused.status_code, refused.json()["code"]) == (503, "unavailable")
            assert "retry-after" in refused.headers
            assert str(directory) not in refused.text

            postgres.start()
            await postgres.ready()
            await judged(client, *well)
            assert (await client.get("/api/v1/probe/SELECT%201")).json()["data"] == 1
        await cache.aclose()
        with contextlib.suppress(asyncpg.InterfaceError):
            await pool.close()


@pytest.mark.parametrize(
    ("statement", "status"),
    [
        ("SELECT 7", 200),
        ("SELECT 1 / 0", 500),
        ("SELECT nothing FROM nowhere", 500),
        ("SELECT pg_terminate_backend(pg_backend_pid())::int", 503),
    ],
)
async def test_database_errors_have_statuses_and_no_text(
    pool: Any, tmp_path: Path, statement: str, status: int
) -> None:
    async with gateway(tmp_path, pool, None) as client:
        response = await client.get(f"/api/v1/probe/{statement.replace('/', '%2F')}")
    assert response.status_code == status
    if status != 200:
        assert response.json()["success"] is False
        for word in ("nowhere", "division", "terminat", "SELECT"):
            assert word not in response.text
