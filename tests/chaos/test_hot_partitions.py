"""Busy rooms of one shard: seen in the metrics, and spread while people write in them."""

import asyncio
import json
from uuid import UUID

from system.people import People, Person
from system.running import Running
from system.sockets import Socket
from system.waiting import until

ROOMS = 4
MOST_ROOMS = 40
IN_FLIGHT = 8
# Rates are means over some ten seconds, and are looked at each ten.
BALANCED_S = 80.0
MOVES = 'veza_partition_moves_total{reason="balance"}'


async def owners(system: Running) -> dict[str, str]:
    found: dict[str, str] = json.loads(await system.command("cluster", "status", "-o", "json"))["owners"]
    return found


def partition(room_id: str) -> str:
    return str(UUID(room_id).int % 256)


async def rooms_of_one_shard(system: Running, person: Person) -> list[str]:
    """Rooms in different partitions with one owner."""
    found: dict[str, dict[str, str]] = {}
    owner = await owners(system)
    for _ in range(MOST_ROOMS):
        room = await person.room()
        mine = found.setdefault(owner[partition(room)], {})
        mine[partition(room)] = room
        if len(mine) == ROOMS:
            return list(mine.values())
    raise AssertionError("the rooms do not fall into few enough partitions")


class Flood:
    """Messages to one room, always some in flight."""

    def __init__(self, socket: Socket, room_id: str) -> None:
        self.told: list[tuple[int, str]] = []  # seq and content of what was acknowledged
        self._socket = socket
        self._room_id = room_id

    async def run(self, stop: asyncio.Event) -> None:
        await asyncio.gather(*(self._lane(number, stop) for number in range(IN_FLIGHT)))

    async def _lane(self, lane: int, stop: asyncio.Event) -> None:
        number = 0
        while not stop.is_set():
            content = f"{lane} {number}"
            command = await self._socket.command("send_message", room_id=self._room_id, content=content)
            stored = await self._socket.answer(command)
            self.told.append((stored["seq"], content))
            number += 1


async def test_busy_rooms_of_one_shard_are_spread(victim: Running, crowd: People) -> None:
    person = await crowd.register()
    rooms = await rooms_of_one_shard(victim, person)
    before = await victim.metric(MOVES)
    sockets = [await person.connect() for _ in rooms]
    floods = [Flood(socket, room) for socket, room in zip(sockets, rooms, strict=True)]
    stop = asyncio.Event()
    flooding = [asyncio.create_task(flood.run(stop)) for flood in floods]

    async def spread() -> bool:
        for task in flooding:
            if task.done():
                task.result()
        owner = await owners(victim)
        return len({owner[partition(room)] for room in rooms}) > 1

    try:
        await until(spread, "the busy rooms to be spread over the shards", BALANCED_S)
    finally:
        stop.set()
        await asyncio.gather(*flooding)
        for socket in sockets:
            await socket.close()
    assert await victim.metric(MOVES) > before
    assert await victim.metric(f'veza_partition_commands_per_second{{partition="{partition(rooms[0])}"}}') > 0
    for flood, room in zip(floods, rooms, strict=True):
        stored = [(message["seq"], message["content"]) for message in await person.history(room)]
        assert [seq for seq, _ in stored] == list(range(1, len(stored) + 1))
        assert sorted(flood.told) == stored
