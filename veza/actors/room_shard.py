"""The RoomShard actor: mailbox, storage and outboxes around `realtime.shard.ShardCore`.

One task, the writer, decides and commits; nothing else touches a room. The tick task only reads clocks.
"""

import asyncio
import logging
import os
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from veza.actors.channel import Endpoint, Inlet
from veza.actors.gateway_links import GatewayLinks
from veza.actors.mailbox import FairMailbox
from veza.actors.notifier import Notifier
from veza.actors.presence_news import PresenceNews
from veza.actors.pulse import Pulse
from veza.actors.refs import inlet_host
from veza.actors.shard_meter import Held, ShardMeter, Times
from veza.actors.tasks import Life, TaskSet
from veza.config import Settings
from veza.errors import Unavailable
from veza.logs import log_file, setup_logging
from veza.realtime import commands as c
from veza.realtime.allowance import Limits
from veza.realtime.batch import Batch, Sourced
from veza.realtime.load import LoadMeter, subject_of
from veza.realtime.partition import partition_of
from veza.realtime.presence import Leases
from veza.realtime.sanctions import Policy
from veza.realtime.shard import ShardCore
from veza.storage import messages, partitions, room_log
from veza.storage.database import FAILURES, open_connection

log = logging.getLogger(__name__)

BATCH_COMMANDS = 1000
MAILBOX_COMMANDS = 20_000
# Of one room or user. A flood fills no more of the mailbox, so that the others still get in.
SUBJECT_COMMANDS = 5_000
TICK_S = 0.2
# A batch whose commit has an unknown outcome answers its commands after this long; it is settled whenever it can be.
SETTLE_PATIENCE_S = 2.0
RECONNECT_S = 0.25
# A database that hangs holds up even what needs none of it, so it is given up sooner than elsewhere.
STATEMENT_S = 3.0
SLEEP_EVERY_S = 30.0


