"""A PostgreSQL of its own, as the platform embeds it, without the rest of the platform."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg

from benchmarks.support.processes import cpu_seconds, tree
from veza.storage.database import connect_arguments
from veza.storage.embedded import Postgres
from veza.storage.migrate import migrate


class Server:
    """A running PostgreSQL."""

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres
        self._made = 0

    def cpu_seconds(self) -> float:
        """Processor time that all of it has used."""
        pid = self._postgres.pid
        return cpu_seconds(tree(pid)) if pid else 0.0

    def url(self, name: str) -> str:
        """Where a database is."""
        head, _, query = self._postgres.url.partition("?")
        return f"{head.rpartition('/')[0]}/{name}?{query}"

    async def make(self, name: str, fill: Callable[[Any], Awaitable[Any]]) -> None:
        """A migrated database that `fill` has filled, to be copied."""
        async with self.connected("postgres") as connection:
            await connection.execute(f"CREATE DATABASE {name}")
        await migrate(self.url(name))
        async with self.connected(name) as connection:
            await fill(connection)
            await connection.execute("VACUUM ANALYZE")

    @asynccontextmanager
    async def copy(self, name: str) -> AsyncIterator[str]:
        """The name of a copy of a database, which goes with the block. What was written before is on the disk."""
        self._made += 1
        copied = f"{name}_{self._made}"
        async with self.connected("postgres") as connection:
            await connection.execute(f"CREATE DATABASE {copied} TEMPLATE {name}")
            await connection.execute("CHECKPOINT")
            try:
                yield copied
            finally:
                await connection.execute(f"DROP DATABASE {copied} WITH (FORCE)")

    @asynccontextmanager
    async def connected(self, name: str) -> AsyncIterator[Any]:
        """A connection to a database."""
        connection = await asyncpg.connect(**connect_arguments(self.url(name)), timeout=10)
        try:
            yield connection
        finally:
            await connection.close()


@asynccontextmanager
async def postgres(home: Path) -> AsyncIterator[Server]:
    """Start a PostgreSQL below `home`; stop it with the block."""
    server = Postgres(home / "data")
    try:
        server.start()
        await server.ready()
        yield Server(server)
    finally:
        server.stop()
