"""Notifications while what pushes them dies: every one that is stored reaches an open socket."""

import os
import signal
from collections.abc import Awaitable, Callable
from uuid import uuid4

import pytest
from system.people import People, Person
from system.running import Running
from system.sockets import Socket
from system.waiting import until

RECOVERY_S = 60.0


async def one_shard(victim: Running) -> None:
    os.kill((await victim.living("RoomShard"))[0].pid, signal.SIGKILL)


async def both_shards(victim: Running) -> None:
    for shard in await victim.living("RoomShard"):
        os.kill(shard.pid, signal.SIGKILL)


async def postgres(victim: Running) -> None:
    os.kill(victim.postmaster().pid, signal.SIGKILL)


async def mention(writer: Person, room: str, whom: Person) -> None:
    """Mention somebody in a message; while that cannot be stored, again."""
    body = {"content": f"@{whom.username}", "client_msg_id": str(uuid4())}

    async def stored() -> bool:
        answer = await writer.ask("POST", f"conversations/{room}/messages", json=body)
        assert answer.status_code in (201, 503), answer.text
        return answer.status_code == 201

    await until(stored, "a message to be stored", RECOVERY_S)


async def all_arrived(reader: Person, socket: Socket, count: int) -> None:
    async def ask() -> bool:
        answer = await reader.ask("GET", "notifications", params={"limit": 100})
        if answer.status_code != 200:
            return False
        stored = {notice["id"] for notice in answer.json()["data"]["notifications"]}
        came = {frame["id"] for frame in socket.frames if frame["type"] == "notification"}
        assert came <= stored
        return len(stored) == count and came == stored

    await until(ask, f"{count} notifications to be stored and to arrive", RECOVERY_S)


@pytest.mark.parametrize("strike", [one_shard, both_shards, postgres])
async def test_each_notification_arrives(
    victim: Running, crowd: People, strike: Callable[[Running], Awaitable[None]]
) -> None:
    writer, reader = await crowd.register(), await crowd.register()
    room = await writer.room(reader)
    async with await reader.connect() as socket:
        for _ in range(5):
            await mention(writer, room, reader)
        await strike(victim)
        for _ in range(20):
            await mention(writer, room, reader)
        await all_arrived(reader, socket, 25)

    async def whole() -> bool:
        return len(victim.actors("RoomShard")) == 2 and await victim.is_ready()

    await until(whole, "both shards and readiness", RECOVERY_S)
