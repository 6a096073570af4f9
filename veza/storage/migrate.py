"""Bring a database to the schema of this version.

Tortoise finds and applies the steps. What it lacks is added here: a lock, so that several processes may start at
once, and one transaction around the steps and the record of them, so that a failed upgrade changes nothing.
"""

from typing import Any

import asyncpg
from tortoise.context import TortoiseContext
from tortoise.exceptions import BaseORMException
from tortoise.migrations.executor import MigrationExecutor
from tortoise.migrations.schema_editor import AsyncpgSchemaEditor
from tortoise.transactions import in_transaction

from veza.errors import StartupError, Unavailable
from veza.storage.database import STATEMENT_S, UNREACHABLE, connect_arguments

APP = "veza"
# Any number, as long as nothing else in the database locks it.
LOCK_KEY = 0x76657A61
# Long enough for an index on a large table, and for waiting while another process builds one.
MIGRATION_TIMEOUT_S = 600.0


def tortoise_config(url: str, *, pool_size: int = 1, statement_timeout: float = STATEMENT_S) -> dict[str, Any]:
    """What `Tortoise.init(config=…)` takes, for a `postgres://` URL; a Unix socket as `?host=/dir`."""
    return {
        "connections": {
            "default": {
                "engine": "tortoise.backends.asyncpg",
                "credentials": {
                    "password": None,
                    **connect_arguments(url),
                    "minsize": 1,
                    "maxsize": pool_size,
                    "timeout": 5,
                    "command_timeout": statement_timeout,
                    "application_name": "veza models",
                },
            }
        },
        "apps": {
            APP: {
                "models": ["veza.storage.models"],
                "migrations": "veza.storage.migrations",
                "default_connection": "default",
            }
        },
        "use_tz": True,
        "timezone": "UTC",
    }


# For the tool that writes the next step: `tortoise -c veza.storage.migrate.TORTOISE makemigrations`.
TORTOISE = tortoise_config("postgres://veza@/veza")


async def migrate(database_url: str) -> int:
    """Apply the steps the database lacks and return how many those were.

    Any number of processes may call it at once: one works, the others wait and find nothing to do. Raises
    Unavailable when the server cannot be reached, StartupError when a step fails (nothing is changed then) or
    when the database belongs to a newer version.
    """
    config = tortoise_config(database_url, statement_timeout=MIGRATION_TIMEOUT_S)
    async with TortoiseContext() as context:
        await context.init(config=config)
        try:
            async with in_transaction("default") as connection:
                await connection.execute_query("SELECT pg_advisory_xact_lock($1)", [LOCK_KEY])
                return await _apply(connection, config["apps"])
        except UNREACHABLE as error:
            raise Unavailable(f"PostgreSQL cannot be reached: {error}") from error
        except (BaseORMException, asyncpg.PostgresError) as error:
            raise StartupError(f"The database could not be migrated, and nothing was changed: {error}") from error


async def _apply(connection: Any, apps: dict[str, dict[str, Any]]) -> int:
    executor = MigrationExecutor(connection, apps)
    # First of all: the executor reads the record before it makes sure that there is one, and a query that fails
    # spoils the transaction.
    await executor.recorder.ensure_schema(AsyncpgSchemaEditor(connection, atomic=False))
    executor.loader.load_disk()
    recorded = await executor.recorder.applied_migrations()
    unknown = sorted(key.name for key in recorded if key not in executor.loader.disk_migrations)
    if unknown:
        raise StartupError(
            f"The database was migrated by a newer version (step {unknown[-1]}): start that version, or restore "
            "a backup made before it."
        )
    applied: list[str] = []

    def note(event: str, _app: str, name: str) -> None:
        if event == "apply_done":
            applied.append(name)

    await executor.migrate(direction="forward", progress=note)
    return len(applied)
