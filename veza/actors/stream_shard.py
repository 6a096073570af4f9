"""The StreamShard actor: live streams, around `realtime.streams.core.StreamCore`."""

import time
from datetime import UTC, datetime
from typing import Any

from veza import metrics
from veza.actors.refs import StreamGatewayRef
from veza.actors.shard import Shard, away
from veza.config import Settings
from veza.realtime import stream_commands as s
from veza.realtime.batch import Sourced
from veza.realtime.streams.batch import StreamBatch
from veza.realtime.streams.core import StreamCore
from veza.storage import partitions, stream_log
from veza.storage.database import FAILURES

SLEEP_EVERY_S = 30.0


class StreamShard(Shard[StreamBatch]):
    """Owns the streams of some partitions."""

    what = "stream"
    _core: StreamCore

    def __init__(self, name: str, settings: Settings) -> None:
        core = StreamCore(settings.live_grace_seconds, take_over=settings.live_take_over)
        super().__init__(name, settings, core, label="stream_shard", connect=StreamGatewayRef)
        self._sleep_at = 0.0

    def _held(self) -> int:
        return len(self._core.streams)

    def _decode(self, data: bytes) -> s.StreamCommandBatch:
        batch = s.decode_commands(data)
        self._core.heard(batch.gateway, self._now())
        return batch

    # -- the writer ------------------------------------------------------------------------------------------

    async def _warm_up(self) -> None:
        await stream_log.load(self._writer, [])
        await stream_log.find_stored(self._writer, [])
        await stream_log.commit(self._writer, StreamBatch(datetime.now(UTC)))

    async def _read(self, queue: list[Sourced]) -> None:
        core, began = self._core, time.monotonic()
        if missing := core.missing(queue):
            core.install(await stream_log.load(self._writer, missing), self._now())
            self._meter.loaded(time.monotonic() - began)
        if candidates := core.lookups(queue):
            core.found(await stream_log.find_stored(self._writer, candidates))
        if wants := core.wants(queue):
            core.supply(await stream_log.read_wanted(self._writer, wants))

    def _to_store(self, batch: StreamBatch) -> bool:
        return batch.stores

    async def _store(self, batch: StreamBatch) -> set[int]:
        return await stream_log.commit(self._writer, batch)

    def _stored(self, batch: StreamBatch, lost: set[int]) -> None:
        self._core.finish(batch, lost, self._now())
        self._committed += len(batch.messages) + len(batch.lives)
        metrics.STREAM_MESSAGES.inc(len(batch.messages))
        if lost:
            metrics.COMMITS_FENCED.inc(len(lost))

    async def _settle(self, batch: StreamBatch) -> None:
        """Raise the epochs, which waits for or fences the transaction that may still run; then all that it was about
        is read anew. Whoever asked is told that it may not have been done: a repetition finds what was.
        """
        renewed = await partitions.renew(self._writer, self.name, batch.epochs)
        batch.epochs |= renewed
        self._core.renewed(renewed)
        self._unsettled = None
        self._links.dispatch(batch.answer_all(away()))
        self._core.abandon(batch)
        self._links.dispatch(batch.script)
        self._links.resync()

    # -- the tick --------------------------------------------------------------------------------------------

    async def _on_tick(self) -> None:
        async with self._busy:
            storing = self._unsettled is None and self._connected()
            if storing and self._core.unscanned:
                storing = await self._scan()
            batch = self._core.tick(datetime.now(UTC), self._now(), storing=storing)
            if batch.stores:
                await self._commit(batch, [], time.monotonic())
            else:
                self._links.dispatch(batch.script)
            if storing and self._now() > self._sleep_at:
                self._sleep_at = self._now() + SLEEP_EVERY_S
                self._core.put_to_sleep(self._now())

    async def _scan(self) -> bool:
        """Read what is on the air of partitions that are new here; False when that cannot be done now."""
        try:
            missing = self._core.scanning(await stream_log.on_air(self._writer))
            self._core.install(await stream_log.load(self._writer, missing), self._now())
        except FAILURES as error:
            self._core.unscanned.update(self._core.epochs)
            self._store_lost(error)
            return False
        return True

    def _viewers(self) -> int:
        return sum(stream.audience.count for stream in self._core.streams.values())

    def _sample(self) -> None:
        super()._sample()
        metrics.STREAMS_ON_AIR.labels(self.name).set(sum(each.life.on_air for each in self._core.streams.values()))
        metrics.STREAM_VIEWERS.labels(self.name).set(self._viewers())

    async def ping(self) -> dict[str, Any]:
        """As every shard, with how many watch."""
        return {**await super().ping(), "viewers": self._viewers()}
