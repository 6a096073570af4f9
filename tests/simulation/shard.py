"""A room shard around the real core, as `veza.actors.room_shard` drives it, with every `await` a moment of its own.

A turn of the writer is a generator that yields the statements it waits for.
"""

from collections.abc import Callable, Generator, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from simulation.network import Failure, Process
from simulation.outbox import Outbox
from simulation.store import StoreAway
from veza.errors import Unavailable
from veza.realtime import commands as c
from veza.realtime.batch import Batch, Line, Sourced
from veza.realtime.partition import partition_of
from veza.realtime.shard import ShardCore

if TYPE_CHECKING:
    from simulation.gateway import SimGateway
    from simulation.world import World

START = datetime(2026, 1, 1, tzinfo=UTC)
TICK_S = 0.2
SETTLE_PATIENCE_S = 2.0
RECONNECT_S = 0.25
RETRY_S = 0.25
OUTBOX_ITEMS = 12
PRESENCE_S = 4.0  # the grace of a user who has left, and a little more

Run = Callable[[], Any]
Turn = Generator[Run, Any, None]


class SimShard(Process):
    def __init__(self, world: "World", name: str) -> None:
        super().__init__(name)
        self.core = ShardCore()
        self.refused: set[tuple[str, int]] = set()  # (gateway, ref) of what was decided so, delivered or not
        self._world = world
        self._mailbox: list[Sourced] = []
        self._outboxes: dict[str, Outbox[c.Delivery]] = {}
        self._behind: set[str] = set()
        self._given_up: dict[int, int] = {}
        self._connected = True
        self._connection = 0  # breaks when it counts on
        self._unsettled: Batch | None = None
        self._unsettled_since = 0.0
        self._turn: Turn | None = None
        self._ticking = False
        self._attended_at = 0.0  # when presence may have changed last

    # -- called by others ------------------------------------------------------------------------------------

    def own(self, epochs: Mapping[int, int]) -> None:
        given_up = {p: epoch for p, epoch in self.core.epochs.items() if p not in epochs}
        self.core.revoke(given_up)
        self.core.grant(epochs)
        if any(self._given_up.get(p) == epoch for p, epoch in epochs.items()):
            self._resync()
        self._given_up = {p: epoch for p, epoch in (self._given_up | given_up).items() if p not in epochs}

    @property
    def owned(self) -> dict[int, int]:
        """What a ping says."""
        return dict(self.core.epochs)

    def submit(self, data: bytes) -> None:
        batch = c.decode_commands(data)
        self._link(batch.gateway)
        self._mailbox.extend((batch.gateway, command) for command in batch.commands)
        if any(isinstance(command, c.Attend | c.Typing) for command in batch.commands):
            self._attended_at = self._world.clock.now
            self._tick_soon()
        # Beside the call, as the writer is a task of its own.
        self._world.clock.later(0.0, lambda: self.do(self._write_on))

    def gateway_lost(self, gateway: str) -> None:
        if outbox := self._outboxes.pop(gateway, None):
            outbox.closed = True
        self._behind.discard(gateway)
        self.core.gateway_lost(gateway, self._world.clock.now)
        self._attended_at = self._world.clock.now
        self._tick_soon()

    # -- the writer ------------------------------------------------------------------------------------------

    def _write_on(self) -> None:
        if self._turn is None and self._mailbox:
            chance = self._world.chance.of(f"{self.name} writes")
            most = len(self._mailbox) if chance.random() < 0.8 else 1
            queue, self._mailbox = self._mailbox[:most], self._mailbox[most:]
            self._start(self._write(queue))

    def _start(self, turn: Turn) -> None:
        self._turn = turn
        self._advance(next)

    def _advance(self, step: Callable[[Turn], Run]) -> None:
        """Let the turn go on, to its next statement or its end."""
        assert self._turn is not None
        try:
            run = step(self._turn)
        except StopIteration:
            self._turn = None
            self._world.clock.later(0.0, lambda: self.do(self._write_on))
            return
        self._world.database.run(self, run, self._answered)

    def _answered(self, result: Any, error: StoreAway | None) -> None:
        if error is None:
            self._advance(lambda turn: turn.send(result))
        else:
            self._advance(lambda turn: turn.throw(error))

    def _wall(self) -> datetime:
        return START + timedelta(seconds=self._world.clock.now)

    def _write(self, queue: list[Sourced]) -> Turn:
        if (yield from self._ready_to_store()):
            yield from self._round(queue)
        else:
            self._round_without_store(queue)

    def _round(self, queue: list[Sourced]) -> Turn:
        core, store = self.core, self._world.store
        try:
            if missing := core.missing(queue):
                core.install((yield lambda: store.load_rooms(missing)))
            if candidates := core.lookups(queue):
                core.found((yield lambda: store.find_stored(candidates)))
            if wants := core.wants(queue):
                core.supply((yield lambda: store.read_wanted(wants)))
        except StoreAway:
            self._connected = False
            self._round_without_store(queue)
            return
        batch = core.decide(queue, self._wall(), self._world.clock.now)
        self._note_refusals(batch.script)
        self._mailbox[:0] = batch.deferred
        if batch.events or batch.reads:
            yield from self._commit(batch)
        else:
            self._dispatch(batch.script)

    def _commit(self, batch: Batch) -> Turn:
        store, started = self._world.store, self._world.clock.now
        if tell := self._world.tell:
            said = ", ".join(f"{self._world.name(e.room_id)} seq {e.seq} {e.kind.value}" for e in batch.events)
            tell(f"{self.name} decides {said or 'read marks'} under epochs {batch.epochs}")
        try:
            lost: set[int] = set()
            if batch.events:
                # What was sent stays as it was, though the batch changes.
                events, epochs = list(batch.events), dict(batch.epochs)
                lost = yield lambda: store.commit(events, epochs)
            if batch.reads:
                yield lambda: store.save_reads(batch.reads)
        except StoreAway:
            self._connected = False
            self._unsettled, self._unsettled_since = batch, started
            self._tick_soon()
            return
        self._finish(batch, lost)

    def _finish(self, batch: Batch, lost: set[int]) -> None:
        if lost and (tell := self._world.tell):
            tell(f"{self.name} learns that partitions {sorted(lost)} are not its own any more")
        self.core.finish(batch, lost)
        self._dispatch(batch.script)

    # -- without a store -------------------------------------------------------------------------------------

    def _ready_to_store(self) -> Generator[Run, Any, bool]:
        try:
            if not self._connected:
                yield lambda: None
                self._connected = True
            if self._unsettled is not None:
                yield from self._settle(self._unsettled)
        except StoreAway:
            self._connected = False
            self._tick_soon()
            return False
        return True

    def _settle(self, batch: Batch) -> Turn:
        store = self._world.store
        epochs = dict(batch.epochs)
        renewed = yield lambda: store.renew(self.name, epochs)
        batch.epochs |= renewed
        self.core.renewed(renewed)
        stored = yield lambda: store.stored_ids(batch.events)
        if batch.reads and (stored or not batch.events):
            yield lambda: store.save_reads(batch.reads)
        self._unsettled = None
        if tell := self._world.tell:
            tell(f"{self.name} finds {len(stored)} of {len(batch.events)} events of its lost commit stored")
        if stored or not batch.events:
            self._finish(batch, {partition_of(event.room_id) for event in batch.events if event.id not in stored})
            return
        self.core.abandon(batch)
        self._dispatch(batch.answer_all(Unavailable()))
        self._dispatch(batch.script)
        self._resync()

    def _round_without_store(self, queue: Iterable[Sourced]) -> None:
        answers, rest = self.core.refuse(queue, Unavailable())
        self._dispatch(answers.script)
        self._dispatch(self.core.decide(rest, self._wall(), self._world.clock.now).script)

    # -- the tick --------------------------------------------------------------------------------------------

    def _tick_soon(self) -> None:
        if not self._ticking:
            self._ticking = True
            self._world.clock.later(TICK_S, lambda: self.do(self._tick))

    def _tick(self) -> None:
        self._ticking = False
        now = self._world.clock.now
        self._dispatch(self.core.tick(self._wall(), now).script)
        if changes := dict(self.core.presence.changes(now)):
            for user_id, room_ids in self._world.store.rooms_of_users(changes).items():
                for gateway in self._outboxes:
                    self._put(gateway, c.PresenceChanged(user_id, changes[user_id], room_ids))
        if self._turn is None and (self._unsettled is not None or not self._connected):
            self._start(self._recover())
        waits = self._unsettled is not None or not self._connected or now < self._attended_at + PRESENCE_S
        if waits or self.core.typing:
            self._tick_soon()

    def _recover(self) -> Turn:
        ready = yield from self._ready_to_store()
        batch = self._unsettled
        if not ready and batch is not None and self._world.clock.now - self._unsettled_since > SETTLE_PATIENCE_S:
            self._dispatch(batch.answer_all(Unavailable()))

    # -- to the gateways -------------------------------------------------------------------------------------

    def _note_refusals(self, script: Mapping[str, list[Line]]) -> None:
        for gateway, lines in script.items():
            self.refused |= {(gateway, line.ref) for line in lines if isinstance(line.item, c.Refusal)}

    def _dispatch(self, script: Mapping[str, list[Line]]) -> None:
        self._note_refusals(script)
        for gateway, lines in script.items():
            for line in lines:
                self._put(gateway, line.item)

    def _resync(self) -> None:
        for gateway in self._outboxes:
            self._put(gateway, c.Lagged())

    def _put(self, gateway: str, item: c.Delivery) -> None:
        outbox = self._link(gateway)
        droppable = isinstance(item, c.Events | c.Transient)
        if droppable and gateway in self._behind:
            return
        if droppable and len(outbox.items) >= OUTBOX_ITEMS:
            self._cut_back(gateway)
        else:
            outbox.put(item)

    def _cut_back(self, gateway: str) -> None:
        if tell := self._world.tell:
            tell(f"{self.name} drops events for {gateway}, which is behind")
        self._world.seen["cut back"] += 1
        outbox = self._outboxes[gateway]
        outbox.items = [i for i in outbox.items if not isinstance(i, c.Events | c.Transient | c.Lagged)]
        outbox.put(c.Lagged())
        self._behind.add(gateway)

    def _link(self, gateway: str) -> Outbox[c.Delivery]:
        outbox = self._outboxes.get(gateway)
        if outbox is None:
            chance = self._world.chance.of(f"{self.name} calls {gateway}")
            outbox = Outbox(self._world.clock, chance, lambda items: self._deliver(gateway, outbox, items))
            self._outboxes[gateway] = outbox
        return outbox

    def _deliver(self, gateway: str, outbox: Outbox[c.Delivery], items: list[c.Delivery]) -> None:
        if not self.alive:
            return
        if any(isinstance(item, c.Lagged) for item in items):
            self._behind.discard(gateway)
        target: SimGateway = self._world.gateway(gateway)
        data = c.encode(c.DeliveryBatch(self.name, items))

        def failed(failure: Failure) -> None:
            if self._outboxes.get(gateway) is not outbox:
                return
            if failure is Failure.GONE:
                self.gateway_lost(gateway)
                return
            outbox.put_back([i for i in items if not isinstance(i, c.Events | c.Transient | c.Lagged)])
            self._world.clock.later(RETRY_S, lambda: self.do(lambda: self._try_again(gateway, outbox)))

        self._world.network.call(self, target, lambda: target.deliver(data), outbox.returned, failed)
        if self._world.chance.of(f"{self.name} repeats to {gateway}").random() < 0.02:
            self._repeat(target, items)

    def _repeat(self, target: "SimGateway", items: list[c.Delivery]) -> None:
        """A call that failed may have been carried out, and what is sent again then comes twice."""
        kinds = c.Events | c.Answer | c.Refusal | c.Subscribed | c.NotOwner | c.MemberGone
        data = c.encode(c.DeliveryBatch(self.name, [item for item in items if isinstance(item, kinds)]))
        self._world.seen["delivered twice"] += 1
        self._world.network.send(self.name, target.name, lambda: target.do(lambda: target.deliver(data)))

    def _try_again(self, gateway: str, outbox: Outbox[c.Delivery]) -> None:
        if self._outboxes.get(gateway) is outbox:
            self._cut_back(gateway)
            outbox.returned()
