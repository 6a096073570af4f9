"""A shard's links to the gateways, as `veza.actors.gateway_links` keeps them."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from simulation.network import Failure
from simulation.outbox import Outbox
from veza.realtime import commands as c
from veza.realtime.batch import Line

if TYPE_CHECKING:
    from simulation.gateway import SimGateway
    from simulation.shard import SimShard
    from simulation.world import World

RETRY_S = 0.25
OUTBOX_ITEMS = 12

_RECOVERED = c.Events | c.Transient
_MOOT = _RECOVERED | c.Lagged


class SimDeliveries:
    """`on_gone` is told of a gateway that died."""

    def __init__(self, world: "World", shard: "SimShard", on_gone: Callable[[str], None]) -> None:
        self._world = world
        self._shard = shard
        self._on_gone = on_gone
        self._outboxes: dict[str, Outbox[c.Delivery]] = {}
        self._behind: set[str] = set()

    def dispatch(self, script: Mapping[str, list[Line]]) -> None:
        for gateway, lines in script.items():
            for line in lines:
                self._put(gateway, line.item)

    def broadcast(self, item: c.Delivery) -> None:
        for gateway in self._outboxes:
            self._put(gateway, item)

    def resync(self, gateway: str | None = None) -> None:
        for name in self._outboxes if gateway is None else (gateway,):
            self._put(name, c.Lagged())

    def lost(self, gateway: str) -> None:
        if outbox := self._outboxes.pop(gateway, None):
            outbox.closed = True
        self._behind.discard(gateway)

    def _put(self, gateway: str, item: c.Delivery) -> None:
        outbox = self.introduce(gateway)
        if isinstance(item, _MOOT) and gateway in self._behind:
            return
        if isinstance(item, _RECOVERED) and len(outbox.items) >= OUTBOX_ITEMS:
            self._cut_back(gateway)
        else:
            outbox.put(item)

    def _cut_back(self, gateway: str) -> None:
        if tell := self._world.tell:
            tell(f"{self._shard.name} drops events for {gateway}, which is behind")
        self._world.seen["cut back"] += 1
        outbox = self._outboxes[gateway]
        outbox.items = [item for item in outbox.items if not isinstance(item, _MOOT)]
        outbox.put(c.Lagged())
        self._behind.add(gateway)

    def introduce(self, gateway: str) -> Outbox[c.Delivery]:
        outbox = self._outboxes.get(gateway)
        if outbox is None:
            chance = self._world.chance.of(f"{self._shard.name} calls {gateway}")
            outbox = Outbox(self._world.clock, chance, lambda items: self._deliver(gateway, outbox, items))
            self._outboxes[gateway] = outbox
        return outbox

    def _deliver(self, gateway: str, outbox: Outbox[c.Delivery], items: list[c.Delivery]) -> None:
        if not self._shard.alive:
            return
        if any(isinstance(item, c.Lagged) for item in items):
            self._behind.discard(gateway)
        target: SimGateway = self._world.gateway(gateway)
        data = c.encode(c.DeliveryBatch(self._shard.name, items))

        def failed(failure: Failure) -> None:
            if self._outboxes.get(gateway) is not outbox:
                return
            if failure is Failure.GONE:
                self._on_gone(gateway)
                return
            outbox.put_back([item for item in items if not isinstance(item, _MOOT)])
            self._world.clock.later(RETRY_S, lambda: self._shard.do(lambda: self._try_again(gateway, outbox)))

        self._world.network.call(self._shard, target, lambda: target.deliver(data), outbox.returned, failed)
        if self._world.chance.of(f"{self._shard.name} repeats to {gateway}").random() < 0.02:
            self._repeat(target, items)

    def _repeat(self, target: "SimGateway", items: list[c.Delivery]) -> None:
        """A call that failed may have been carried out, and what is sent again then comes twice."""
        repeated = [item for item in items if not isinstance(item, c.PresenceChanged | c.Transient | c.Lagged)]
        data = c.encode(c.DeliveryBatch(self._shard.name, repeated))
        self._world.seen["delivered twice"] += 1
        self._world.network.send(self._shard.name, target.name, lambda: target.do(lambda: target.deliver(data)))

    def _try_again(self, gateway: str, outbox: Outbox[c.Delivery]) -> None:
        if self._outboxes.get(gateway) is outbox:
            self._cut_back(gateway)
            outbox.returned()
