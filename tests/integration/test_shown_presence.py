"""Who is shown as present, as the next owner of their partition reads it."""

from typing import Any
from uuid import UUID, uuid4

from veza.realtime.partition import PARTITIONS, partition_of
from veza.storage import accounts, partitions, presence

OFFLINE = "offline"


async def person(pool: Any) -> UUID:
    name = f"p{uuid4().hex[:12]}"
    return (await accounts.create_admin(pool, name, f"{name}@example.org", "SecureP@ssw0rd")).id


async def owned(connection: Any) -> dict[int, int]:
    """The epochs of all partitions, which are taken for it."""
    return await partitions.take(connection, dict.fromkeys(range(PARTITIONS), "shard"))


async def test_what_is_saved_is_found_by_partition(pool: Any) -> None:
    ada, bob = await person(pool), await person(pool)
    async with pool.acquire() as connection:
        epochs = await owned(connection)
        own = await presence.save(connection, epochs, {ada: "online", bob: "busy", uuid4(): "online"}, OFFLINE)
        assert {partition_of(ada), partition_of(bob)} <= own
        # Again, as another owner may.
        await presence.save(connection, epochs, {ada: "away"}, OFFLINE)
        assert await presence.shown(connection, range(PARTITIONS)) == {ada, bob}
        assert ada in await presence.shown(connection, [partition_of(ada)])
        assert (
            await presence.shown(connection, set(range(PARTITIONS)) - {partition_of(ada), partition_of(bob)}) == set()
        )
        await presence.save(connection, epochs, {ada: OFFLINE}, OFFLINE)
        assert await presence.shown(connection, range(PARTITIONS)) == {bob}
        await presence.save(connection, epochs, {bob: OFFLINE}, OFFLINE)


async def test_who_has_lost_a_partition_saves_nothing_there(pool: Any) -> None:
    ada, bob = await person(pool), await person(pool)
    async with pool.acquire() as connection:
        before = await owned(connection)
        now = await owned(connection)
        assert await presence.save(connection, now, {ada: "online"}, OFFLINE) == {partition_of(ada)}
        assert await presence.save(connection, before, {ada: OFFLINE, bob: "online"}, OFFLINE) == set()
        assert await presence.shown(connection, range(PARTITIONS)) == {ada}
        assert await presence.save(connection, {}, {ada: OFFLINE}, OFFLINE) == set()
