"""The RoomShard actor: rooms, and the presence of users, around `realtime.shard.ShardCore`."""

import asyncio
import time
from collections.abc import Mapping
from datetime import UTC, datetime

from veza import metrics
from veza.actors.notifier import Notifier
from veza.actors.presence_news import PresenceNews
from veza.actors.shard import Shard, away
from veza.actors.shard_meter import Times
from veza.config import Settings
from veza.realtime import commands as c
from veza.realtime.allowance import Limits
from veza.realtime.batch import Batch, Sourced
from veza.realtime.partition import partition_of
from veza.realtime.sanctions import Policy
from veza.realtime.shard import ShardCore
from veza.storage import messages, partitions, room_log

SLEEP_EVERY_S = 30.0


class RoomShard(Shard[Batch]):
    """Owns the rooms (and the users' presence) of some partitions."""

    what = "room"
    _core: ShardCore

    def __init__(self, name: str, settings: Settings) -> None:
        core = ShardCore(
            Policy(settings.chat_warnings_before_mute, settings.chat_warning_mute_seconds),
            Limits(settings.chat_messages_per_minute, settings.chat_message_burst),
            settings.max_sockets_per_user,
        )
        super().__init__(name, settings, core, label="room_shard")
        self._news = PresenceNews(core, self._links, lambda: self._connect("presence", timeout=1.0))
        self._sleep_at = 0.0

    async def start(self) -> None:
        if not self._started:
            await super().start()
            notifier = Notifier(self.name, self._url, lambda: self._core.epochs, self._core.presence.gateways)
            self._tasks.start(notifier.run(), "notifier")

    async def drain(self) -> None:
        await super().drain()
        self._news.close()

    def _owning(self, epochs: Mapping[int, int]) -> None:
        self._news.owned(self._core.epochs, epochs, self._now())

    def _held(self) -> int:
        return len(self._core.rooms)

    def _connections(self) -> int:
        return int(self._news.connected)

    def _decode(self, data: bytes) -> c.CommandBatch:
        return c.decode_commands(data)

    # -- the writer ------------------------------------------------------------------------------------------

    async def _warm_up(self) -> None:
        await room_log.warm_up(self._writer)

    async def _read(self, queue: list[Sourced]) -> None:
        core, began = self._core, time.monotonic()
        if missing := core.missing(queue):
            core.install(await room_log.load_rooms(self._writer, missing))
            metrics.ROOMS_WOKEN.inc(len(missing))
            self._meter.loaded(time.monotonic() - began)
        if candidates := core.lookups(queue):
            began = time.monotonic()
            core.found(await room_log.find_stored(self._writer, candidates))
            self._meter.looked_up(time.monotonic() - began)
        if wants := core.wants(queue):
            core.supply(await messages.read_wanted(self._writer, wants))

    def _to_store(self, batch: Batch) -> bool:
        return bool(batch.events or batch.reads)

    async def _store(self, batch: Batch) -> set[int]:
        """Commit events, then read marks; frames are encoded while PostgreSQL works."""
        lost: set[int] = set()
        if batch.events:
            storing = asyncio.ensure_future(
                room_log.commit(self._writer, batch.events, batch.epochs, structural=batch.structural)
            )
            # Lets the statement leave before the processor is spent on frames.
            await asyncio.sleep(0)
            batch.encode()
            lost = await storing
        if batch.reads:
            await room_log.save_reads(self._writer, batch.reads)
        return lost

    def _stored(self, batch: Batch, lost: set[int]) -> None:
        self._core.finish(batch, lost)
        self._committed += len(batch.events)
        self._meter.finished(batch, lost)

    def _timed(self, batch: Batch, queue: list[Sourced], lost: set[int], taken: float, decided: float) -> None:
        self._meter.committed(batch, queue, lost, Times(taken, decided))

    async def _settle(self, batch: Batch) -> None:
        """Find out whether a commit went through: raise the epochs, which waits for or fences the statement that
        may still run, then read back.
        """
        renewed = await partitions.renew(self._writer, self.name, batch.epochs)
        # At once, for what follows may fail and be tried again under these.
        batch.epochs |= renewed
        self._core.renewed(renewed)
        stored = await room_log.stored_ids(self._writer, batch.events)
        if batch.reads and (stored or not batch.events):
            await room_log.save_reads(self._writer, batch.reads)
        self._unsettled = None
        if stored or not batch.events:
            # All of a partition is stored, or none of it.
            self._finish(batch, {partition_of(event.room_id) for event in batch.events if event.id not in stored})
            return
        self._core.abandon(batch)
        self._links.dispatch(batch.answer_all(away()))
        self._links.dispatch(batch.script)
        self._links.resync()

    # -- the tick --------------------------------------------------------------------------------------------

    async def _on_tick(self) -> None:
        self._links.dispatch(self._core.tick(datetime.now(UTC), self._now()).script)
        await self._news.tick(self._now())
        if self._unsettled is None and self._connected() and self._now() > self._sleep_at:
            self._sleep_at = self._now() + SLEEP_EVERY_S
            async with self._busy:
                self._meter.slept(self._core.put_to_sleep(self._now()))
