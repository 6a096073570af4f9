"""The RoomShard actor: mailbox, storage and outboxes around `realtime.shard.ShardCore`.

One task, the writer, decides and commits; nothing else touches a room. The tick task only reads clocks.
"""

import asyncio
import logging
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import asyncpg

from veza import metrics
from veza.actors.gateway_links import GatewayLinks
from veza.actors.mailbox import Mailbox
from veza.actors.tasks import Life, TaskSet
from veza.config import Settings
from veza.errors import Unavailable
from veza.logs import log_file, setup_logging
from veza.realtime import commands as c
from veza.realtime.partition import partition_of
from veza.realtime.shard import CHATTY_ROOM_MEMBERS, Batch, ShardCore, Sourced
from veza.storage import partitions, room_log
from veza.storage.database import UNREACHABLE, open_connection

log = logging.getLogger(__name__)

BATCH_COMMANDS = 1000
MAILBOX_COMMANDS = 20_000
TICK_S = 0.2
# A batch whose commit has an unknown outcome answers its commands after this long; it is settled whenever it can be.
SETTLE_PATIENCE_S = 2.0
RECONNECT_S = 0.25
# A database that hangs holds up even what needs none of it, so it is given up sooner than elsewhere.
STATEMENT_S = 3.0
SLEEP_EVERY_S = 30.0
FAILURES = (*UNREACHABLE, asyncpg.PostgresError, Unavailable)


