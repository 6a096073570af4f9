"""The Supervisor actor: starts actors, keeps the partition map, gives a dead shard's partitions to the living.

It is never on the path of a message. Everything it knows can be found out again (actors by name, owners in
PostgreSQL), so its own crash costs nothing but time.
"""

import asyncio
import logging
import os
import secrets
from collections.abc import Callable
from typing import Any

import asyncpg
import ray

from veza import metrics
from veza.actors.refs import NAMESPACE, ActorGone, ActorRef, GatewayRef, ShardRef
from veza.actors.room_shard import RoomShard
from veza.actors.tasks import TaskSet
from veza.config import Settings
from veza.errors import Unavailable
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
# Unanswered this long, a shard is taken for paused or cut off: its partitions go to the others.
SUSPECT_S = 1.0
# A shard that stays silent this long is killed and replaced.
GIVE_UP_S = 15.0
START_TIMEOUT_S = 60.0
SWEEP_EVERY_S = 600.0


class Member:
    """An actor under supervision. `alive` is False while it does not answer."""

    def __init__(self, ref: ActorRef) -> None:
        self.ref = ref
        self.alive = True
        self.report: dict[str, Any] = {}
        self.silent_since: float | None = None


class Supervisor:
    """Started once, detached and named; `ensure` is called again and again by whoever serves."""

    def __init__(self, settings: Settings, gateway_class: type) -> None:
        setup_logging(settings, "Supervisor", log_file(settings))
        self._settings = settings
        self._gateway_class = gateway_class
        self._shards: dict[str, Member] = {}
        self._gateways: dict[str, Member] = {}
        self._map: dict[int, tuple[int, str]] = {}  # partition → (epoch, owner), as last settled
        self._uneven = asyncio.Event()  # the partition map may not fit the living shards
        self._short = asyncio.Event()  # an actor is missing
        self._reconciling = asyncio.Lock()
        self._tasks = TaskSet("Supervisor", self._fail)
        self._connection: Any = None
        self._started = False
        self._starting = asyncio.Lock()
        self._draining = False

    # -- called by `veza serve` ------------------------------------------------------------------------------

    async def ensure(self) -> dict[str, Any]:
        """Find or start everything that should run; returns the state. Idempotent, also after a crash."""
        async with self._starting:
            if not self._started:
                await self._adopt()
                await self._replenish()
                await self._reconcile()
                self._tasks.start(self._reconcile_forever(), "reconcile")
                self._tasks.start(self._replenish_forever(), "replenish")
                self._tasks.start(self._sweep_forever(), "sweep")
                self._started = True
        return self.state()

    def state(self) -> dict[str, Any]:
        return {
            "partitions": len(self._map),
            "shards": [{"alive": m.alive, "name": n, **m.report} for n, m in self._shards.items()],
            "gateways": [{"alive": m.alive, "name": n, **m.report} for n, m in self._gateways.items()],
        }

    async def partition_map(self) -> PartitionMap:
        return self._map

    async def drain(self, timeout: float) -> None:
        """Stop in order: gateways let go of their sockets, then shards finish their commits."""
        self._draining = True
        await self._tasks.close()
        for members in (self._gateways, self._shards):
            await asyncio.gather(*(self._drain(member, timeout / 2) for member in members.values()))

    @staticmethod
    def _fail(_: BaseException) -> None:
        """Half of a Supervisor is worse than none: Ray starts the process again, and the new one takes over."""
        os._exit(1)

    async def _drain(self, member: Member, timeout: float) -> None:
        try:
            async with asyncio.timeout(timeout):
                await member.ref.call("drain")
        except (ActorGone, TimeoutError) as error:
            log.warning("drain cut short", extra={"actor": member.ref.name, "reason": type(error).__name__})
        # Detached actors outlive whoever started them, also on a Ray that goes on without us.
        member.ref.kill()

    # -- starting and adopting -------------------------------------------------------------------------------

    async def _adopt(self) -> None:
        """Actors that outlived an earlier Supervisor are taken over as they are."""
        for entry in ray.util.list_named_actors(all_namespaces=True):
            name = entry["name"]
            if entry["namespace"] != NAMESPACE or "-" not in name:
                continue
            kind = name.split("-")[0]
            ref = ShardRef(name) if kind == "RoomShard" else GatewayRef(name)
            try:
                async with asyncio.timeout(SUSPECT_S):
                    await ref.call("ping")
            except (ActorGone, TimeoutError):
                ref.kill()
                continue
            self._watch(self._shards if kind == "RoomShard" else self._gateways, ref)

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
            except Unavailable as error:
                log.warning("actor not replaced yet", extra={"reason": error.message})
                self._short.set()
                await asyncio.sleep(RETRY_S)
            self._uneven.set()

    async def _start_shard(self) -> None:
        name = f"RoomShard-{secrets.token_hex(4)}"
        ref = ShardRef(name, spawn(RoomShard, name, self._settings))
        await self._start(ref)
        self._watch(self._shards, ref)

    async def _start_gateway(self) -> None:
        name = f"Gateway-{secrets.token_hex(4)}"
        ref = GatewayRef(name, spawn(self._gateway_class, name, self._settings))
        await self._start(ref)
        self._watch(self._gateways, ref)
        await self._tell_gateway(ref.name)

    async def _start(self, ref: ActorRef) -> None:
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                await ref.call("start")
        except (ActorGone, TimeoutError) as error:
            ref.kill()
            raise Unavailable(f"{ref.name} did not start.") from error

    # -- watching --------------------------------------------------------------------------------------------

    def _watch(self, members: dict[str, Member], ref: ActorRef) -> None:
        member = members[ref.name] = Member(ref)
        lost = self._shard_lost if members is self._shards else self._gateway_lost
        self._tasks.start(self._hold_lifeline(member, lost), f"lifeline {ref.name}")
        self._tasks.start(self._ping_forever(members, member, lost), f"pings {ref.name}")

    async def _hold_lifeline(self, member: Member, lost: Callable[[str], None]) -> None:
        reason = "ended"
        try:
            await member.ref.call("lifeline")
        except ActorGone:
            reason = "died"
        except ray.exceptions.RayTaskError:
            reason = "broke"
        log.warning("actor lost", extra={"actor": member.ref.name, "reason": reason})
        lost(member.ref.name)

    async def _ping_forever(self, members: dict[str, Member], member: Member, lost: Callable[[str], None]) -> None:
        now = asyncio.get_running_loop().time
        while members.get(member.ref.name) is member:
            asked = now()
            try:
                async with asyncio.timeout(SUSPECT_S):
                    member.report = await member.ref.call("ping")
            except TimeoutError:
                member.silent_since = member.silent_since or asked
                if member.alive:
                    log.warning("actor silent", extra={"actor": member.ref.name})
                    member.alive = False
                    self._uneven.set()
                if now() - member.silent_since > GIVE_UP_S:
                    lost(member.ref.name)
                    return
                continue
            except ActorGone:
                return  # the lifeline tells
            member.silent_since = None
            if not member.alive or self._disagrees(member):
                member.alive = True
                self._uneven.set()
            await asyncio.sleep(PING_SHARDS_S if members is self._shards else PING_GATEWAYS_S)

    def _disagrees(self, member: Member) -> bool:
        """Whether a shard owns less than the map says: it gave up partitions when a commit of its was fenced."""
        name = member.ref.name
        expected = sum(owner == name for _, owner in self._map.values())
        return name in self._shards and bool(self._map) and member.report.get("partitions") != expected

    def _shard_lost(self, name: str) -> None:
        member = self._shards.pop(name, None)
        if member is None or self._draining:
            return
        metrics.FAILOVERS.inc()
        member.ref.kill()
        self._uneven.set()
        self._short.set()

    def _gateway_lost(self, name: str) -> None:
        member = self._gateways.pop(name, None)
        if member is None or self._draining:
            return
        member.ref.kill()
        for shard in self._shards.values():
            self._tasks.start(self._tell_gateway_lost(shard, name), f"gateway lost {name}")
        self._short.set()

    async def _tell_gateway_lost(self, shard: Member, name: str) -> None:
        try:
            await ShardRef(shard.ref.name).gateway_lost(name)
        except ActorGone:
            return  # it knows nothing any more

    async def _sweep_forever(self) -> None:
        """Remove rows that have had their day, and log files."""
        while True:
            await asyncio.to_thread(rotate, log_file(self._settings))
            try:
                pool = await open_pool(self._settings.database_url, size=1, name="sweep")
                async with pool:
                    removed = await sweep(pool)
                log.info("swept", extra={"removed": removed})
            except (*UNREACHABLE, asyncpg.PostgresError, Unavailable) as error:
                log.warning("sweep put off", extra={"reason": type(error).__name__})
            await asyncio.sleep(SWEEP_EVERY_S)

    # -- the partition map -----------------------------------------------------------------------------------

    async def _reconcile_forever(self) -> None:
        while True:
            await self._uneven.wait()
            self._uneven.clear()
            await self._reconcile_until_done()

    async def _reconcile_until_done(self) -> None:
        while True:
            try:
                await self._reconcile()
            except (*UNREACHABLE, asyncpg.PostgresError, Unavailable) as error:
                log.warning("partition map not settled", extra={"reason": type(error).__name__})
                await asyncio.sleep(0.2)
                continue
            return

    async def _reconcile(self) -> None:
        """Bring ownership to the plan: take what is misplaced under new epochs, tell the shards, then the gateways.

        The order is for speed only. What makes it safe is that the epoch is raised before the new owner hears of it.
        """
        async with self._reconciling:
            alive = {name: ShardRef(name) for name, member in self._shards.items() if member.alive}
            if not alive:
                return
            connection = await self._database()
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
            await self._tell_shards(alive, target, epochs)
            self._map = {p: (epochs[p], owner) for p, owner in target.items()}
            await self._tell_gateways()

    async def _tell_shards(self, shards: dict[str, ShardRef], owners: dict[int, Any], epochs: dict[int, int]) -> None:
        async def tell(ref: ShardRef) -> None:
            mine = {p: epochs[p] for p, owner in owners.items() if owner == ref.name}
            try:
                async with asyncio.timeout(SUSPECT_S):
                    await ref.own(mine)
            except (ActorGone, TimeoutError):
                # Dead or paused: its watcher will say so and the map is made again.
                log.warning("shard not told", extra={"actor": ref.name})

        await asyncio.gather(*(tell(ref) for ref in shards.values()))

    async def _tell_gateways(self) -> None:
        await asyncio.gather(*(self._tell_gateway(name) for name in self._gateways))

    async def _tell_gateway(self, name: str) -> None:
        try:
            async with asyncio.timeout(SUSPECT_S):
                await GatewayRef(name).set_map(self._map)
        except (ActorGone, TimeoutError):
            # Dead: it is replaced. Paused: it is told when it answers again.
            log.warning("gateway not told", extra={"actor": name})

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
