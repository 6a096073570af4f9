"""What is said of people whose shard nobody knows."""

import asyncio
from uuid import uuid4

from veza.actors.shard_links import ShardLinks
from veza.actors.tasks import TaskSet
from veza.http.room_reads import RoomReads


async def test_who_has_no_known_owner_counts_as_offline_soon() -> None:
    tasks = TaskSet("test")
    links = ShardLinks("test", tasks, lambda _: None)
    people = [uuid4() for _ in range(3)]
    async with asyncio.timeout(5):
        assert await RoomReads(None, links).presence(people) == dict.fromkeys(people, "offline")
    # Nothing waits for an owner, either.
    assert links.router.waiting == 0
    await tasks.close()
