"""What shards of every kind share: mailbox, storage and outboxes around a core that decides.

One task, the writer, decides and commits; nothing else touches what the core holds. The tick task only reads clocks.
"""

import abc
import asyncio
import logging
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Generic, Protocol, TypeVar

from veza.actors.channel import Endpoint, Inlet
from veza.actors.gateway_links import GatewayLinks
from veza.actors.mailbox import FairMailbox
from veza.actors.pulse import Pulse
from veza.actors.refs import GatewayRef, inlet_host
from veza.actors.shard_meter import Held, ShardMeter
from veza.actors.tasks import Life, TaskSet
from veza.config import Settings
from veza.errors import Unavailable, VezaError
from veza.logs import log_file, setup_logging
from veza.realtime import commands as c
from veza.realtime.batch import Script, Sourced
from veza.realtime.load import LoadMeter, subject_of
from veza.realtime.presence import Leases
from veza.storage.database import FAILURES, open_connection

log = logging.getLogger(__name__)

BATCH_COMMANDS = 1000
MAILBOX_COMMANDS = 20_000
# Of one room, stream or user. A flood fills no more of the mailbox, so that the others still get in.
SUBJECT_COMMANDS = 5_000
TICK_S = 0.2
# A batch whose commit has an unknown outcome answers its commands after this long; it is settled whenever it can be.
SETTLE_PATIENCE_S = 2.0
RECONNECT_S = 0.25
# A database that hangs holds up even what needs none of it, so it is given up sooner than elsewhere.
STATEMENT_S = 3.0

B = TypeVar("B", bound=Script)
B_co = TypeVar("B_co", bound=Script, covariant=True)


class Commands(Protocol):
    """A batch of commands, from whom."""

    @property
    def gateway(self) -> str: ...
    @property
    def commands(self) -> Sequence[c.Routed]: ...


class Core(Protocol[B_co]):
    """What the shard needs of its core, whatever that is about."""

    first: int
    epochs: dict[int, int]

    def grant(self, epochs: Mapping[int, int], now: float | None = None) -> None: ...
    def revoke(self, partitions: Iterable[int]) -> None: ...
    def renewed(self, epochs: Mapping[int, int]) -> None: ...
    def gateway_lost(self, gateway: str, now: float) -> Script: ...
    def refuse_all(self, queue: Iterable[Sourced], error: VezaError) -> Script: ...
    def refuse(self, queue: Iterable[Sourced], error: VezaError) -> tuple[Script, list[Sourced]]: ...
    def decide(self, queue: Iterable[Sourced], wall: datetime, now: float) -> B_co: ...


