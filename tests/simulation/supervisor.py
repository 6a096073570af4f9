"""What `veza.actors.supervisor` decides: who lives, who owns what, and who is told of it, in which order."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from simulation.network import Failure, Process
from simulation.store import StoreAway

if TYPE_CHECKING:
    from simulation.shard import SimShard
    from simulation.world import World

PING_SHARDS_S = 0.5
PING_GATEWAYS_S = 2.0
SUSPECT_S = 1.0
RETRY_S = 0.2
PATIENCE_S = 15.0
START_S = 1.0


class Supervisor(Process):
    """`wish` may name another owner of a partition; without one it stays where it is, if its owner is alive."""

    def __init__(self, world: "World") -> None:
        super().__init__("Supervisor")
        self.map: dict[int, tuple[int, str]] = {}
        self.wish: dict[int, str] = {}
        self.resting = False  # nothing that was seen waits to be done
        self._world = world
        self._silent: dict[str, float] = {}  # shard or gateway → since when
        self._reconciling = False
        self._uneven = False

    # -- watching --------------------------------------------------------------------------------------------

    def watch(self, process: Process) -> None:
        """Ping it until it is gone."""
        if not process.alive:
            return
        answered = False

        def pong() -> None:
            nonlocal answered
            if answered:
                return
            answered = True
            if self._silent.pop(process.name, None) is not None or not self._agrees(process):
                self.reconcile()
            period = PING_SHARDS_S if process.name in self._world.shards else PING_GATEWAYS_S
            self._world.clock.later(period, lambda: self.watch(process))

        def late() -> None:
            nonlocal answered
            if answered:
                return
            answered = True
            if not process.alive:
                return
            if process.name not in self._silent:
                self._world.seen["suspected"] += 1
                self._silent[process.name] = self._world.clock.now
                if tell := self._world.tell:
                    tell(f"the Supervisor hears nothing of {process.name}")
                self.reconcile()
            elif self._world.clock.now - self._silent[process.name] > PATIENCE_S:
                self._world.kill(process)
                return
            self.watch(process)

        self._world.network.call(self, process, lambda: None, pong, lambda _: None)
        self._world.clock.later(SUSPECT_S, late)

    def _agrees(self, process: Process) -> bool:
        if self._reconciling:
            return True
        shard = self._world.shards.get(process.name)
        if shard is None:
            return True
        return shard.owned == {p: epoch for p, (epoch, owner) in self.map.items() if owner == shard.name}

    def lost(self, process: Process) -> None:
        """It died; the lifeline tells."""
        self._silent.pop(process.name, None)
        if process.name in self._world.gateways:
            for shard in self._world.shards.values():
                self._call(shard, lambda shard=shard: shard.gateway_lost(process.name), lambda _: None)
        self.reconcile()

    def _alive(self) -> dict[str, "SimShard"]:
        return {name: shard for name, shard in self._world.shards.items() if shard.alive and name not in self._silent}

    # -- the map ---------------------------------------------------------------------------------------------

    def reconcile(self) -> None:
        self._uneven = True
        self.resting = False
        if not self._reconciling:
            self._reconciling, self._uneven = True, False
            self._read_owners()

    def _again(self) -> None:
        self._reconciling = False
        self.reconcile()

    def _end(self, *, settled: bool) -> None:
        if self._uneven or not settled:
            self._world.clock.later(RETRY_S, self._again)
        else:
            self._reconciling = False
            self.resting = True

    def _read_owners(self) -> None:
        alive = self._alive()
        if not alive:
            self._end(settled=True)
            return
        store = self._world.store

        def got(rows: dict[int, tuple[int, str]], error: StoreAway | None) -> None:
            if error is not None:
                self._end(settled=False)
                return
            held = {p: owner for p, (_, owner) in rows.items()}
            target = {p: self._owner_for(p, owner, alive) for p, owner in held.items()}
            self._take(alive, {p: epoch for p, (epoch, _) in rows.items()}, held, target)

        self._world.database.run(self, lambda: {p: (store.epochs[p], store.owners[p]) for p in store.owners}, got)

    def _owner_for(self, partition: int, owner: str, alive: Mapping[str, "SimShard"]) -> str:
        wish = self.wish.get(partition)
        if wish in alive:
            return str(wish)
        if owner in alive:
            return owner
        names = sorted(alive)
        return names[partition % len(names)]

    def _take(
        self, alive: dict[str, "SimShard"], epochs: dict[int, int], held: dict[int, str], target: dict[int, str]
    ) -> None:
        moves = {p: owner for p, owner in target.items() if held[p] != owner}
        if not moves:
            self._tell_shards(alive, target, epochs, lambda told: self._tell_all(alive, target, epochs, told))
            return
        self._world.seen["partition moved"] += len(moves)
        if tell := self._world.tell:
            tell("the Supervisor moves " + ", ".join(f"partition {p} to {owner}" for p, owner in moves.items()))
        givers = {held[p] for p in moves} & alive.keys()
        kept = {p: owner for p, owner in held.items() if p not in moves}
        store = self._world.store

        def taken(fresh: dict[int, int], error: StoreAway | None) -> None:
            if error is not None:
                self._end(settled=False)
                return
            now = epochs | fresh
            self._tell_shards(alive, target, now, lambda told: self._tell_all(alive, target, now, told))

        self._tell_shards(
            {name: alive[name] for name in sorted(givers)},
            kept,
            epochs,
            lambda _: self._world.database.run(self, lambda: store.take(moves), taken),
        )

    def _tell_shards(
        self,
        shards: dict[str, "SimShard"],
        owners: Mapping[int, str],
        epochs: Mapping[int, int],
        then: Callable[[set[str]], None],
    ) -> None:
        """`then` gets who confirmed within SUSPECT_S."""
        told: set[str] = set()
        waiting = set(shards)

        def end(name: str, *, confirmed: bool) -> None:
            if name in waiting:
                waiting.discard(name)
                if confirmed:
                    told.add(name)
                if not waiting:
                    then(told)

        if not shards:
            then(told)
        for name, shard in shards.items():
            mine = {p: epochs[p] for p, owner in owners.items() if owner == name}
            self._call(
                shard,
                lambda shard=shard, mine=mine: shard.own(mine),
                lambda ok, name=name: end(name, confirmed=ok),
            )

    def _tell_all(
        self, alive: dict[str, "SimShard"], target: Mapping[int, str], epochs: Mapping[int, int], told: set[str]
    ) -> None:
        self.map = {p: (epochs[p], owner) for p, owner in target.items() if owner in told}
        gateways = [g for g in self._world.gateways.values() if g.alive and g.name not in self._silent]
        waiting = {gateway.name for gateway in gateways}
        all_told = told == set(alive)

        def end(name: str, *, confirmed: bool) -> None:
            nonlocal all_told
            if name in waiting:
                waiting.discard(name)
                all_told = all_told and confirmed
                if not waiting:
                    self._end(settled=all_told)

        if not gateways:
            self._end(settled=all_told)
        sent = self.map
        for gateway in gateways:
            self._call(
                gateway,
                lambda gateway=gateway: gateway.set_map(sent),
                lambda ok, name=gateway.name: end(name, confirmed=ok),
            )

    def _call(self, target: Process, perform: Callable[[], None], then: Callable[[bool], None]) -> None:
        """`then` gets whether it was done within SUSPECT_S; called once."""
        over = False

        def end(ok: bool) -> None:
            nonlocal over
            if not over:
                over = True
                then(ok)

        def failed(_: Failure) -> None:
            end(False)

        self._world.network.call(self, target, perform, lambda: end(True), failed)
        self._world.clock.later(SUSPECT_S, lambda: end(False))
