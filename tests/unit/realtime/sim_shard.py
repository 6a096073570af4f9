"""A room shard around the real core, as `veza.actors.room_shard` drives it, with every `await` a step of its own.

A turn of the writer is a generator that yields the statements it waits for. Whoever simulates performs a statement
and answers it, or loses it before or after it was performed.
"""

from collections.abc import Callable, Generator, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from sim_store import Store, StoreAway

from veza.errors import Unavailable
from veza.realtime import commands as c
from veza.realtime.partition import partition_of
from veza.realtime.shard import Batch, Line, ShardCore, Sourced

START = datetime(2026, 1, 1, tzinfo=UTC)


class Statement:
    """One statement under way. `performed` says that the store has done it, whoever hears of it."""

    def __init__(self, run: Callable[[], Any]) -> None:
        self._run = run
        self._result: Any = None
        self._error: StoreAway | None = None
        self.performed = False

    def perform(self) -> None:
        if not self.performed:
            self.performed = True
            try:
                self._result = self._run()
            except StoreAway as error:
                self._error = error

    def outcome(self) -> tuple[Any, StoreAway | None]:
        self.perform()
        return self._result, self._error


Turn = Generator[Statement, Any, None]


class SimShard:
    """`outboxes` hold what is on its way to each gateway, in order."""

    def __init__(self, name: str, store: Store) -> None:
        self.name = name
        self.core = ShardCore()
        self.mailbox: list[Sourced] = []
        self.outboxes: dict[str, list[c.Delivery]] = {}
        self.unsettled: Batch | None = None
        self.statement: Statement | None = None
        self.abandoned: list[Statement] = []  # lost before they were performed; they may still run
        self.refused: set[tuple[str, int]] = set()  # (gateway, ref) of every refusal, delivered or not
        self._store = store
        self._connected = True
        self.given_up: dict[int, int] = {}
        self._turn: Turn | None = None
        self._clock = 0

    # -- what happens to it ----------------------------------------------------------------------------------

    def own(self, epochs: Mapping[int, int]) -> None:
        given_up = {p: epoch for p, epoch in self.core.epochs.items() if p not in epochs}
        self.core.revoke(given_up)
        self.core.grant(epochs)
        if any(self.given_up.get(p) == epoch for p, epoch in epochs.items()):
            self._resync()
        self.given_up = given_up

    def submit(self, data: bytes) -> None:
        batch = c.decode_commands(data)
        self.mailbox.extend((batch.gateway, command) for command in batch.commands)

    @property
    def idle(self) -> bool:
        return self._turn is None

    def begin(self, at_most: int) -> None:
        """The writer takes its next commands."""
        queue, self.mailbox = self.mailbox[:at_most], self.mailbox[at_most:]
        self._start(self._write(queue))

    def recover(self, *, impatient: bool) -> None:
        self._start(self._recover(impatient))

    def answer(self) -> None:
        """The statement's result arrives."""
        if self.statement is not None:
            result, error = self.statement.outcome()
            if error is None:
                self._advance(lambda turn: turn.send(result))
            else:
                self._advance(lambda turn: turn.throw(error))

    def lose(self) -> None:
        """The connection breaks while the statement is under way."""
        if self.statement is not None:
            if not self.statement.performed:
                self.abandoned.append(self.statement)
            self._advance(lambda turn: turn.throw(StoreAway()))

    def cut_back(self, gateway: str) -> None:
        kept = [i for i in self.outboxes.get(gateway, ()) if not isinstance(i, c.Events | c.Transient | c.Lagged)]
        self.outboxes[gateway] = [*kept, c.Lagged()]

    def tick(self) -> None:
        self._dispatch(self.core.tick(START, self._now()).script)

    # -- the writer ------------------------------------------------------------------------------------------

    def _start(self, turn: Turn) -> None:
        self._turn = turn
        self._advance(next)

    def _advance(self, step: Callable[[Turn], Statement]) -> None:
        assert self._turn is not None
        try:
            self.statement = step(self._turn)
        except StopIteration:
            self._turn = self.statement = None

    def _now(self) -> float:
        self._clock += 1
        return float(self._clock)

    def _wall(self) -> datetime:
        return START + timedelta(milliseconds=self._now())

    def _write(self, queue: list[Sourced]) -> Turn:
        if (yield from self._ready_to_store()):
            yield from self._round(queue)
        else:
            self._round_without_store(queue)

    def _round(self, queue: list[Sourced]) -> Turn:
        core = self.core
        try:
            if missing := core.missing(queue):
                core.install((yield Statement(lambda: self._store.load_rooms(missing))))
            if candidates := core.lookups(queue):
                core.found((yield Statement(lambda: self._store.find_stored(candidates))))
        except StoreAway:
            self._connected = False
            self._round_without_store(queue)
            return
        batch = core.decide(queue, self._wall(), self._now())
        self.mailbox[:0] = batch.deferred
        if not (batch.events or batch.reads):
            self._dispatch(batch.script)
            return
        try:
            lost: set[int] = set()
            if batch.events:
                lost = yield Statement(lambda: self._store.commit(batch.events, batch.epochs))
            if batch.reads:
                yield Statement(lambda: self._store.save_reads(batch.reads))
        except StoreAway:
            self._connected = False
            self.unsettled = batch
            return
        self._finish(batch, lost)

    def _finish(self, batch: Batch, lost: set[int]) -> None:
        self.core.finish(batch, lost)
        self._dispatch(batch.script)

    # -- without a store -------------------------------------------------------------------------------------

    def _ready_to_store(self) -> Generator[Statement, Any, bool]:
        try:
            if not self._connected:
                yield Statement(lambda: None)
                self._connected = True
            if self.unsettled is not None:
                yield from self._settle(self.unsettled)
        except StoreAway:
            self._connected = False
            return False
        return True

    def _settle(self, batch: Batch) -> Turn:
        renewed = yield Statement(lambda: self._store.renew(self.name, batch.epochs))
        batch.epochs |= renewed
        self.core.renewed(renewed)
        stored = yield Statement(lambda: self._store.stored_ids(batch.events))
        if batch.reads and (stored or not batch.events):
            yield Statement(lambda: self._store.save_reads(batch.reads))
        self.unsettled = None
        if stored or not batch.events:
            self._finish(batch, {partition_of(event.room_id) for event in batch.events if event.id not in stored})
            return
        self.core.abandon(batch)
        self._dispatch(batch.answer_all(Unavailable()))
        self._dispatch(batch.script)
        self._resync()

    def _resync(self) -> None:
        for outbox in self.outboxes.values():
            outbox.append(c.Lagged())

    def _round_without_store(self, queue: Iterable[Sourced]) -> None:
        answers, rest = self.core.refuse(queue, Unavailable())
        self._dispatch(answers.script)
        self._dispatch(self.core.decide(rest, self._wall(), self._now()).script)

    def _recover(self, impatient: bool) -> Turn:
        ready = yield from self._ready_to_store()
        if not ready and self.unsettled is not None and impatient:
            self._dispatch(self.unsettled.answer_all(Unavailable()))

    def _dispatch(self, script: Mapping[str, list[Line]]) -> None:
        for gateway, lines in script.items():
            self.outboxes.setdefault(gateway, []).extend(line.item for line in lines)
            self.refused |= {(gateway, line.ref) for line in lines if isinstance(line.item, c.Refusal)}
