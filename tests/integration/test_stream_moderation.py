"""The lists of those who keep order in streams: what the database does for them."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from writer import some_person

from veza.ids import new_id
from veza.storage import stream_moderation
from veza.storage.stream_moderation import SanctionPosition

ROWS = 3000


class Explaining:
    """A connection that explains queries in place of performing them."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.plan = ""

    async def fetch(self, query: str, *arguments: object) -> list[Any]:
        self.plan = "\n".join(row[0] for row in await self._connection.fetch(f"EXPLAIN {query}", *arguments))
        return []

    async def fetchval(self, query: str, *arguments: object) -> Any:
        return await self._connection.fetchval(query, *arguments)


@pytest.fixture
async def stream_id(pool: Any) -> UUID:
    """Of a stream with many moderators, and as many mutes, few of them in force; it is not the only one."""
    ada = await some_person(pool, "ada")
    found = [new_id(), new_id()]
    await pool.execute(
        "INSERT INTO streams (id, user_id, playback_id, title) SELECT id, $2, id::text, 'x' FROM unnest($1::uuid[]) id",
        found,
        ada.id,
    )
    await pool.execute(
        """
        WITH people AS (
            INSERT INTO users (id, username, email, password_hash)
            SELECT gen_random_uuid(), 'crowd_' || n, 'crowd_' || n || '@example.org', 'x' FROM generate_series(1, $2) n
            RETURNING id
        ), moderators AS (
            INSERT INTO stream_moderators (stream_id, user_id, created_at)
            SELECT s, p.id, now() - random() * interval '1 day' FROM unnest($1::uuid[]) s, people p
        )
        INSERT INTO stream_sanctions (id, stream_id, user_id, action, by_id, created_at, lifted_at)
        SELECT gen_random_uuid(), s, p.id, 'mute', $3, now() - random() * interval '1 day',
               CASE WHEN random() < 0.9 THEN now() END
        FROM unnest($1::uuid[]) s, people p
        """,
        found,
        ROWS,
        ada.id,
    )
    await pool.execute("ANALYZE users, stream_moderators, stream_sanctions")
    return found[0]


async def test_each_list_is_served_by_its_index(pool: Any, stream_id: UUID) -> None:
    for mode in ("force_custom_plan", "force_generic_plan"):
        async with pool.acquire() as connection, connection.transaction():
            await connection.execute(f"SET LOCAL plan_cache_mode = {mode}")
            explaining: Any = Explaining(connection)
            await stream_moderation.moderators(explaining, stream_id, 20, 0)
            assert "using stream_moderators_stream " in explaining.plan, explaining.plan
            assert "Sort" not in explaining.plan, explaining.plan
            for after in (None, SanctionPosition(datetime.now(UTC), new_id())):
                for ended, index in ((True, "stream_sanctions_stream"), (False, "stream_sanctions_unlifted")):
                    await stream_moderation.sanctions(explaining, stream_id, ended=ended, after=after, limit=20)
                    assert f"using {index} " in explaining.plan, explaining.plan
                    assert "Seq Scan" not in explaining.plan, explaining.plan
