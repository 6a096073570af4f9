"""The Supervisor actor: starts actors, keeps the partition map, gives a dead shard's partitions to the living.

It is never on the path of a message. Everything it knows can be found out again (actors by name, owners in
PostgreSQL), so its own crash costs nothing but time: `veza serve` starts another.
"""

import asyncio
import logging
import os
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

import asyncpg
import ray
from ray.exceptions import RayTaskError

from veza import metrics
from veza.actors.members import SUSPECT_S, Member, Members
from veza.actors.refs import NAMESPACE, ActorGone, ActorRef, ActorUnreachable, GatewayRef, ShardRef
from veza.actors.room_shard import RoomShard
from veza.actors.tasks import TaskSet
from veza.config import Settings
from veza.errors import Unavailable, VezaError
from veza.logs import log_file, rotate, setup_logging
from veza.realtime.partition import plan
from veza.realtime.routing import PartitionMap
from veza.storage import partitions
from veza.storage.database import UNREACHABLE, open_connection, open_pool
from veza.storage.sweeps import sweep

log = logging.getLogger(__name__)

PING_SHARDS_S = 0.5
PING_GATEWAYS_S = 2.0
RETRY_S = 0.5
SETTLE_RETRY_S = 0.2
START_TIMEOUT_S = 60.0
SWEEP_EVERY_S = 600.0
ADOPT_S = 5.0

NO_ANSWER = (ActorGone, ActorUnreachable, TimeoutError)
FAILURES = (*UNREACHABLE, asyncpg.PostgresError, Unavailable)