class RoomShard:
    """Owns the rooms (and the users' presence) of some partitions."""

    def __init__(self, name: str, settings: Settings) -> None:
        setup_logging(settings, name, log_file(settings))
        self.name = name
        self._url = settings.database_url
        self._core = ShardCore()
        self._mailbox: Mailbox[Sourced] = Mailbox(MAILBOX_COMMANDS)
        self._writer: Any = None  # the connection of the writer, None while PostgreSQL is away
        self._reader: Any = None  # the connection of the tick
        self._unsettled: Batch | None = None
        self._unsettled_since = 0.0
        self._given_up: dict[int, int] = {}  # partitions taken away and not given back since
        self._connect_at = 0.0  # no attempt to connect before this
        self._sleep_at = 0.0
        self._busy = asyncio.Lock()
        self._life = Life()
        self._tasks = TaskSet(name, self._life.fail)
        self._links = GatewayLinks(name, self._tasks, self._forget_gateway)
        self._started = False
        self._committed = 0

    # -- called by the Supervisor ----------------------------------------------------------------------------

    async def start(self) -> None:
        """Connect and begin. Raises Unavailable when PostgreSQL cannot be reached."""
        if not self._started:
            self._writer = await self._connect("writer", timeout=5.0)
            self._started = True
            self._tasks.start(self._write_forever(), "writer")
            self._tasks.start(self._tick_forever(), "tick")

    async def own(self, epochs: Mapping[int, int]) -> None:
        """Own exactly these partitions, under these epochs."""
        given_up = {p: epoch for p, epoch in self._core.epochs.items() if p not in epochs}
        self._core.revoke(given_up)
        self._core.grant(epochs)
        if any(self._given_up.get(p) == epoch for p, epoch in epochs.items()):
            # Back under the same epoch: the gateways see no change, but who followed the rooms is forgotten.
            self._links.resync()
        self._given_up = {p: epoch for p, epoch in (self._given_up | given_up).items() if p not in epochs}
        metrics.SHARD_PARTITIONS.labels(self.name).set(len(epochs))

    async def gateway_lost(self, gateway: str) -> None:
        self._links.lost(gateway)
        self._forget_gateway(gateway)

    def _forget_gateway(self, gateway: str) -> None:
        self._core.gateway_lost(gateway, self._now())

    async def ping(self) -> dict[str, Any]:
        """What the shard holds, for the Supervisor and for `veza status`."""
        return {
            "name": self.name,
            "started": self._started,
            "partitions": len(self._core.epochs),
            "owned": sum((partition + 1) * epoch for partition, epoch in self._core.epochs.items()),
            "rooms": len(self._core.rooms),
            "queued": len(self._mailbox),
            "committed": self._committed,
            "storing": self._writer is not None,
        }

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
        await self._tasks.close()
        for connection in (self._writer, self._reader):
            if connection is not None:
                connection.terminate()
        self._life.end()

    # -- called by gateways ----------------------------------------------------------------------------------

    async def submit(self, data: bytes) -> None:
        """Queue a batch of commands; answers come with `deliver`."""
        batch = c.decode_commands(data)
        gateway = batch.gateway
        # Also one that asks for nothing yet is told of presence.
        self._links.introduce(gateway)
        await self._mailbox.put([(gateway, command) for command in batch.commands])

    # -- the writer ------------------------------------------------------------------------------------------

    async def _write_forever(self) -> None:
        while True:
            queue = await self._mailbox.take(BATCH_COMMANDS)
            async with self._busy:
                if await self._ready_to_store():
                    await self._round(queue)
                else:
                    self._round_without_store(queue)

    async def _round(self, queue: list[Sourced]) -> None:
        core = self._core
        try:
            if missing := core.missing(queue):
                core.install(await room_log.load_rooms(self._writer, missing))
            if candidates := core.lookups(queue):
                core.found(await room_log.find_stored(self._writer, candidates))
        except FAILURES as error:
            self._store_lost(error)
            self._round_without_store(queue)
            return
        batch = core.decide(queue, datetime.now(UTC), self._now())
        self._mailbox.put_back(batch.deferred)
        if batch.events or batch.reads:
            await self._commit(batch)
        else:
            self._links.dispatch(batch.script)

    async def _commit(self, batch: Batch) -> None:
        started = self._now()
        try:
            lost = await self._store(batch)
        except FAILURES as error:
            self._store_lost(error)
            self._unsettled, self._unsettled_since = batch, started
            return
        self._finish(batch, lost)
        metrics.COMMIT_SECONDS.observe(self._now() - started)

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
        metrics.STORED_EVENTS.inc(len(batch.events))
        metrics.COMMIT_EVENTS.observe(len(batch.events))
        self._links.dispatch(batch.script)

    # -- without a store -------------------------------------------------------------------------------------

    def _store_lost(self, error: BaseException) -> None:
        log.warning("store lost", extra={"reason": f"{type(error).__name__}: {error}"})
        if self._writer is not None:
            self._writer.terminate()
            self._writer = None

    async def _ready_to_store(self) -> bool:
        """Whether there is a connection and no commit of unknown outcome; tries to mend either."""
        if self._writer is None:
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
        batch = self._core.decide(rest, datetime.now(UTC), self._now())
        self._links.dispatch(batch.script)

    # -- the tick --------------------------------------------------------------------------------------------

    async def _tick_forever(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            self._links.dispatch(self._core.tick(datetime.now(UTC), self._now()).script)
            changes = self._core.presence.changes(self._now())
            if changes:
                await self._tell_presence(changes)
            if self._unsettled is not None or self._writer is None:
                await self._recover()
            elif self._now() > self._sleep_at:
                self._sleep_at = self._now() + SLEEP_EVERY_S
                async with self._busy:
                    self._core.put_to_sleep(self._now())

    async def _recover(self) -> None:
        async with self._busy:
            if await self._ready_to_store():
                return
            batch = self._unsettled
            if batch is not None and self._now() - self._unsettled_since > SETTLE_PATIENCE_S:
                self._links.dispatch(batch.answer_all(_away()))

    async def _tell_presence(self, changes: Iterable[tuple[UUID, str]]) -> None:
        statuses = dict(changes)
        try:
            if self._reader is None or self._reader.is_closed():
                self._reader = await self._connect("reader", timeout=1.0)
            rooms = await partitions.rooms_of_users(self._reader, statuses, CHATTY_ROOM_MEMBERS)
        except FAILURES as error:
            # Presence may be dropped; whoever asks with get_members gets the truth.
            log.warning("presence not pushed", extra={"reason": type(error).__name__})
            return
        for user_id, room_ids in rooms.items():
            self._links.broadcast(c.PresenceChanged(user_id, statuses[user_id], room_ids))

    async def _connect(self, purpose: str, timeout: float) -> Any:
        name = f"{self.name} {purpose}"
        return await open_connection(self._url, name=name, timeout=timeout, statement_timeout=STATEMENT_S)

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()


def _away() -> Unavailable:
    return Unavailable("Messages cannot be stored right now; try again shortly.")
