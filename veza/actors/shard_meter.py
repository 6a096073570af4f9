"""What a shard shows of its work: metrics, and log lines by which a trace can be followed to its commit."""

import logging
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import NamedTuple
from uuid import UUID

from veza import metrics
from veza.metrics import Tally
from veza.realtime import commands as c
from veza.realtime.batch import Batch, Sourced
from veza.realtime.events import EventKind
from veza.realtime.partition import partition_of

log = logging.getLogger(__name__)

# A round this long is worth a line at any level: people feel it.
SLOW_S = 0.5
# So many traces fit into a line that somebody reads; at debug all are there.
SHOWN_TRACES = 50


class Held(NamedTuple):
    """What the shard holds at the moment. `connections` are to PostgreSQL, `outbox` is bytes and calls in flight."""

    epochs: Mapping[int, int]
    subjects: int
    queued: int
    connections: int
    storing: bool
    outbox: tuple[int, int]


class Times(NamedTuple):
    """Seconds since the commands of a batch were taken from the mailbox, and since it was decided."""

    taken: float
    decided: float


class ShardMeter:
    """The numbers of one shard."""

    def __init__(self, name: str, what: str = "room") -> None:
        """`what` is what the shard has in memory."""
        self._name = name
        self._batches = 0
        self._commands = Tally(metrics.SHARD_COMMANDS)
        self._stored = Tally(metrics.STORED_EVENTS, known=EventKind)
        self._shown: dict[int, int] = {}  # partition → the epoch that the metric has
        self._sampled_at: float | None = None
        self._partitions = metrics.SHARD_PARTITIONS.labels(name)
        self._subjects = (metrics.ROOMS_LOADED if what == "room" else metrics.STREAMS_LOADED).labels(name)
        self._mailbox = metrics.MAILBOX_COMMANDS.labels(name)
        self._connections = metrics.POSTGRES_CONNECTIONS.labels(name, "used")
        self._outbox_bytes = metrics.OUTBOX_BYTES.labels(name, "gateways")
        self._outbox_calls = metrics.OUTBOX_CALLS.labels(name, "gateways")
        self._loading = metrics.SHARD_READ_SECONDS.labels(f"{what}s")
        self._looking_up = metrics.SHARD_READ_SECONDS.labels("ids")

    # -- each second -----------------------------------------------------------------------------------------

    def sample(self, held: Held, now: float) -> None:
        self._commands.flush()
        self._stored.flush()
        self._partitions.set(len(held.epochs))
        self._subjects.set(held.subjects)
        self._mailbox.set(held.queued)
        self._connections.set(held.connections)
        self._outbox_bytes.set(held.outbox[0])
        self._outbox_calls.set(held.outbox[1])
        if not held.storing and self._sampled_at is not None:
            metrics.POSTGRES_AWAY.inc(now - self._sampled_at)
        self._sampled_at = now
        if held.epochs != self._shown:
            self._show_epochs(held.epochs)

    def _show_epochs(self, epochs: Mapping[int, int]) -> None:
        for partition in self._shown.keys() | epochs.keys():
            epoch = epochs.get(partition, 0)
            if self._shown.get(partition, 0) != epoch:
                metrics.PARTITION_EPOCH.labels(str(partition), self._name).set(epoch)
        self._shown = dict(epochs)

    @staticmethod
    def show_rates(rates: Mapping[int, float]) -> None:
        """Commands a second, of each partition that is owned."""
        for partition, rate in rates.items():
            metrics.PARTITION_RATE.labels(str(partition)).set(rate)

    # -- each round ------------------------------------------------------------------------------------------

    def loaded(self, seconds: float) -> None:
        """Rooms or streams were read into memory."""
        self._loading.observe(seconds)

    def looked_up(self, seconds: float) -> None:
        """Ids were looked up."""
        self._looking_up.observe(seconds)

    def slept(self, rooms: int) -> None:
        metrics.ROOMS_SLEPT.inc(rooms)

    def took(self, commands: Iterable[c.Routed]) -> None:
        """A gateway sent these."""
        add = self._commands.add
        for command in commands:
            add(type(command))

    def unknown(self) -> None:
        """A commit's connection broke before its answer came."""
        metrics.COMMITS_UNKNOWN.inc()

    def finished(self, batch: Batch, lost: set[int]) -> None:
        """A batch is stored, but for its partitions `lost`."""
        self._batches += 1
        metrics.COMMIT_EVENTS.observe(len(batch.events))
        if lost:
            metrics.COMMITS_FENCED.inc(len(lost))
        for event in batch.events:
            if not lost or partition_of(event.room_id) not in lost:
                self._stored.add(event.kind)

    def committed(self, batch: Batch, queue: Iterable[Sourced], lost: set[int], times: Times) -> None:
        """The same, at the first attempt. Logged at debug level, or when it was slow."""
        metrics.COMMIT_SECONDS.observe(times.decided)
        slow = times.taken > SLOW_S
        detailed = log.isEnabledFor(logging.DEBUG)
        if not slow and not detailed:
            return
        found = traces(batch, queue, lost)
        log.log(
            logging.WARNING if slow else logging.DEBUG,
            "slow commit" if slow else "committed",
            extra={
                "batch": f"{self._name}:{self._batches}",
                "events": len(batch.events),
                "seconds": round(times.taken, 4),
                "traces": ",".join(found if detailed else islice(found, SHOWN_TRACES)),
            },
        )


def traces(batch: Batch, queue: Iterable[Sourced], lost: set[int]) -> Iterable[str]:
    """The traces of the commands whose events a batch stored, in its order."""
    stored: set[UUID] = {event.id for event in batch.events if partition_of(event.room_id) not in lost}
    for _, command in queue:
        if command.trace and getattr(command, "id", None) in stored:
            yield command.trace