class Supervisor:
    """Started once, detached and named; `ensure` is called again and again by whoever serves."""

    def __init__(self, settings: Settings, gateway_class: type) -> None:
        setup_logging(settings, "Supervisor", log_file(settings))
        self._settings = settings
        self._gateway_class = gateway_class
        # partition → (epoch, owner), as last settled. Without an entry: its owner did not confirm that it knows.
        self._map: dict[int, tuple[int, str]] = {}
        self._uneven = asyncio.Event()  # the partition map may not fit the living shards
        self._short = asyncio.Event()  # an actor is missing
        self._reconciling = asyncio.Lock()
        self._tasks = TaskSet("Supervisor", self._fail)
        self._shards: Members[ShardRef] = Members(
            self._tasks, PING_SHARDS_S, settled=self._agrees, on_turn=self._uneven.set, on_lost=self._shard_lost
        )
        # One that answers again has missed maps.
        self._gateways: Members[GatewayRef] = Members(
            self._tasks, PING_GATEWAYS_S, settled=lambda _: True, on_turn=self._uneven.set, on_lost=self._gateway_lost
        )
        self._connection: Any = None
        self._started = False
        self._adopted = False
        self._starting = asyncio.Lock()
        self._draining = False
        self._life = asyncio.Event()  # never set

    # -- called by `veza serve` ------------------------------------------------------------------------------

    async def ensure(self) -> dict[str, Any]:
        """Find or start everything that should run; returns the state. Idempotent, also after a crash.

        Raises Unavailable when that cannot be done now; what was done until then stays.
        """
        async with self._starting:
            if not self._started:
                try:
                    await self._take_over()
                except (*UNREACHABLE, asyncpg.PostgresError) as error:
                    raise Unavailable(f"PostgreSQL cannot be used: {error or type(error).__name__}") from error
                self._tasks.start(self._reconcile_forever(), "reconcile")
                self._tasks.start(self._replenish_forever(), "replenish")
                self._tasks.start(self._sweep_forever(), "sweep")
                self._started = True
        return self.state()

    async def _take_over(self) -> None:
        if not self._adopted:
            await self._adopt()
            self._adopted = True
        if len(self._shards):
            # The living first: a replacement takes a second to start.
            await self._reconcile()
        await self._replenish()
        if not await self._reconcile():
            self._uneven.set()

    async def lifeline(self) -> None:
        """Never returns: that the call fails tells of the Supervisor's death at once."""
        await self._life.wait()

    def state(self) -> dict[str, Any]:
        return {
            "partitions": len(self._map),
            "shards": self._shards.state(),
            "gateways": self._gateways.state(),
        }

    async def partition_map(self) -> PartitionMap:
        return self._map

    async def drain(self, timeout: float) -> None:
        """Stop in order: gateways let go of their sockets, then shards finish their commits."""
        self._draining = True
        await self._tasks.close()
        await asyncio.gather(*(self._drain(member.ref, timeout / 2) for member in self._gateways))
        await asyncio.gather(*(self._drain(member.ref, timeout / 2) for member in self._shards))

    @staticmethod
    def _fail(_: BaseException) -> None:
        """Half of a Supervisor is worse than none: `veza serve` starts another, which takes over."""
        os._exit(1)

    async def _drain(self, ref: ActorRef, timeout: float) -> None:
        try:
            async with asyncio.timeout(timeout):
                await ref.call("drain")
        except (*NO_ANSWER, RayTaskError) as error:
            log.warning("drain cut short", extra={"actor": ref.name, "reason": type(error).__name__})
        # Detached actors outlive whoever started them, also on a Ray that goes on without us.
        await ref.kill()

    # -- starting and adopting -------------------------------------------------------------------------------

    async def _adopt(self) -> None:
        """Actors that outlived an earlier Supervisor are taken over as they are, if they are whole and wanted."""
        listed = await asyncio.to_thread(ray.util.list_named_actors, all_namespaces=True)
        names = [entry["name"] for entry in listed if entry["namespace"] == NAMESPACE]
        shards = [ShardRef(name) for name in names if name.startswith("RoomShard-")]
        gateways = [GatewayRef(name) for name in names if name.startswith("Gateway-")]
        await asyncio.gather(
            self._adopt_some(self._shards, shards, self._settings.room_shards),
            self._adopt_some(self._gateways, gateways, self._settings.gateways),
        )

    async def _adopt_some(self, members: Members[Any], refs: Sequence[ActorRef], wanted: int) -> None:
        reports = await asyncio.gather(*(self._look_at(ref) for ref in refs))
        started = [(ref, report) for ref, report in zip(refs, reports, strict=True) if report["started"]]
        # Those who own most stay: the least is moved.
        started.sort(key=lambda found: -found[1].get("partitions", 0))
        for ref, report in started[:wanted]:
            members.add(ref, report)
        kept = {ref.name for ref, _ in started[:wanted]}
        await asyncio.gather(*(ref.kill() for ref in refs if ref.name not in kept))

    async def _look_at(self, ref: ActorRef) -> dict[str, Any]:
        try:
            # Longer than a suspicion: who is only busy must not be ended for it.
            async with asyncio.timeout(ADOPT_S):
                report: dict[str, Any] = await ref.call("ping")
        except NO_ANSWER:
            return {"started": False}
        return report

    async def _replenish(self) -> None:
        """Start what is missing, side by side."""
        shards = self._settings.room_shards - len(self._shards)
        gateways = self._settings.gateways - len(self._gateways)
        started = await asyncio.gather(
            *(self._start_shard() for _ in range(shards)),
            *(self._start_gateway() for _ in range(gateways)),
            # All are waited for: one that is still on its way would be started a second time.
            return_exceptions=True,
        )
        for outcome in started:
            if isinstance(outcome, BaseException):
                raise outcome

    async def _replenish_forever(self) -> None:
        while True:
            await self._short.wait()
            self._short.clear()
            try:
                await self._replenish()
            except VezaError as error:
                log.warning("actor not replaced yet", extra={"reason": error.message})
                self._short.set()
                await asyncio.sleep(RETRY_S)
            self._uneven.set()

    async def _start_shard(self) -> None:
        name = f"RoomShard-{secrets.token_hex(4)}"
        ref = ShardRef(name, spawn(RoomShard, name, self._settings))
        await self._start(ref)
        self._shards.add(ref)

    async def _start_gateway(self) -> None:
        name = f"Gateway-{secrets.token_hex(4)}"
        ref = GatewayRef(name, spawn(self._gateway_class, name, self._settings))
        await self._start(ref)
        self._gateways.add(ref)
        await self._tell_gateway(ref)

    async def _start(self, ref: ActorRef) -> None:
        """Raises Unavailable. Whatever happens, an actor that did not start is not left behind."""
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                await ref.call("start")
        except (*NO_ANSWER, RayTaskError) as error:
            await ref.kill()
            raise Unavailable(f"{ref.name} did not start: {_last_line(error)}") from error
        except BaseException:
            await ref.kill()
            raise
        if self._draining:
            await ref.kill()
            raise Unavailable("The platform is stopping.")

    # -- watching --------------------------------------------------------------------------------------------

    def _agrees(self, shard: Member[ShardRef]) -> bool:
        """Whether a shard owns what the map says, and under those epochs: it gives up partitions when a commit of
        its is fenced, and raises epochs when one's outcome is unknown.
        """
        if self._reconciling.locked():
            return True  # asked again when that is done
        expected = sum((p + 1) * epoch for p, (epoch, owner) in self._map.items() if owner == shard.ref.name)
        return bool(shard.report["owned"] == expected)

    def _shard_lost(self, _: str) -> None:
        metrics.FAILOVERS.inc()
        self._uneven.set()
        self._short.set()

    def _gateway_lost(self, name: str) -> None:
        for shard in self._shards:
            self._tasks.start(self._tell_gateway_lost(shard.ref, name), f"gateway lost {name}")
        self._short.set()

    async def _tell_gateway_lost(self, shard: ShardRef, name: str) -> None:
        try:
            async with asyncio.timeout(SUSPECT_S):
                await shard.gateway_lost(name)
        except NO_ANSWER as error:
            # Dead: it knows nothing any more. Otherwise its own deliveries to the gateway tell it.
            log.warning("shard not told", extra={"actor": shard.name, "reason": type(error).__name__})

    async def _sweep_forever(self) -> None:
        """Remove rows that have had their day, and log files."""
        while True:
            await asyncio.to_thread(rotate, log_file(self._settings))
            try:
                pool = await open_pool(self._settings.database_url, size=1, name="sweep")
                async with pool:
                    removed = await sweep(pool)
                log.info("swept", extra={"removed": removed})
            except FAILURES as error:
                log.warning("sweep put off", extra={"reason": type(error).__name__})
            await asyncio.sleep(SWEEP_EVERY_S)

    # -- the partition map -----------------------------------------------------------------------------------

    async def _reconcile_forever(self) -> None:
        while True:
            await self._uneven.wait()
            self._uneven.clear()
            try:
                settled = await self._reconcile()
            except FAILURES as error:
                log.warning("partition map not settled", extra={"reason": type(error).__name__})
                settled = False
            if not settled:
                self._uneven.set()
                await asyncio.sleep(SETTLE_RETRY_S)

    async def _reconcile(self) -> bool:
        """Bring ownership to the plan: take what is misplaced under new epochs, tell the shards, then the gateways.
        Returns whether all who are alive confirmed.

        The order is for speed only. What makes it safe is that the epoch is raised before the new owner hears of it.
        """
        async with self._reconciling:
            alive = self._shards.alive()
            if not alive:
                return True  # whoever comes or wakes begins it again
            connection = await self._database()
            try:
                epochs, target = await self._take_what_is_misplaced(connection, alive)
            except BaseException:
                # Its outcome is unknown, and so is what the connection does next.
                connection.terminate()
                raise
            told = await self._tell_shards(alive, target, epochs)
            # Gateways hold commands for whoever is not in the map.
            self._map = {p: (epochs[p], owner) for p, owner in target.items() if owner in told}
            return await self._tell_gateways() and told == set(alive)

    async def _take_what_is_misplaced(
        self, connection: Any, alive: Mapping[str, ShardRef]
    ) -> tuple[dict[int, int], dict[int, str]]:
        """The epoch and the owner of each partition, as PostgreSQL has them now."""
        rows = await partitions.owners(connection)
        held = {p: owner if owner in alive else None for p, (_, owner) in rows.items()}
        target = plan(held, alive)
        moves = {p: owner for p, owner in target.items() if held[p] != owner}
        epochs = {p: epoch for p, (epoch, _) in rows.items()}
        if moves:
            givers = {owner for p, owner in held.items() if p in moves and owner is not None}
            kept = {p: owner for p, owner in held.items() if p not in moves}
            await self._tell_shards({name: alive[name] for name in givers}, kept, epochs)
            epochs |= await partitions.take(connection, moves)
        return epochs, target

    async def _tell_shards(
        self, shards: Mapping[str, ShardRef], owners: Mapping[int, str | None], epochs: Mapping[int, int]
    ) -> set[str]:
        """Returns who confirmed."""

        async def tell(ref: ShardRef) -> bool:
            mine = {p: epochs[p] for p, owner in owners.items() if owner == ref.name}
            try:
                async with asyncio.timeout(SUSPECT_S):
                    await ref.own(mine)
            except NO_ANSWER as error:
                log.warning("shard not told", extra={"actor": ref.name, "reason": type(error).__name__})
                return False
            return True

        confirmed = await asyncio.gather(*(tell(ref) for ref in shards.values()))
        return {name for name, told in zip(shards, confirmed, strict=True) if told}

    async def _tell_gateways(self) -> bool:
        return all(await asyncio.gather(*(self._tell_gateway(ref) for ref in self._gateways.alive().values())))

    async def _tell_gateway(self, ref: GatewayRef) -> bool:
        try:
            async with asyncio.timeout(SUSPECT_S):
                await ref.set_map(self._map)
        except NO_ANSWER as error:
            # Dead: it is replaced. Paused: it is told when it answers again.
            log.warning("gateway not told", extra={"actor": ref.name, "reason": type(error).__name__})
            return False
        return True

    async def _database(self) -> Any:
        if self._connection is None or self._connection.is_closed():
            self._connection = await open_connection(self._settings.database_url, name="Supervisor", timeout=2.0)
        return self._connection


def spawn(cls: type, name: str, *args: object) -> Any:
    """Start a detached, named actor of a plain class. It is never restarted: a new one takes its place."""
    return (
        ray.remote(cls)
        .options(
            name=name,
            namespace=NAMESPACE,
            lifetime="detached",
            num_cpus=0,
            max_restarts=0,
            max_concurrency=1000,
        )
        .remote(name, *args)
    )


def _last_line(error: BaseException) -> str:
    """What it says, without the traceback that Ray puts before it."""
    return str(error).strip().rpartition("\n")[2] or type(error).__name__
