"""The Supervisor actor: keeps actors of every kind going on the nodes, and every partition with a shard that lives.

It is never on the path of a message. Everything it knows can be found out again (nodes and actors from Ray, owners
from PostgreSQL), so its own crash costs nothing but time: `veza serve` starts another.
"""

import asyncio
import logging
import os
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Any

import asyncpg
import msgspec
from ray.exceptions import RayError

from veza import metrics
from veza.actors.fleet import Fleet, leave
from veza.actors.kinds import INGEST, LIMITER, PROCESSOR, RUNNER, SHARD, STREAM_SHARD, Kind, gateway_kind
from veza.actors.limiter_map import LimiterMap
from veza.actors.members import SUSPECT_S, Member, Members
from veza.actors.nodes import Nodes, Wanted
from veza.actors.ownership import NO_ANSWER, Ownership
from veza.actors.pulse import Pulse
from veza.actors.refs import (
    ActorRef,
    GatewayRef,
    IngestRef,
    LimiterRef,
    ProcessorRef,
    RunnerRef,
    ShardRef,
    StreamShardRef,
)
from veza.actors.runner_map import RunnerMap
from veza.actors.tasks import TaskSet
from veza.config import Settings
from veza.errors import Conflict, InvalidArgument, Unavailable
from veza.logs import log_file, rotate, setup_logging
from veza.realtime.partition import STREAMS
from veza.realtime.routing import PartitionMap
from veza.storage import audit, payout_queue
from veza.storage.database import FAILURES, UNREACHABLE, open_connection, open_pool
from veza.storage.sweeps import sweep

log = logging.getLogger(__name__)

PING_SHARDS_S = 0.5
PING_OTHERS_S = 2.0
# A silent shard costs a process, for its partitions are with others by then.
SHARD_PATIENCE_S = 15.0
# A silent gateway's users look present meanwhile, which must end within 15 s; 3 s of it are the shards' own grace.
GATEWAY_PATIENCE_S = 8.0
# While one of the rest is silent nobody waits for it.
OTHERS_PATIENCE_S = 8.0
SETTLE_RETRY_S = 0.2
SWEEP_EVERY_S = 600.0
# A batch of a sweep may read a large table to find its rows.
SWEEP_STATEMENT_S = 60.0
BALANCE_EVERY_S = 10.0
# An operator waits so long for actors that start or leave; they go on in any case.
CHANGE_S = 60.0
# As many as the settings allow on a node.
MOST_SHARDS, MOST_GATEWAYS = 256, 64


