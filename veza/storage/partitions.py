"""Who owns which partition: the truth that fences every commit."""

from collections.abc import Iterable, Mapping
from uuid import UUID

from veza.realtime.partition import PARTITIONS, ROOMS
from veza.storage.database import Connection


async def owners(connection: Connection, first: int = ROOMS) -> dict[int, tuple[int, str | None]]:
    """Epoch and owner of every partition of the kind of shard whose partitions begin with `first`."""
    rows = await connection.fetch(
        "SELECT partition, epoch, owner FROM partition_owner WHERE partition >= $1 AND partition < $2",
        first,
        first + PARTITIONS,
    )
    return {row["partition"]: (row["epoch"], row["owner"]) for row in rows}


async def take(connection: Connection, wanted: Mapping[int, str]) -> dict[int, int]:
    """Give each partition to its new owner under a new epoch; returns the epochs.

    Waits for a commit that is under way in a partition; a commit that comes later under the old epoch stores
    nothing.
    """
    rows = await connection.fetch(
        """
        WITH wanted AS (
            SELECT p.partition, w.owner
            FROM partition_owner p
            JOIN unnest($1::int[], $2::text[]) AS w (partition, owner) USING (partition)
            ORDER BY p.partition
            FOR UPDATE OF p
        )
        UPDATE partition_owner p SET epoch = p.epoch + 1, owner = w.owner
        FROM wanted w WHERE w.partition = p.partition
        RETURNING p.partition, p.epoch
        """,
        list(wanted.keys()),
        list(wanted.values()),
    )
    return {row["partition"]: row["epoch"] for row in rows}


async def renew(connection: Connection, owner: str, epochs: Mapping[int, int]) -> dict[int, int]:
    """Raise the epoch of partitions that `owner` still holds under these epochs; returns the new ones.

    Afterwards no earlier commit of `owner` can still be under way: the way to settle one whose outcome is unknown.
    """
    rows = await connection.fetch(
        """
        WITH mine AS (
            SELECT p.partition
            FROM partition_owner p
            JOIN unnest($2::int[], $3::bigint[]) AS m (partition, epoch) USING (partition, epoch)
            WHERE p.owner = $1
            ORDER BY p.partition
            FOR UPDATE OF p
        )
        UPDATE partition_owner p SET epoch = p.epoch + 1
        FROM mine WHERE mine.partition = p.partition
        RETURNING p.partition, p.epoch
        """,
        owner,
        list(epochs.keys()),
        list(epochs.values()),
    )
    return {row["partition"]: row["epoch"] for row in rows}


async def rooms_of_users(
    connection: Connection, user_ids: Iterable[UUID], members_at_most: int
) -> dict[UUID, list[UUID]]:
    """For each user, the rooms small enough for presence to be pushed."""
    rows = await connection.fetch(
        """
        SELECT m.user_id, array_agg(m.room_id) AS room_ids
        FROM room_members m
        WHERE m.user_id = ANY ($1::uuid[])
          AND (SELECT count(*) FROM (SELECT FROM room_members o WHERE o.room_id = m.room_id LIMIT $2 + 1) few) <= $2
        GROUP BY m.user_id
        """,
        list(user_ids),
        members_at_most,
    )
    return {row["user_id"]: row["room_ids"] for row in rows}
