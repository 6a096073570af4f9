"""A room shard around the real core, as `veza.actors.room_shard` drives it, with every `await` a moment of its own.

A turn of the writer, and one of the tick, is a generator that yields the statements it waits for.
"""

from collections.abc import Callable, Generator, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from simulation.clock import Call
from simulation.deliveries import SimDeliveries
from simulation.mailbox import BATCH_COMMANDS, SimMailbox
from simulation.network import Held, Process
from simulation.news import SimNews
from simulation.store import StoreAway
from veza.errors import Unavailable
from veza.realtime import commands as c
from veza.realtime.batch import Batch, Line, Sourced
from veza.realtime.partition import partition_of
from veza.realtime.presence import Leases
from veza.realtime.shard import POLICY, ShardCore

if TYPE_CHECKING:
    from simulation.world import World

START = datetime(2026, 1, 1, tzinfo=UTC)
TICK_S = 0.2
SETTLE_PATIENCE_S = 2.0

Run = Callable[[], Any]
Turn = Generator[Run, Any, None]


class SimShard(Process):
    def __init__(self, world: "World", name: str) -> None:
        super().__init__(name)
        self.core = ShardCore(POLICY, world.limits)
        self.refused: set[tuple[str, int]] = set()  # (gateway, ref) of what was decided so, delivered or not
        self._world = world
        # No two processes have the same clock.
        self._skew = world.chance.of(f"{name} runs").random() * 1000
        self._chance = world.chance.of(f"{name} writes")
        self._mailbox = SimMailbox(world)
        self._leases = Leases()
        self._links = SimDeliveries(world, self, self.gateway_lost)
        self.news = SimNews(world, self.core, self._links.broadcast)
        self._given_up: dict[int, int] = {}
        self._connected = True
        self._unsettled: Batch | None = None
        self._unsettled_since = 0.0
        self._writing = False  # a turn of the writer, which is the only one to touch a room
        self._tick_later()

    @property
    def now(self) -> float:
        return self._world.clock.now + self._skew

    # -- called by others ------------------------------------------------------------------------------------

    def own(self, epochs: Mapping[int, int]) -> None:
        given_up = {p: epoch for p, epoch in self.core.epochs.items() if p not in epochs}
        self.news.owned(self.core.epochs, epochs, self.now)
        self.core.revoke(given_up)
        before = dict(self.core.epochs)
        self.core.grant(epochs, self.now)
        for partition in self.core.epochs:
            if before.get(partition) != self.core.epochs[partition]:
                self._world.meter.owned(self.name, partition)
        if any(self._given_up.get(p) == epoch for p, epoch in epochs.items()):
            self._links.resync()
        self._given_up = {p: epoch for p, epoch in (self._given_up | given_up).items() if p not in epochs}

    @property
    def owned(self) -> dict[int, int]:
        """What a ping says."""
        return dict(self.core.epochs)

    def submit(self, data: bytes) -> Held | None:
        """Returns the call while it waits for room."""
        batch = c.decode_commands(data)
        self._links.introduce(batch.gateway)
        if self._leases.heard(batch.gateway, self.now):
            self._world.seen["gateway came back"] += 1
            self._links.resync(batch.gateway)
        held = Held()
        self._accept([(batch.gateway, command) for command in batch.commands], held)
        return None if held.over else held

    def _accept(self, commands: list[Sourced], held: Held) -> None:
        refused = self._mailbox.put(commands, lambda: self.do(lambda: self._accept(commands, held)))
        if refused is None:
            return
        held.release()
        if refused:
            error = Unavailable("This room is flooded; try again shortly.")
            self._dispatch(self.core.refuse_all(refused, error).script)
        # Beside the call, as the writer is a task of its own.
        self._later(0.0, self._write_on)

    def _later(self, seconds: float, call: Call) -> None:
        self._world.clock.later(seconds, lambda: self.do(call))

    def gateway_lost(self, gateway: str) -> None:
        self._links.lost(gateway)
        self._leases.lost(gateway)
        self._dispatch(self._noted(self.core.gateway_lost(gateway, self.now)).script)

    # -- turns -----------------------------------------------------------------------------------------------

    def _run(self, turn: Turn, then: Call) -> None:
        """Let a turn go on, from statement to statement, to its end."""

        def advance(step: Callable[[], Run]) -> None:
            try:
                run = step()
            except StopIteration:
                then()
                return
            self._world.database.run(self, run, answered)

        def answered(result: Any, error: StoreAway | None) -> None:
            advance((lambda: turn.send(result)) if error is None else (lambda: turn.throw(error)))

        advance(lambda: next(turn))

    def _write_on(self) -> None:
        if not self._writing and len(self._mailbox):
            at_most = BATCH_COMMANDS if self._chance.random() < 0.8 else 1
            self._start(self._write(self._mailbox.take(at_most)))

    def _start(self, turn: Turn) -> None:
        self._writing = True
        self._run(turn, self._end)

    def _end(self) -> None:
        self._writing = False
        self._later(0.0, self._write_on)

    def _wall(self) -> datetime:
        return START + timedelta(seconds=self._world.clock.now)

    def _write(self, queue: list[Sourced]) -> Turn:
        if (yield from self._ready_to_store()):
            yield from self._round(queue)
        else:
            self._round_without_store(queue)

    def _decide(self, queue: Iterable[Sourced]) -> Batch:
        queue = list(queue)
        for _, command in queue:
            if isinstance(command, c.Attend | c.ReturnAllowance) and command.grant and command.tokens is not None:
                self._note_report(command.user_id, command.grant)
        return self._noted(self.core.decide(queue, self._wall(), self.now))

    def _note_report(self, user_id: UUID, grant: int) -> None:
        """An owner hears of a loan."""
        if self.core.owns(user_id):
            self._world.meter.reported(self.name, partition_of(user_id), user_id, grant)

    def _noted(self, batch: Batch) -> Batch:
        """With the loans that were made in it noted."""
        for lines in batch.script.values():
            for line in lines:
                if isinstance(line.item, c.AllowanceLent):
                    user_id, grant = line.item.user_id, line.item.grant
                    self._world.meter.lends(self.name, partition_of(user_id), user_id, grant)
        return batch

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
        batch = self._decide(queue)
        self._note_refusals(batch.script)
        self._mailbox.put_back(batch.deferred)
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
        self._links.resync()

    def _round_without_store(self, queue: Iterable[Sourced]) -> None:
        answers, rest = self.core.refuse(queue, Unavailable())
        self._dispatch(answers.script)
        self._dispatch(self._decide(rest).script)

    # -- the tick --------------------------------------------------------------------------------------------

    def _tick_later(self) -> None:
        self._later(TICK_S, lambda: self._run(self._tick(), self._tick_later))

    def _tick(self) -> Turn:
        for gateway in self._leases.ended(self.now):
            self._world.seen["lease ended"] += 1
            self._world.meter.silent()
            if tell := self._world.tell:
                tell(f"{self.name} has heard nothing of {gateway} for too long")
            self._dispatch(self._noted(self.core.gateway_lost(gateway, self.now)).script)
        self._dispatch(self._noted(self.core.tick(self._wall(), self.now)).script)
        yield from self.news.tick(self.now)
        if not self._writing and (self._unsettled is not None or not self._connected):
            self._start(self._recover())

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
        self._links.dispatch(script)