class Shard(abc.ABC, Generic[B]):
    """Owns what is in some partitions. `what` is what one subject of it is called."""

    what = "subject"

    def __init__(
        self, name: str, settings: Settings, core: Core[B], *, label: str, connect: type[GatewayRef] = GatewayRef
    ) -> None:
        """`label` is that of its kind in metrics."""
        setup_logging(settings, name, log_file(settings))
        self.name = name
        self._settings = settings
        self._url = settings.database_url
        self._core = core
        self._leases = Leases()
        self._mailbox: FairMailbox[Sourced] = FairMailbox(
            MAILBOX_COMMANDS, key=lambda sourced: subject_of(sourced[1]), key_limit=SUBJECT_COMMANDS
        )
        self._writer: Any = None  # the connection of the writer, None while PostgreSQL is away
        self._unsettled: B | None = None
        self._unsettled_since = 0.0
        self._given_up: dict[int, int] = {}  # partitions taken away and not given back since
        self._load = LoadMeter(core.first)
        self._connect_at = 0.0  # no attempt to connect before this
        self._busy = asyncio.Lock()
        self._life = Life()
        self._tasks = TaskSet(name, self._life.fail)
        self._inlet = Inlet(self.submit, self._tasks)
        self._links = GatewayLinks(name, self._tasks, self._forget_gateway, connect)
        self._meter = ShardMeter(name, self.what)
        self._pulse = Pulse(label, name, self._sample)
        self._started = False
        self._committed = 0

    # -- of each kind ----------------------------------------------------------------------------------------

    @abc.abstractmethod
    def _decode(self, data: bytes) -> Commands: ...

    @abc.abstractmethod
    async def _warm_up(self) -> None:
        """Have the writer's connection meet its statements. Raises FAILURES."""

    @abc.abstractmethod
    async def _read(self, queue: list[Sourced]) -> None:
        """Read what deciding these needs. Raises FAILURES."""

    @abc.abstractmethod
    def _to_store(self, batch: B) -> bool:
        """Whether there is anything to commit."""

    @abc.abstractmethod
    async def _store(self, batch: B) -> set[int]:
        """Commit; returns the partitions that were not ours any more. Raises FAILURES."""

    @abc.abstractmethod
    def _stored(self, batch: B, lost: set[int]) -> None:
        """The batch is stored, but for these partitions: finish it, and count it."""

    @abc.abstractmethod
    async def _settle(self, batch: B) -> None:
        """Find out what became of a commit, and forget that it is unsettled. Raises FAILURES."""

    @abc.abstractmethod
    def _held(self) -> int:
        """How many subjects are in memory."""

    def _owning(self, epochs: Mapping[int, int]) -> None:
        """These partitions, under these epochs, are about to be all that it owns."""

    async def _on_tick(self) -> None:
        """What is due, at each tick."""

    def _connections(self) -> int:
        """To PostgreSQL, beside the writer's."""
        return 0

    # -- called by the Supervisor ----------------------------------------------------------------------------

    async def start(self) -> None:
        """Connect and begin. Raises Unavailable when PostgreSQL cannot be reached."""
        if not self._started:
            self._writer = await self._connect("writer", timeout=5.0)
            try:
                await self._warm_up()
            except FAILURES as error:
                self._store_lost(error)
            await self._inlet.start(inlet_host(self._settings))
            self._started = True
            self._tasks.start(self._write_forever(), "writer")
            self._tasks.start(self._tick_forever(), "tick")
            self._tasks.start(self._pulse.run(), "pulse")

    async def own(self, epochs: Mapping[int, int]) -> None:
        """Own exactly these partitions, under these epochs."""
        given_up = {p: epoch for p, epoch in self._core.epochs.items() if p not in epochs}
        self._load.forget(given_up)
        self._owning(epochs)
        self._core.revoke(given_up)
        self._core.grant(epochs, self._now())
        if any(self._given_up.get(p) == epoch for p, epoch in epochs.items()):
            # Back under the same epoch: the gateways see no change, but who followed is forgotten.
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
            f"{self.what}s": self._held(),
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
            subjects=self._held(),
            queued=len(self._mailbox),
            connections=(self._writer is not None) + self._connections(),
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
        if self._writer is not None:
            self._writer.terminate()
        self._life.end()

    # -- called by gateways ----------------------------------------------------------------------------------

    async def submit(self, data: bytes) -> None:
        """Queue a batch of commands; answers come with `deliver`."""
        batch = self._decode(data)
        gateway = batch.gateway
        # Also one that asks for nothing yet is told what concerns all.
        self._links.introduce(gateway)
        if self._leases.heard(gateway, self._now()):
            log.warning("gateway is back", extra={"gateway": gateway})
            self._links.resync(gateway)
        self._meter.took(batch.commands)
        refused = await self._mailbox.put([(gateway, command) for command in batch.commands])
        if refused:
            error = Unavailable(f"This {self.what} is flooded; try again shortly.")
            self._links.dispatch(self._core.refuse_all(refused, error).script)
            if not all(getattr(command, "ref", 0) for _, command in refused):
                # Nobody waits for an answer to these: what they told is said anew.
                self._links.resync(gateway)

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
        taken = time.monotonic()
        try:
            await self._read(queue)
        except FAILURES as error:
            self._store_lost(error)
            self._round_without_store(queue)
            return
        batch = self._core.decide(queue, datetime.now(UTC), self._now())
        self._mailbox.put_back(batch.deferred)
        if self._to_store(batch):
            await self._commit(batch, queue, taken)
        else:
            self._links.dispatch(batch.script)

    async def _commit(self, batch: B, queue: list[Sourced], taken: float) -> None:
        """`taken` is when the queue left the mailbox, in monotonic seconds."""
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
        self._timed(batch, queue, lost, now - taken, now - decided)

    def _timed(self, batch: B, queue: list[Sourced], lost: set[int], taken: float, decided: float) -> None:
        """A batch was stored at the first attempt; it took so many seconds since then."""

    def _finish(self, batch: B, lost: set[int]) -> None:
        self._stored(batch, lost)
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

    def _round_without_store(self, queue: list[Sourced]) -> None:
        answers, rest = self._core.refuse(queue, away())
        self._links.dispatch(answers.script)
        self._links.dispatch(self._core.decide(rest, datetime.now(UTC), self._now()).script)

    # -- the tick --------------------------------------------------------------------------------------------

    async def _tick_forever(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            for gateway in self._leases.ended(self._now()):
                log.warning("gateway silent", extra={"gateway": gateway})
                self._links.dispatch(self._core.gateway_lost(gateway, self._now()).script)
            await self._on_tick()
            if self._unsettled is not None or not self._connected():
                await self._recover()

    async def _recover(self) -> None:
        async with self._busy:
            if await self._ready_to_store():
                return
            batch = self._unsettled
            if batch is not None and self._now() - self._unsettled_since > SETTLE_PATIENCE_S:
                self._links.dispatch(batch.answer_all(away()))

    async def _connect(self, purpose: str, timeout: float) -> Any:
        name = f"{self.name} {purpose}"
        return await open_connection(self._url, name=name, timeout=timeout, statement_timeout=STATEMENT_S)

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()


def away() -> Unavailable:
    return Unavailable("Messages cannot be stored right now; try again shortly.")
