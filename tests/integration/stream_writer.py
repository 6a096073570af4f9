"""A stream shard's writer without its actor: the real core and the real statements."""

from datetime import UTC, datetime
from typing import Any

import msgspec

from veza.ids import new_id
from veza.realtime import commands as c
from veza.realtime import stream_commands as s
from veza.realtime.batch import Sourced
from veza.realtime.events import Person
from veza.realtime.partition import PARTITIONS, STREAMS
from veza.realtime.streams.core import StreamCore
from veza.realtime.streams.view import Stream, StreamCategory
from veza.storage import partitions, stream_log

GATEWAY = "Gateway-1"

FIELDS = {
    "title": "Aria",
    "description": "",
    "category": StreamCategory.MUSIC,
    "tags": [],
    "is_private": False,
    "is_recorded": False,
    "slow_mode_seconds": 0,
    "scheduled_at": None,
}


class StreamWriter:
    """One round a call, as the actor does it."""

    def __init__(self, pool: Any, name: str = "StreamShard-1") -> None:
        self.pool = pool
        self.name = name
        self.core = StreamCore()
        self.now = 0.0
        self._ref = 0

    async def take_over(self) -> None:
        """Own all streams; whoever did before is fenced."""
        mine = dict.fromkeys(range(STREAMS, STREAMS + PARTITIONS), self.name)
        self.core.grant(await partitions.take(self.pool, mine), self.now)

    async def scan(self) -> None:
        missing = self.core.scanning(await stream_log.on_air(self.pool))
        self.core.install(await stream_log.load(self.pool, missing), self.now)

    async def give(self, *commands: Any, gateway: str = GATEWAY) -> list[Any]:
        """Carry out commands (made by `lambda ref: …`); the decoded `data`, or what was told instead."""
        queue: list[Sourced] = []
        for make in commands:
            self._ref += 1
            command = make(self._ref)
            command.epoch = max(self.core.epochs.values())
            queue.append((gateway, command))
        core = self.core
        core.install(await stream_log.load(self.pool, core.missing(queue)), self.now)
        core.found(await stream_log.find_stored(self.pool, core.lookups(queue)))
        core.supply(await stream_log.read_wanted(self.pool, core.wants(queue)))
        batch = core.decide(queue, datetime.now(UTC), self.now)
        lost: set[int] = set()
        if batch.stores:
            async with self.pool.acquire() as connection:
                lost = await stream_log.commit(connection, batch)
        core.finish(batch, lost, self.now)
        return [
            msgspec.json.decode(line.item.data) if isinstance(line.item, c.Answer) else line.item
            for line in batch.script.get(gateway, ())
        ]

    async def tick(self) -> None:
        batch = self.core.tick(datetime.now(UTC), self.now, storing=True)
        async with self.pool.acquire() as connection:
            self.core.finish(batch, await stream_log.commit(connection, batch), self.now)


def say(stream: Stream, by: Person, content: str, **fields: Any) -> Any:
    return lambda ref: s.SayInStream(ref, stream.id, new_id(), by, content, **fields)