class RoomShard:
    """Owns the rooms (and the users' presence) of some partitions."""

    def __init__(self, name: str, settings: Settings) -> None:
        setup_logging(settings, name, log_file(settings))
        self.name = name
        self._settings = settings
        self._url = settings.database_url
        self._core = ShardCore(
            Policy(settings.chat_warnings_before_mute, settings.chat_warning_mute_seconds),
            Limits(settings.chat_messages_per_minute, settings.chat_message_burst),
            settings.max_sockets_per_user,
        )
        self._leases = Leases()
        self._mailbox: FairMailbox[Sourced] = FairMailbox(
            MAILBOX_COMMANDS, key=lambda sourced: subject_of(sourced[1]), key_limit=SUBJECT_COMMANDS
        )
        self._writer: Any = None  # the connection of the writer, None while PostgreSQL is away
        self._unsettled: Batch | None = None
        self._unsettled_since = 0.0
        self._given_up: dict[int, int] = {}  # partitions taken away and not given back since
        self._load = LoadMeter()
        self._connect_at = 0.0  # no attempt to connect before this
        self._sleep_at = 0.0
        self._busy = asyncio.Lock()
        self._life = Life()
        self._tasks = TaskSet(name, self._life.fail)
        self._inlet = Inlet(self.submit, self._tasks)
        self._links = GatewayLinks(name, self._tasks, self._forget_gateway)
        self._news = PresenceNews(self._core, self._links, lambda: self._connect("presence", timeout=1.0))
        self._meter = ShardMeter(name)
        self._pulse = Pulse("room_shard", name, self._sample)
        self._started = False
        self._committed = 0

    # -- called by the Supervisor ----------------------------------------------------------------------------

    async def start(self) -> None:
        """Connect and begin. Raises Unavailable when PostgreSQL cannot be reached."""
        if not self._started:
            self._writer = await self._connect("writer", timeout=5.0)
            try:
                await room_log.warm_up(self._writer)
            except FAILURES as error:
                self._store_lost(error)
            await self._inlet.start(inlet_host(self._settings))
            self._started = True
            self._tasks.start(self._write_forever(), "writer")
            self._tasks.start(self._tick_forever(), "tick")
            self._tasks.start(self._pulse.run(), "pulse")
            notifier = Notifier(self.name, self._url, lambda: self._core.epochs, self._core.presence.gateways)
            self._tasks.start(notifier.run(), "notifier")

    async def own(self, epochs: Mapping[int, int]) -> None:
        """Own exactly these partitions, under these epochs."""
        given_up = {p: epoch for p, epoch in self._core.epochs.items() if p not in epochs}
        self._load.forget(given_up)
        self._news.owned(self._core.epochs, epochs, self._now())
        self._core.revoke(given_up)
        self._core.grant(epochs, self._now())
        if any(self._given_up.get(p) == epoch for p, epoch in epochs.items()):
            # Back under the same epoch: the gateways see no change, but who followed the rooms is forgotten.
            self._links.resync()
        self._given_up = {p: epoch for p, epoch in (self._given_up | given_up).items() if p not in epochs}

    async def endpoint(self) -> Endpoint:
        """Where `submit` takes its batches. Raises Unavailable before `start`."""
        return self._inlet.place()

    async def gateway_lost(self, gateway: str) -> None:
        self._links.lost(gateway)
        self._forget_gateway(gateway)

    def _forget_gateway(self, gateway: str) -> None:
        self._leases.lost(gateway)
        self._links.dispatch(self._core.gateway_lost(gateway, self._now()).script)

    async def ping(self) -> dict[str, Any]:
        """What the shard holds, for the Supervisor and for `veza status`."""
        return {
            "name": self.name,
            "pid": os.getpid(),
            "started": self._started,
            "partitions": len(self._core.epochs),
            "owned": sum((partition + 1) * epoch for partition, epoch in self._core.epochs.items()),
            "rooms": len(self._core.rooms),
            "queued": len(self._mailbox),
            "committed": self._committed,
            "storing": self._connected(),
            "rates": self._rates(),
            "lag_ms": self._pulse.lag_ms,
        }

    def _rates(self) -> dict[int, float]:
        found = {p: rate for p, rate in self._load.rates(self._now()).items() if p in self._core.epochs}
        self._meter.show_rates({partition: found.get(partition, 0.0) for partition in self._core.epochs})
        return found

    def _sample(self) -> None:
        held = Held(
            epochs=self._core.epochs,
            rooms=len(self._core.rooms),
            queued=len(self._mailbox),
            connections=(self._writer is not None) + self._news.connected,
            storing=self._connected() and self._unsettled is None,
            outbox=self._links.depth(),
        )
        self._meter.sample(held, self._now())

    async def lifeline(self) -> None:
        await self._life.wait()

    async def drain(self) -> None:
        """Finish what was accepted, then stop."""
        while len(self._mailbox) and self._unsettled is None:
            # The writer takes turns at `_busy`; each turn of ours is one of its batches.
            async with self._busy:
                await asyncio.sleep(0)
        async with self._busy:
            await self._links.flushed()
        await self._inlet.close()
        await self._tasks.close()
        self._news.close()
        if self._writer is not None:
            self._writer.terminate()
        self._life.end()

    # -- called by gateways ----------------------------------------------------------------------------------

    async def submit(self, data: bytes) -> None:
        """Queue a batch of commands; answers come with `deliver`."""
        batch = c.decode_commands(data)
        gateway = batch.gateway
        # Also one that asks for nothing yet is told of presence.
        self._links.introduce(gateway)
        if self._leases.heard(gateway, self._now()):
            log.warning("gateway is back", extra={"gateway": gateway})
            self._links.resync(gateway)
        self._meter.took(batch.commands)
        refused = await self._mailbox.put([(gateway, command) for command in batch.commands])
        if refused:
            error = Unavailable("This room is flooded; try again shortly.")
            self._links.dispatch(self._core.refuse_all(refused, error).script)

    # -- the writer ------------------------------------------------------------------------------------------

    async def _write_forever(self) -> None:
        while True:
            queue = await self._mailbox.take(BATCH_COMMANDS)
            self._load.took(queue)
            async with self._busy:
                if await self._ready_to_store():
                    await self._round(queue)
                else:
                    self._round_without_store(queue)

    async def _round(self, queue: list[Sourced]) -> None:
        core = self._core
        taken = time.monotonic()
        try:
            if missing := core.missing(queue):
                core.install(await room_log.load_rooms(self._writer, missing))
                self._meter.loaded(len(missing), time.monotonic() - taken)
            if candidates := core.lookups(queue):
                began = time.monotonic()
                core.found(await room_log.find_stored(self._writer, candidates))
                self._meter.looked_up(time.monotonic() - began)
            if wants := core.wants(queue):
                core.supply(await messages.read_wanted(self._writer, wants))
        except FAILURES as error:
            self._store_lost(error)
            self._round_without_store(queue)
            return
        batch = core.decide(queue, datetime.now(UTC), self._now())
        self._mailbox.put_back(batch.deferred)
        if batch.events or batch.reads:
            await self._commit(batch, queue, taken)
        else:
            self._links.dispatch(batch.script)

    async def _commit(self, batch: Batch, queue: list[Sourced], taken: float) -> None:
        started, decided = self._now(), time.monotonic()
        try:
            lost = await self._store(batch)
        except FAILURES as error:
            self._store_lost(error)
            self._unsettled, self._unsettled_since = batch, started
            self._meter.unknown()
            return
        self._finish(batch, lost)
        now = time.monotonic()
        self._meter.committed(batch, queue, lost, Times(now - taken, now - decided))

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

    def _finish(self, batch: Batch, lost: set[int]) -> None:
        self._core.finish(batch, lost)
        self._committed += len(batch.events)
        self._meter.finished(batch, lost)
        self._links.dispatch(batch.script)

    # -- without a store -------------------------------------------------------------------------------------

    def _store_lost(self, error: BaseException) -> None:
        log.warning("store lost", extra={"reason": f"{type(error).__name__}: {error}"})
        if self._writer is not None:
            self._writer.terminate()
            self._writer = None

    def _connected(self) -> bool:
        # One that is lost while nothing is said over it has closed without a word.
        return self._writer is not None and not self._writer.is_closed()

    async def _ready_to_store(self) -> bool:
        """Whether there is a connection and no commit of unknown outcome; tries to mend either."""
        if not self._connected():
            if self._now() < self._connect_at:
                return False
            try:
                self._writer = await self._connect("writer", timeout=1.0)
            except Unavailable:
                self._connect_at = self._now() + RECONNECT_S
                return False
        if self._unsettled is not None:
            try:
                await self._settle(self._unsettled)
            except FAILURES as error:
                self._store_lost(error)
                return False
        return True

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
        self._links.dispatch(batch.answer_all(_away()))
        self._links.dispatch(batch.script)
        self._links.resync()

    def _round_without_store(self, queue: list[Sourced]) -> None:
        answers, rest = self._core.refuse(queue, _away())
        self._links.dispatch(answers.script)
        self._links.dispatch(self._core.decide(rest, datetime.now(UTC), self._now()).script)

    # -- the tick --------------------------------------------------------------------------------------------

    async def _tick_forever(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            for gateway in self._leases.ended(self._now()):
                log.warning("gateway silent", extra={"gateway": gateway})
                self._links.dispatch(self._core.gateway_lost(gateway, self._now()).script)
            self._links.dispatch(self._core.tick(datetime.now(UTC), self._now()).script)
            await self._news.tick(self._now())
            if self._unsettled is not None or not self._connected():
                await self._recover()
            elif self._now() > self._sleep_at:
                self._sleep_at = self._now() + SLEEP_EVERY_S
                async with self._busy:
                    self._meter.slept(self._core.put_to_sleep(self._now()))

    async def _recover(self) -> None:
        async with self._busy:
            if await self._ready_to_store():
                return
            batch = self._unsettled
            if batch is not None and self._now() - self._unsettled_since > SETTLE_PATIENCE_S:
                self._links.dispatch(batch.answer_all(_away()))

    async def _connect(self, purpose: str, timeout: float) -> Any:
        name = f"{self.name} {purpose}"
        return await open_connection(self._url, name=name, timeout=timeout, statement_timeout=STATEMENT_S)

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()


def _away() -> Unavailable:
    return Unavailable("Messages cannot be stored right now; try again shortly.")
