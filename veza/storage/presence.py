"""Who is shown as present, so that the next owner of their partition knows whom to say goodbye for."""

from collections.abc import Collection, Mapping
from uuid import UUID

from veza.storage.database import Connection


async def save(connection: Connection, shown: Mapping[UUID, str], offline: str) -> None:
    """Note what others are told. Of a power cut nothing is left, and nobody is present then."""
    await connection.execute(
        """
        WITH gone AS (DELETE FROM shown_presence WHERE user_id = ANY ($2::uuid[]))
        INSERT INTO shown_presence (user_id) SELECT u FROM unnest($1::uuid[]) AS u JOIN users ON users.id = u
        ON CONFLICT DO NOTHING
        """,
        [user_id for user_id, status in shown.items() if status != offline],
        [user_id for user_id, status in shown.items() if status == offline],
    )


async def shown(connection: Connection, partitions: Collection[int]) -> set[UUID]:
    """Everybody in these partitions who is shown as present."""
    rows = await connection.fetch(
        "SELECT user_id FROM shown_presence WHERE partition = ANY ($1::int[])", list(partitions)
    )
    return {row["user_id"] for row in rows}
