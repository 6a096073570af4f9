"""Who is shown as present, as the next owner of their partition reads it."""

from typing import Any
from uuid import UUID, uuid4

from veza.realtime.partition import PARTITIONS, partition_of
from veza.storage import accounts, presence

OFFLINE = "offline"


async def person(pool: Any) -> UUID:
    name = f"p{uuid4().hex[:12]}"
    return (await accounts.create_admin(pool, name, f"{name}@example.org", "SecureP@ssw0rd")).id


async def test_what_is_saved_is_found_by_partition(pool: Any) -> None:
    ada, bob = await person(pool), await person(pool)
    async with pool.acquire() as connection:
        await presence.save(connection, {ada: "online", bob: "busy", uuid4(): "online"}, OFFLINE)
        # Again, as another owner may.
        await presence.save(connection, {ada: "away"}, OFFLINE)
        assert await presence.shown(connection, range(PARTITIONS)) == {ada, bob}
        assert ada in await presence.shown(connection, [partition_of(ada)])
        assert (
            await presence.shown(connection, set(range(PARTITIONS)) - {partition_of(ada), partition_of(bob)}) == set()
        )
        await presence.save(connection, {ada: OFFLINE}, OFFLINE)
        assert await presence.shown(connection, range(PARTITIONS)) == {bob}
