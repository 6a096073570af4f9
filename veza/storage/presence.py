"""Who is shown as present, so that the next owner of their partition knows whom to say goodbye for."""

from collections.abc import Collection, Mapping
from uuid import UUID

from veza.realtime.partition import partition_of
from veza.storage.database import Connection


async def save(connection: Connection, epochs: Mapping[int, int], shown: Mapping[UUID, str], offline: str) -> set[int]:
    """Note what others are told, in partitions that are still owned under these epochs: returns those. Of a power cut
    nothing is left, and nobody is present then.
    """
    concerned = {partition_of(user_id) for user_id in shown} & epochs.keys()
    rows = await connection.fetch(
        """
        WITH own AS (
            SELECT p.partition
            FROM partition_owner p
            JOIN unnest($3::int[], $4::bigint[]) AS mine (partition, epoch) USING (partition, epoch)
            ORDER BY p.partition
            FOR SHARE OF p
        ), gone AS (
            DELETE FROM shown_presence s USING own WHERE s.user_id = ANY ($2::uuid[]) AND s.partition = own.partition
        ), there AS (
            INSERT INTO shown_presence (user_id)
            SELECT u FROM unnest($1::uuid[]) AS u JOIN users ON users.id = u
            JOIN own ON own.partition = get_byte(uuid_send(u), 15)
            ON CONFLICT DO NOTHING
        )
        SELECT partition FROM own
        """,
        [user_id for user_id, status in shown.items() if status != offline],
        [user_id for user_id, status in shown.items() if status == offline],
        list(concerned),
        [epochs[partition] for partition in concerned],
    )
    return {row["partition"] for row in rows}


async def shown(connection: Connection, partitions: Collection[int]) -> set[UUID]:
    """Everybody in these partitions who is shown as present."""
    rows = await connection.fetch(
        "SELECT user_id FROM shown_presence WHERE partition = ANY ($1::int[])", list(partitions)
    )
    return {row["user_id"] for row in rows}
