"""The connection to PostgreSQL: one asyncpg pool for SQL of our own, and Tortoise for the models.

SQL that is longer than a line lives in `sql/<name>.sql`, one statement a file, loaded once by `sql()`.
"""

import functools
import importlib.resources
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Protocol
from urllib.parse import parse_qs, unquote, urlsplit

import asyncpg
import msgspec

from veza.errors import Unavailable

# Asked for by asyncpg when the server is gone, starting, or stopping: worth a retry, unlike an SQL error.
UNREACHABLE: tuple[type[BaseException], ...] = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    # What a connection says that was lost between two steps of one statement.
    asyncpg.InternalClientError,
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.TooManyConnectionsError,
)

# What a task outlives that works for ever: the server is away, or has refused a statement.
FAILURES: tuple[type[BaseException], ...] = (*UNREACHABLE, asyncpg.PostgresError, Unavailable)

# While PostgreSQL hangs, a request is refused after the sum of these at the latest: a connection that is free or can be
# made, one statement, and once more the first for a connection whose statement was given up.
ACQUIRE_S = 2.0
STATEMENT_S = 4.0
# Whoever vanishes in a transaction, with its machine or its network, keeps its locks no longer.
VANISHED_S = 15


@functools.cache
def sql(name: str) -> str:
    """The text of `sql/<name>.sql`."""
    return importlib.resources.files("veza.storage").joinpath("sql", f"{name}.sql").read_text()


class Connection(Protocol):
    """What both a pool and a connection of asyncpg can do; functions in `storage` take either."""

    async def execute(self, query: str, *args: object, timeout: float | None = None) -> str: ...
    async def fetch(self, query: str, *args: object, timeout: float | None = None) -> list[Any]: ...
    async def fetchrow(self, query: str, *args: object, timeout: float | None = None) -> Any: ...
    async def fetchval(self, query: str, *args: object, column: int = 0, timeout: float | None = None) -> Any: ...


def connect_arguments(url: str) -> dict[str, Any]:
    """Arguments of `asyncpg.connect` for a `postgres://` URL; `?host=/dir` means a Unix socket."""
    parts = urlsplit(url)
    query = parse_qs(parts.query)
    host = query["host"][0] if "host" in query else parts.hostname or "localhost"
    arguments: dict[str, Any] = {
        "host": host,
        "port": parts.port or 5432,
        "user": unquote(parts.username or "veza"),
        "database": parts.path.lstrip("/") or "veza",
    }
    if parts.password:
        arguments["password"] = unquote(parts.password)
    if "sslmode" in query:
        arguments["ssl"] = query["sslmode"][0]
    return arguments


def _session(name: str) -> dict[str, str]:
    """The server's settings for a connection that shows as `name` in `pg_stat_activity`."""
    return {
        "application_name": f"veza {name}",
        "jit": "off",
        "idle_in_transaction_session_timeout": f"{VANISHED_S}s",
    }


async def _prepare(connection: Any) -> None:
    for name in ("json", "jsonb"):
        await connection.set_type_codec(name, encoder=_encode_json, decoder=msgspec.json.decode, schema="pg_catalog")


def _encode_json(value: object) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


async def open_connection(url: str, *, name: str, timeout: float = 5.0, statement_timeout: float = STATEMENT_S) -> Any:
    """One connection outside any pool, for a task that is its only user.

    Raises Unavailable when the server cannot be reached within `timeout` seconds.
    """
    try:
        connection = await asyncpg.connect(
            **connect_arguments(url),
            timeout=timeout,
            command_timeout=statement_timeout,
            server_settings=_session(name),
        )
        await _prepare(connection)
    except UNREACHABLE as error:
        raise Unavailable(f"PostgreSQL cannot be reached: {error}") from error
    return connection


class PooledConnection(asyncpg.Connection):  # type: ignore[misc]
    def get_reset_query(self) -> str:
        # Nothing of ours leaves anything behind in a session, and a round trip for each statement is much.
        return ""


class Pool(asyncpg.Pool):  # type: ignore[misc]
    """A pool of which nobody waits for a connection longer than ACQUIRE_S, neither to get one nor to give it back."""

    def acquire(self, *, timeout: float | None = None) -> Any:
        return super().acquire(timeout=timeout or ACQUIRE_S)


async def open_pool(url: str, *, size: int, name: str, statement_timeout: float = STATEMENT_S) -> Any:
    """A pool of at most `size` connections that shows as `name` in `pg_stat_activity`.

    Raises Unavailable when the server cannot be reached.
    """
    try:
        return await Pool(
            **connect_arguments(url),
            min_size=1,
            max_size=size,
            max_queries=50_000,
            max_inactive_connection_lifetime=300.0,
            connection_class=PooledConnection,
            record_class=asyncpg.Record,
            loop=None,
            timeout=5,
            command_timeout=statement_timeout,
            init=_prepare,
            server_settings=_session(name),
        )
    except UNREACHABLE as error:
        raise Unavailable(f"PostgreSQL cannot be reached: {error}") from error


@asynccontextmanager
async def transaction(pool: Any) -> AsyncIterator[Any]:
    """One connection, one transaction."""
    async with pool.acquire() as connection, connection.transaction():
        yield connection