class Supervisor:
    """Started once, detached and named; `ensure` is called again and again by whoever serves."""

    def __init__(self, settings: Settings, gateway_class: type, wanted: Wanted) -> None:
        setup_logging(settings, "Supervisor", log_file(settings))
        self._settings = settings
        self._uneven = asyncio.Event()  # the partition map may not fit the living shards
        self._short = asyncio.Event()  # an actor may be missing, or one too many
        self._tasks = TaskSet("Supervisor", self._fail)
        self._shards = self._watch_shards(SHARD)
        self._stream_shards = self._watch_shards(STREAM_SHARD)
        gateway = gateway_kind(gateway_class)
        # One that answers again has missed maps.
        self._gateways: Members[GatewayRef] = self._watch(gateway, self._gateway_turned, self._gateway_lost)
        self._ingests: Members[IngestRef] = self._watch(INGEST, self._uneven.set, self._ingest_lost)
        self._limiters: Members[LimiterRef] = self._watch(LIMITER, self._limiter_turned, self._limiter_lost)
        self._runners: Members[RunnerRef] = self._watch(RUNNER, self._runner_turned, self._runner_lost)
        self._processors: Members[ProcessorRef] = self._watch(PROCESSOR, lambda: None, self._processor_lost)
        self._limiter_map = LimiterMap(self._limiters, self._gateways, self._tasks)
        self._runner_map = RunnerMap(self._runners, self._gateways, self._tasks)
        self._nodes = Nodes(self._short.set)
        self._ownership = Ownership(settings.database_url, self._shards, [self._gateways])
        listeners: list[Members[Any]] = [self._gateways, self._ingests]
        self._streams = Ownership(settings.database_url, self._stream_shards, listeners, STREAMS)
        self._fleet = Fleet(
            settings,
            wanted,
            self._tasks,
            nodes=self._nodes,
            kinds={
                SHARD: self._shards,
                STREAM_SHARD: self._stream_shards,
                gateway: self._gateways,
                INGEST: self._ingests,
                LIMITER: self._limiters,
                RUNNER: self._runners,
                PROCESSOR: self._processors,
            },
            introduce=self._introduce,
            owned=lambda shard: self._ownership.owned(shard) + self._streams.owned(shard),
            on_change=self._uneven.set,
        )
        self._started = False
        self._adopted = False
        self._starting = asyncio.Lock()
        self._life = asyncio.Event()  # never set

    def _watch_shards(self, kind: Kind) -> Members[ShardRef]:
        return Members(
            kind.label,
            self._tasks,
            period=PING_SHARDS_S,
            patience=SHARD_PATIENCE_S,
            settled=self._agrees,
            on_turn=self._uneven.set,
            on_lost=self._shard_lost,
        )

    def _watch(self, kind: Kind, on_turn: Callable[[], None], on_lost: Callable[[Member[Any]], None]) -> Members[Any]:
        patience = GATEWAY_PATIENCE_S if kind.ref is GatewayRef else OTHERS_PATIENCE_S
        return Members(
            kind.label,
            self._tasks,
            period=PING_OTHERS_S,
            patience=patience,
            settled=lambda _: True,
            on_turn=on_turn,
            on_lost=on_lost,
        )

    # -- called by `veza serve` ------------------------------------------------------------------------------

    async def ensure(self) -> dict[str, Any]:
        """Find or start everything that should run; returns the state. Idempotent, also after a crash. Other nodes
        may still be starting theirs.

        Raises Unavailable when that cannot be done now; what was done until then stays.
        """
        async with self._starting:
            if not self._started:
                try:
                    await self._take_over()
                except (*UNREACHABLE, asyncpg.PostgresError) as error:
                    raise Unavailable(f"PostgreSQL cannot be used: {error or type(error).__name__}") from error
                except RayError as error:
                    raise Unavailable(f"Ray cannot be used: {type(error).__name__}") from error
                self._tasks.start(self._reconcile_forever(), "reconcile")
                self._tasks.start(self._look_forever(), "fleet")
                self._tasks.start(self._nodes.watch_forever(), "nodes")
                self._tasks.start(self._balance_forever(), "balance")
                self._tasks.start(self._sweep_forever(), "sweep")
                self._tasks.start(Pulse("supervisor", "Supervisor", self._sample).run(), "pulse")
                self._started = True
        return self.state()

    async def _take_over(self) -> None:
        if not self._adopted:
            await self._nodes.look()
            await self._fleet.adopt()
            self._adopted = True
        if len(self._shards) or len(self._stream_shards):
            # The living first: a replacement takes a second to start.
            await self._settle()
        # This node's must start, or the platform has not; other nodes come when they can.
        if self._nodes.home is not None:
            await self._fleet.fill(self._nodes.home)
        await self._limiter_map.tell()
        if not await self._settle():
            self._uneven.set()
        self._short.set()

    async def _settle(self) -> bool:
        """Bring ownership of rooms and of streams to the plan. Returns whether all confirmed."""
        return all(await asyncio.gather(self._ownership.reconcile(), self._streams.reconcile()))

    async def lifeline(self) -> None:
        """Never returns: that the call fails tells of the Supervisor's death at once."""
        await self._life.wait()

    def state(self) -> dict[str, Any]:
        return {
            "partitions": len(self._ownership.map),
            "wanted": msgspec.structs.asdict(self._fleet.wanted),
            "owners": {partition: owner for partition, (_, owner) in self._ownership.map.items()},
            "nodes": self._fleet.state(),
            "shards": self._shards.state(),
            "stream_shards": self._stream_shards.state(),
            "gateways": self._gateways.state(),
            "ingests": self._ingests.state(),
            "limiters": self._limiters.state(),
            "runners": self._runners.state(),
            "processors": self._processors.state(),
        }

    def _sample(self) -> None:
        nodes = self._fleet.state()
        drained = sum(node["drained"] for node in nodes)
        metrics.NODES.labels("active").set(len(nodes) - drained)
        metrics.NODES.labels("drained").set(drained)

    async def partition_map(self) -> PartitionMap:
        return {**self._ownership.map, **self._streams.map}

    async def drain(self, timeout: float) -> None:
        """Stop in order: gateways and Ingests let go of their connections, then shards finish their commits, and
        whoever works for both ends what it has begun.
        """
        self._fleet.stop()
        await self._tasks.close()
        outer: list[Members[Any]] = [self._gateways, self._ingests]
        await asyncio.gather(*(leave(member.ref, timeout / 2) for members in outer for member in members))
        rest: list[Members[Any]] = [self._shards, self._stream_shards, self._limiters, self._runners, self._processors]
        await asyncio.gather(*(leave(member.ref, timeout / 2) for members in rest for member in members))

    @staticmethod
    def _fail(_: BaseException) -> None:
        """Half of a Supervisor is worse than none: `veza serve` starts another, which takes over."""
        os._exit(1)

    # -- what an operator asks, through `veza serve` ---------------------------------------------------------

    async def scale(self, shards: int | None, gateways: int | None) -> None:
        """Another number of actors on each node; returns when they are there. Raises InvalidArgument."""
        wanted = self._fleet.wanted
        shards = wanted.shards if shards is None else shards
        gateways = wanted.gateways if gateways is None else gateways
        if not (1 <= shards <= MOST_SHARDS and 1 <= gateways <= MOST_GATEWAYS):
            raise InvalidArgument(f"A node has 1 to {MOST_SHARDS} shards and 1 to {MOST_GATEWAYS} gateways.")
        await self._make(msgspec.structs.replace(wanted, shards=shards, gateways=gateways), self._fleet.complete())

    async def drain_node(self, which: str) -> None:
        """Move everything away from a node; returns when nothing runs there. Raises InvalidArgument, and Conflict when
        no other node could take it.
        """
        node = self._nodes.find(which)
        drained = self._fleet.wanted.drained | {node.key}
        if not any(m.alive and m.node not in drained for m in self._shards) or not any(
            m.alive and m.node not in drained for m in self._gateways
        ):
            raise Conflict(f"{node.name} cannot be drained: no other node has a shard and a gateway that answer.")
        wanted = msgspec.structs.replace(self._fleet.wanted, drained=drained)
        await self._make(wanted, self._fleet.emptied(node.key))

    async def resume_node(self, which: str) -> None:
        """Let actors run on a drained node again; returns when they do. Raises InvalidArgument."""
        drained = self._fleet.wanted.drained - {self._nodes.find(which).key}
        await self._make(msgspec.structs.replace(self._fleet.wanted, drained=drained), self._fleet.complete())

    async def _make(self, wanted: Wanted, done: Coroutine[Any, Any, None]) -> None:
        """Raises Unavailable when it is not done in time."""
        waiting = self._tasks.start(done, "change")
        drained = ",".join(sorted(wanted.drained))
        log.info("change wanted", extra={"shards": wanted.shards, "gateways": wanted.gateways, "drained": drained})
        self._fleet.wanted = wanted
        self._fleet.look()
        await asyncio.wait([waiting], timeout=CHANGE_S)
        if not waiting.done():
            waiting.cancel()
            raise Unavailable("It is not done yet, and goes on; 'veza cluster status' shows how far it is.")

    # -- watching --------------------------------------------------------------------------------------------

    async def _introduce(self, ref: ActorRef) -> None:
        """Tell a new actor what it must know."""
        match ref:
            case GatewayRef():
                await asyncio.gather(
                    self._ownership.tell(ref),
                    self._streams.tell(ref),
                    self._limiter_map.introduce(ref),
                    self._runner_map.tell(ref),
                )
            case IngestRef():
                await self._streams.tell(ref)
            case LimiterRef():
                await self._limiter_map.tell()
            case RunnerRef():
                self._runner_map.changed()

    def _agrees(self, shard: Member[ShardRef]) -> bool:
        return (self._streams if isinstance(shard.ref, StreamShardRef) else self._ownership).agrees(shard)

    def _shard_lost(self, shard: Member[ShardRef]) -> None:
        if not shard.leaving:
            metrics.FAILOVERS.inc()
        self._uneven.set()
        self._short.set()

    def _gateway_turned(self) -> None:
        self._uneven.set()
        self._runner_map.changed()
        self._limiter_map.changed()

    def _runner_turned(self) -> None:
        self._runner_map.changed()

    def _runner_lost(self, _: Member[RunnerRef]) -> None:
        self._runner_map.changed()
        self._short.set()

    def _processor_lost(self, processor: Member[ProcessorRef]) -> None:
        self._short.set()
        # One that may live still has its leases, until they end.
        if processor.lost == "died":
            self._tasks.start(self._end_leases(processor.ref.name), f"leases of {processor.ref.name}")

    async def _end_leases(self, processor: str) -> None:
        try:
            connection = await open_connection(self._settings.database_url, name="leases")
        except Unavailable as error:
            log.warning("leases not ended", extra={"actor": processor, "reason": error.message})
            return
        try:
            await payout_queue.end(connection, processor)
        except FAILURES as error:
            log.warning("leases not ended", extra={"actor": processor, "reason": type(error).__name__})
        finally:
            connection.terminate()

    def _limiter_turned(self) -> None:
        self._limiter_map.changed()

    def _limiter_lost(self, _: Member[LimiterRef]) -> None:
        self._limiter_map.changed()
        self._short.set()

    def _gateway_lost(self, gateway: Member[GatewayRef]) -> None:
        name = gateway.ref.name
        self._limiter_map.gateway_lost(name)
        for shard in (*self._shards, *self._stream_shards):
            self._tasks.start(self._tell_gateway_lost(shard.ref, name), f"gateway lost {name}")
        self._short.set()

    def _ingest_lost(self, ingest: Member[IngestRef]) -> None:
        name = ingest.ref.name
        for shard in self._stream_shards:
            self._tasks.start(self._tell_gateway_lost(shard.ref, name), f"ingest lost {name}")
        self._short.set()

    async def _tell_gateway_lost(self, shard: ShardRef, name: str) -> None:
        try:
            async with asyncio.timeout(SUSPECT_S):
                await shard.gateway_lost(name)
        except NO_ANSWER as error:
            # Dead: it knows nothing any more. Otherwise its own deliveries to the gateway tell it.
            log.warning("shard not told", extra={"actor": shard.name, "reason": type(error).__name__})

    async def _look_forever(self) -> None:
        """Keep as many actors as are wanted on each node."""
        while True:
            await self._short.wait()
            self._short.clear()
            self._fleet.look()

    async def _reconcile_forever(self) -> None:
        """Keep each partition with a shard that lives."""
        while True:
            await self._uneven.wait()
            self._uneven.clear()
            try:
                settled = await self._settle()
            except FAILURES as error:
                log.warning("partition map not settled", extra={"reason": type(error).__name__})
                settled = False
            if not settled:
                self._uneven.set()
                await asyncio.sleep(SETTLE_RETRY_S)

    async def _balance_forever(self) -> None:
        """Move busy partitions away from shards that work much more than others."""
        while True:
            await asyncio.sleep(BALANCE_EVERY_S)
            if any([self._ownership.wish_for_balance(), self._streams.wish_for_balance()]):
                self._uneven.set()

    async def _sweep_forever(self) -> None:
        """Remove rows that have had their day, and log files."""
        while True:
            await asyncio.to_thread(rotate, log_file(self._settings))
            try:
                url = self._settings.database_url
                pool = await open_pool(url, size=1, name="sweep", statement_timeout=SWEEP_STATEMENT_S)
                async with pool:
                    removed = await sweep(pool)
                    months = await audit.tend(pool, datetime.now(UTC), self._settings.audit_retention_months)
                    removed["audit_log months"] = months
                log.info("swept", extra={"removed": removed})
            except FAILURES as error:
                log.warning("sweep put off", extra={"reason": type(error).__name__})
            await asyncio.sleep(SWEEP_EVERY_S)
