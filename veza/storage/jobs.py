"""How the jobs that run now and then fared the last time."""

from datetime import datetime

import msgspec

from veza.storage.database import Connection


class Job(msgspec.Struct, frozen=True):
    """`done` counts what all its runs did. `error` is of the last run, null when it went well."""

    name: str
    started_at: datetime
    finished_at: datetime | None
    succeeded_at: datetime | None
    runs: int
    failures: int
    done: int
    error: str | None


async def started(connection: Connection, name: str) -> None:
    await connection.execute(
        """
        INSERT INTO jobs AS j (name, started_at) VALUES ($1, now())
        ON CONFLICT (name) DO UPDATE SET started_at = now(), finished_at = NULL, runs = j.runs + 1
        """,
        name,
    )


async def finished(connection: Connection, name: str, done: int, error: str | None) -> None:
    await connection.execute(
        """
        UPDATE jobs SET finished_at = now(), done = done + $2, error = $3,
            failures = failures + ($3::text IS NOT NULL)::int,
            succeeded_at = CASE WHEN $3::text IS NULL THEN now() ELSE succeeded_at END
        WHERE name = $1
        """,
        name,
        done,
        error,
    )


async def every(connection: Connection) -> list[Job]:
    """All of them, by name: they are few."""
    rows = await connection.fetch(
        "SELECT name, started_at, finished_at, succeeded_at, runs, failures, done, error FROM jobs ORDER BY name"
    )
    return [Job(**row) for row in rows]
