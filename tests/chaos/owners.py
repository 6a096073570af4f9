"""Which shard owns a room, as an operator can see."""

import json
from uuid import UUID

from system.running import Running


async def owner_of(system: Running, room_id: str) -> tuple[str, int]:
    """The shard's name and process."""
    state = json.loads(await system.command("cluster", "status", "-o", "json"))
    name: str = state["owners"][str(UUID(room_id).int % 256)]
    return name, next(shard["pid"] for shard in state["shards"] if shard["name"] == name)
