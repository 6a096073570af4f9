"""A gateway's links to the shards, as `shard_links` keeps them: the real router, an outbox for each, and beats."""

from collections.abc import Callable
from typing import TYPE_CHECKING
from uuid import UUID

from simulation.network import Failure
from simulation.outbox import Outbox
from veza.actors.shard_links import MISSED_BEATS, error_of
from veza.errors import Unavailable, VezaError
from veza.realtime import commands as c
from veza.realtime import presence
from veza.realtime.routing import Answer, PartitionMap, Router, Sends

if TYPE_CHECKING:
    from simulation.gateway import SimGateway
    from simulation.world import World

PATIENCE_S = 10.0
SWEEP_S = 0.5
ASK_AGAIN_S = 0.05
MAP_TIMEOUT_S = 1.0
ELSEWHERE = "another"  # owns the partitions in which nothing is

Handler = Callable[[Answer | VezaError], None]


class SimLinks:
    """`on_moved` is told which partitions changed hands."""

    def __init__(self, world: "World", gateway: "SimGateway", on_moved: Callable[[set[int]], None]) -> None:
        self.router = Router()
        self._world = world
        self._gateway = gateway
        self._on_moved = on_moved
        self._outboxes: dict[str, Outbox[c.ShardCommand]] = {}
        self._asking = False
        self._sweeping = False

    # -- out -------------------------------------------------------------------------------------------------

    def send(self, command: c.ShardCommand, subject: UUID) -> None:
        self._post(self.router.submit(command, subject))

    def request(self, make: Callable[[int], c.ShardCommand], subject: UUID, handle: Handler) -> int:
        """Returns the ref."""

        def resolve(answer: Answer | None) -> None:
            if answer is None:
                self._world.seen["given up"] += 1
                handle(Unavailable())
            else:
                handle(error_of(answer) if isinstance(answer, c.Refusal) else answer)

        ref = self.router.next_ref()
        self._post(self.router.submit(make(ref), subject, resolve, self._world.clock.now + PATIENCE_S))
        if not self._sweeping:
            self._sweeping = True
            self._later(SWEEP_S, self._sweep)
        return ref

    def _later(self, seconds: float, call: Callable[[], None]) -> None:
        self._world.clock.later(seconds, lambda: self._gateway.do(call))

    def _sweep(self) -> None:
        self.router.expire(self._world.clock.now)
        self._sweeping = bool(self.router.waiting)
        if self._sweeping:
            self._later(SWEEP_S, self._sweep)

    def _post(self, sends: Sends) -> None:
        for shard, command in sends:
            self._link(shard).put(command)
        if not self.router.complete:
            self._ask_for_map()

    def _link(self, shard: str) -> Outbox[c.ShardCommand]:
        outbox = self._outboxes.get(shard)
        if outbox is None:
            chance = self._world.chance.of(f"{self._gateway.name} calls {shard}")
            outbox = Outbox(self._world.clock, chance, lambda items: self._submit(shard, outbox, items))
            self._outboxes[shard] = outbox
            outbox.introduce()
            self._beat(shard, outbox, 0)
        return outbox

    def _submit(self, shard: str, outbox: Outbox[c.ShardCommand], items: list[c.ShardCommand]) -> None:
        if not self._gateway.alive:
            return
        target = self._world.shard(shard)
        data = c.encode(c.CommandBatch(self._gateway.name, items))

        def failed(failure: Failure) -> None:
            self._lost(shard, outbox, failure.value)

        self._world.network.call(self._gateway, target, lambda: target.submit(data), outbox.returned, failed)

    def _lost(self, shard: str, outbox: Outbox[c.ShardCommand], why: str) -> None:
        if self._outboxes.get(shard) is not outbox:
            return
        if tell := self._world.tell:
            tell(f"{self._gateway.name}: {shard} {why}; what waits for it is sent again")
        self._close(shard)
        self.router.shard_lost(shard)
        self._ask_for_map()

    def _close(self, shard: str) -> None:
        self._outboxes.pop(shard).closed = True

    def _beat(self, shard: str, outbox: Outbox[c.ShardCommand], missed: int) -> None:
        """Be heard by the shard, also when there is nothing to say."""
        if outbox.closed or not self._gateway.alive:
            return
        target, heard = self._world.shard(shard), False

        def done() -> None:
            nonlocal heard
            heard = True

        def due() -> None:
            count = 0 if heard else missed + 1
            if count == MISSED_BEATS:
                self._lost(shard, outbox, "does not hear")
            else:
                self._beat(shard, outbox, count)

        nothing = c.encode(c.CommandBatch(self._gateway.name, []))
        self._world.network.call(self._gateway, target, lambda: target.submit(nothing), done, lambda _: None)
        self._later(presence.BEAT_S, due)

    # -- in --------------------------------------------------------------------------------------------------

    def not_owned(self, shard: str, refs: list[tuple[int, int]]) -> None:
        if self.router.not_owned(shard, refs):
            self._ask_for_map()

    def set_map(self, partitions: PartitionMap) -> None:
        sends, moved = self.router.reroute(partitions)
        if not moved:
            return
        owners = self.router.owners() - {ELSEWHERE}
        for shard in sorted(set(self._outboxes) - owners):
            self._close(shard)
        for shard in sorted(owners):
            self._link(shard)
        self._on_moved(moved)
        self._post(sends)

    def _ask_for_map(self) -> None:
        if not self._asking:
            self._asking = True
            self._later(ASK_AGAIN_S, self._fetch_map)

    def _fetch_map(self) -> None:
        if self.router.complete:
            self._asking = False
            return
        found: list[PartitionMap] = []
        supervisor = self._world.supervisor
        over = False

        def end(*, came: bool) -> None:
            nonlocal over
            if not over:
                over = True
                if came:
                    self.set_map(found[0])
                self._later(ASK_AGAIN_S, self._fetch_map)

        perform = lambda: found.append(dict(supervisor.map))  # noqa: E731 - read when the call arrives
        self._world.network.call(self._gateway, supervisor, perform, lambda: end(came=True), lambda _: end(came=False))
        self._later(MAP_TIMEOUT_S, lambda: end(came=False))
