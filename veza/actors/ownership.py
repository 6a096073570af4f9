"""The partition map: who owns what. PostgreSQL is told first, then the shards, then the gateways."""

import asyncio
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from veza import metrics
from veza.actors.members import SUSPECT_S, Member, Members
from veza.actors.refs import ActorGone, ActorUnreachable, MapRef, ShardRef
from veza.realtime.balance import exchanges
from veza.realtime.partition import ROOMS, plan
from veza.realtime.routing import PartitionMap
from veza.storage import partitions
from veza.storage.database import open_connection

log = logging.getLogger(__name__)

NO_ANSWER = (ActorGone, ActorUnreachable, TimeoutError)
# A partition that was moved for balance stays where it is for this long, until the rates show what it brought.
REST_S = 60.0


class Ownership:
    """Brings ownership to the plan, again and again, whatever failed the last time: of the kind of shard whose
    partitions begin with `first`.
    """

    def __init__(
        self, database_url: str, shards: Members[ShardRef], listeners: Sequence[Members[Any]], first: int = ROOMS
    ) -> None:
        """`listeners` are told the map: their references are `MapRef`s."""
        self._url = database_url
        self._first = first
        self._shards = shards
        self._listeners = listeners
        # As last settled. Without an entry: its owner did not confirm that it knows.
        self.map: PartitionMap = {}
        self._connection: Any = None
        self._busy = asyncio.Lock()
        self._wishes: dict[int, str] = {}  # owners for the sake of balance
        self._resting: dict[int, float] = {}  # partition → until when

    def agrees(self, shard: Member[ShardRef]) -> bool:
        """Whether a shard owns what the map says, and under those epochs: it gives up partitions when a commit of
        its is fenced, and raises epochs when one's outcome is unknown.
        """
        if self._busy.locked():
            return True  # asked again when that is done
        expected = sum((p + 1) * epoch for p, (epoch, owner) in self.map.items() if owner == shard.ref.name)
        return bool(shard.report["owned"] == expected)

    def owned(self, shard: str) -> int:
        """How many partitions the map gives to a shard."""
        return sum(owner == shard for _, owner in self.map.values())

    async def reconcile(self) -> bool:
        """Take what is misplaced under new epochs, tell the shards, then the gateways. Returns whether all who are
        alive confirmed.

        The order is for speed only. What makes it safe is that the epoch is raised before the new owner hears of it.
        """
        async with self._busy:
            alive = self._shards.alive()
            if not alive.keys() & self._shards.staying():
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
            self.map = {p: (epochs[p], owner) for p, owner in target.items() if owner in told}
            return await self._tell_listeners() and told == set(alive)

    async def _take_what_is_misplaced(
        self, connection: Any, alive: Mapping[str, ShardRef]
    ) -> tuple[dict[int, int], dict[int, str]]:
        """The epoch and the owner of each partition, as PostgreSQL has them now."""
        rows = await partitions.owners(connection, self._first)
        held = {p: owner if owner in alive else None for p, (_, owner) in rows.items()}
        wishes, self._wishes = self._wishes, {}
        target = plan(held | wishes, alive.keys() & self._shards.staying(), self._first)
        moves = {p: owner for p, owner in target.items() if held[p] != owner}
        epochs = {p: epoch for p, (epoch, _) in rows.items()}
        if moves:
            givers = {owner for p, owner in held.items() if p in moves and owner is not None}
            kept = {p: owner for p, owner in held.items() if p not in moves}
            await self._tell_shards({name: alive[name] for name in givers}, kept, epochs)
            epochs |= await partitions.take(connection, moves)
            self._note(moves, held, wishes)
        return epochs, target

    def _note(self, moves: Mapping[int, str], held: Mapping[int, str | None], wishes: Mapping[int, str]) -> None:
        staying = self._shards.staying()
        reasons: Counter[str] = Counter()
        for partition, owner in moves.items():
            giver = held[partition]
            if giver is None:
                reasons["failover"] += 1
            elif giver not in staying:
                reasons["drain"] += 1
            else:
                reasons["balance" if wishes.get(partition) == owner else "spread"] += 1
        for reason, count in reasons.items():
            metrics.PARTITION_MOVES.labels(reason).inc(count)
        log.info("partitions moved", extra=dict(reasons))

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

    async def _tell_listeners(self) -> bool:
        refs = [ref for members in self._listeners for ref in members.alive().values()]
        return all(await asyncio.gather(*map(self.tell, refs)))

    async def tell(self, ref: MapRef) -> bool:
        """The map, to somebody who sends to the shards; whether they heard."""
        try:
            async with asyncio.timeout(SUSPECT_S):
                await ref.set_map(self.map)
        except NO_ANSWER as error:
            # Dead: it is replaced. Paused: it is told when it answers again.
            log.warning("map not told", extra={"actor": ref.name, "reason": type(error).__name__})
            return False
        return True

    async def _database(self) -> Any:
        if self._connection is None or self._connection.is_closed():
            self._connection = await open_connection(self._url, name="Supervisor", timeout=2.0)
        return self._connection

    # -- balance ---------------------------------------------------------------------------------------------

    def rates(self) -> dict[int, float]:
        """Commands a second by partition, as its owner last said."""
        return {
            partition: rate
            for shard in self._shards
            for partition, rate in shard.report.get("rates", {}).items()
            if partition in self.map and self.map[partition][1] == shard.ref.name
        }

    def wish_for_balance(self) -> bool:
        """Choose what should change places for the load's sake; returns whether anything should, which the next
        `reconcile` does. Only when nothing else is going on.
        """
        calm = all(shard.alive and not shard.leaving for shard in self._shards) and not self._busy.locked()
        if not calm or not all(map(self.agrees, self._shards)):
            return False
        now = asyncio.get_running_loop().time()
        self._resting = {partition: until for partition, until in self._resting.items() if until > now}
        owners = {partition: owner for partition, (_, owner) in self.map.items()}
        self._wishes = exchanges(owners, self.rates(), self._resting)
        self._resting |= dict.fromkeys(self._wishes, now + REST_S)
        return bool(self._wishes)
