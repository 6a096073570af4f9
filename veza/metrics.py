"""Prometheus metrics of all processes of a node.

With `PROMETHEUS_MULTIPROC_DIR` set before the first import, each process keeps its numbers in files there, and
any gateway's `/metrics` adds them up. Without it, a process shows its own.

A number is written once a batch, a call or a second, never once a frame delivered: what happens more often goes
through a `Tally`. Labels are bounded; an actor's name is a label of gauges only, for those end with the process.
"""

import os
import re
from collections.abc import Hashable, Iterable
from pathlib import Path

from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client import generate_latest as render
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

DIRECTORY_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"

# From a tenth of a millisecond, an idle commit, to what a person would call broken.
_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_SIZES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)

# -- HTTP --------------------------------------------------------------------------------------------------------

HTTP_REQUESTS = Counter(
    "veza_http_requests_total", "Requests answered, by route pattern.", ("method", "route", "status")
)
HTTP_SECONDS = Histogram(
    "veza_http_request_seconds",
    "From the request's last header to the response's first byte.",
    ("method", "route"),
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0),
)

# -- rate limits -------------------------------------------------------------------------------------------------

RATE_LIMIT_PASSED = Counter("veza_rate_limit_passed_total", "Requests that a limit let pass, by limit.", ("limit",))
RATE_LIMIT_REFUSED = Counter("veza_rate_limit_refused_total", "Requests answered 429 by a limit.", ("limit",))
RATE_LIMIT_WAITS = Histogram(
    "veza_rate_limit_wait_seconds",
    "How long requests waited that passed after their gateway had asked a limiter.",
    buckets=(0.0005, 0.001, 0.002, 0.003, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
)
RATE_LIMIT_ALONE = Counter(
    "veza_rate_limit_alone_total",
    "Windows in which a gateway let its own part of a limit pass, because no limiter could be asked.",
)
RATE_WINDOWS = Gauge(
    "veza_rate_windows",
    "Addresses and users that a gateway holds units of, or a limiter remembers.",
    ("actor",),
    multiprocess_mode="livesum",
)
RATE_WINDOW_ANSWERS = Counter("veza_rate_window_answers_total", "What limiters told gateways, by kind.", ("answer",))

# -- gateways: sockets, and what they ask ------------------------------------------------------------------------

SOCKETS = Gauge("veza_sockets", "Open WebSockets.", multiprocess_mode="livesum")
SOCKETS_OPENED = Counter("veza_sockets_opened_total", "WebSockets that were opened.")
SOCKETS_CLOSED = Counter(
    "veza_sockets_closed_total", "WebSockets that ended, by close code; 1006 is a connection that was cut.", ("code",)
)
USERS = Gauge(
    "veza_users", "Users with an open WebSocket, counted by each gateway.", ("gateway",), multiprocess_mode="livesum"
)
ROOMS_FOLLOWED = Gauge(
    "veza_rooms_followed", "Rooms that sockets of a gateway are in.", ("gateway",), multiprocess_mode="livesum"
)
COMMANDS = Counter("veza_commands_total", "Commands that came by WebSocket, by type.", ("command",))
REFUSALS = Counter("veza_refusals_total", "Commands that were answered with an error, by its code.", ("code",))
COMMANDS_WAITING = Gauge(
    "veza_commands_waiting", "Commands that wait for a shard's answer.", ("gateway",), multiprocess_mode="livesum"
)
COMMANDS_GIVEN_UP = Counter(
    "veza_commands_given_up_total",
    "Commands that were answered UNAVAILABLE because their shard was not reached in time or its outbox was full.",
    ("reason",),
)
JOINS = Counter("veza_joins_total", "Times a socket entered a room, with nothing missed.")
RECOVERY_PAGES = Counter(
    "veza_recovery_pages_total", "Pages of earlier events that sockets asked for when they joined."
)
PAGE_READS = Counter("veza_page_reads_total", "Reads of such pages; equal ones at the same time are one read.")

# -- gateways: fan-out -------------------------------------------------------------------------------------------

DELIVERED_FRAMES = Counter("veza_delivered_frames_total", "Frames written to sockets by fan-out.")
DELIVERY_EVENTS = Histogram(
    "veza_delivery_events", "Events of rooms in what a gateway handled at once.", buckets=_SIZES
)
FANOUT_LAG = Histogram(
    "veza_fanout_lag_seconds",
    "From the oldest commit of a delivery to the last socket it was written to, one observation a delivery.",
    buckets=_SECONDS,
)
CATCH_UP_READS = Counter("veza_catch_up_reads_total", "Reads of the log for rooms of a gateway that missed events.")
GATEWAY_LAGGED = Counter("veza_gateway_lagged_total", "Times a gateway was cut back because it was behind.")

# -- shards ------------------------------------------------------------------------------------------------------

ROOMS_LOADED = Gauge("veza_rooms_loaded", "Rooms in a shard's memory.", ("shard",), multiprocess_mode="livesum")
STREAMS_LOADED = Gauge("veza_streams_loaded", "Streams in a shard's memory.", ("shard",), multiprocess_mode="livesum")
STREAMS_ON_AIR = Gauge(
    "veza_streams_on_air", "Streams that are live or wait for their source.", ("shard",), multiprocess_mode="livesum"
)
STREAM_VIEWERS = Gauge("veza_stream_viewers", "Viewers of all streams.", ("shard",), multiprocess_mode="livesum")
STREAM_MESSAGES = Counter("veza_stream_messages_total", "Messages of streams' chats that were stored.")
INGEST_SOURCES = Gauge(
    "veza_ingest_sources", "Encoders that publish to an Ingest.", ("ingest",), multiprocess_mode="livesum"
)
INGEST_CONNECTIONS = Gauge(
    "veza_ingest_connections",
    "Connections to RTMP_PORT, of encoders and of others.",
    ("ingest",),
    multiprocess_mode="livesum",
)
ROOMS_WOKEN = Counter("veza_rooms_woken_total", "Rooms that were read into memory.")
ROOMS_SLEPT = Counter("veza_rooms_slept_total", "Rooms that were put to sleep, for nobody used them.")
SHARD_COMMANDS = Counter("veza_shard_commands_total", "Commands that gateways sent to shards, by type.", ("command",))
MAILBOX_COMMANDS = Gauge(
    "veza_mailbox_commands", "Commands that wait for a shard's writer.", ("shard",), multiprocess_mode="livesum"
)
STORED_EVENTS = Counter("veza_stored_events_total", "Durable room events committed, by kind.", ("kind",))
COMMIT_EVENTS = Histogram("veza_commit_events", "Events in one group commit.", buckets=_SIZES)
COMMIT_SECONDS = Histogram(
    "veza_commit_seconds", "One group commit, from its decision to its deliveries.", buckets=_SECONDS
)
SHARD_READ_SECONDS = Histogram(
    "veza_shard_read_seconds", "Reads before a commit: rooms that wake, ids to look up.", ("read",), buckets=_SECONDS
)
COMMITS_UNKNOWN = Counter(
    "veza_commits_unknown_total", "Commits of which the connection broke before PostgreSQL answered."
)
COMMITS_FENCED = Counter(
    "veza_commits_fenced_total", "Partitions whose part of a commit was refused, because another shard owned them."
)
PRESENCE_CHANGES = Counter("veza_presence_changes_total", "Changes of a user's presence that others were told.")
NOTIFICATIONS_PUSHED = Counter(
    "veza_notifications_pushed_total", "Notifications that gateways took for the sockets of their user."
)

# -- partitions and actors ---------------------------------------------------------------------------------------

SHARD_PARTITIONS = Gauge(
    "veza_shard_partitions", "Partitions that a shard owns.", ("shard",), multiprocess_mode="livesum"
)
PARTITION_EPOCH = Gauge(
    "veza_partition_epoch",
    "The epoch under which a shard owns a partition; 0 when it has given it up.",
    ("partition", "shard"),
    multiprocess_mode="livesum",
)
PARTITION_RATE = Gauge(
    "veza_partition_commands_per_second",
    "Commands of a partition's rooms and users, as a mean that forgets half each 10 s.",
    ("partition",),
    multiprocess_mode="livesum",
)
PARTITION_MOVES = Counter(
    "veza_partition_moves_total", "Partitions that were given to another shard, by reason.", ("reason",)
)
NODES = Gauge(
    "veza_nodes", "Machines of the cluster; none runs on one that is drained.", ("state",), multiprocess_mode="livesum"
)
FAILOVERS = Counter("veza_failovers_total", "Shards whose partitions were given to others.")
ACTORS = Gauge(
    "veza_actors",
    "Actors the Supervisor watches, by class, and whether they answer.",
    ("kind", "state"),
    multiprocess_mode="livesum",
)
ACTORS_LOST = Counter("veza_actors_lost_total", "Actors that died, broke or stayed silent.", ("kind", "reason"))

# -- queues between actors ---------------------------------------------------------------------------------------

OUTBOX_BYTES = Gauge(
    "veza_outbox_bytes", "What waits to be sent to other actors.", ("actor", "to"), multiprocess_mode="livesum"
)
OUTBOX_CALLS = Gauge(
    "veza_outbox_calls", "Calls to other actors in flight.", ("actor", "to"), multiprocess_mode="livesum"
)
OUTBOX_CALL_SECONDS = Histogram(
    "veza_outbox_call_seconds", "One call to another actor that carries a batch.", ("to",), buckets=_SECONDS
)

# -- processes and PostgreSQL ------------------------------------------------------------------------------------

LOOP_LAG = Histogram(
    "veza_event_loop_lag_seconds", "How late the event loop of an actor wakes a task.", ("kind",), buckets=_SECONDS
)
AUDIT_ROWS = Counter("veza_audit_rows_total", "Rows of the audit log that the JobRunner has committed.")
AUDIT_SPILT = Counter("veza_audit_rows_spilt_total", "Rows that waited too long and went to the log file.")
FULL_COLLECTIONS = Histogram(
    "veza_gc_full_collection_seconds",
    "Pauses of the garbage collector that visits everything.",
    ("kind",),
    buckets=_SECONDS,
)
LOOP_LAG_WORST = Gauge(
    "veza_event_loop_lag_worst_seconds",
    "The same: the worst of the last 15 s.",
    ("actor",),
    multiprocess_mode="livesum",
)
PROCESS_BYTES = Gauge(
    "veza_process_resident_bytes", "Resident memory of an actor.", ("actor",), multiprocess_mode="livesum"
)
PROCESS_CPU = Counter("veza_process_cpu_seconds_total", "Processor time of actors, by class.", ("kind",))
PROCESS_CORES = Gauge(
    "veza_process_cpu_cores",
    "Processor cores an actor kept busy, over the last 15 s.",
    ("actor",),
    multiprocess_mode="livesum",
)
POSTGRES_CONNECTIONS = Gauge(
    "veza_postgres_connections", "Connections to PostgreSQL.", ("actor", "state"), multiprocess_mode="livesum"
)
POSTGRES_AWAY = Counter("veza_postgres_away_seconds_total", "Seconds, over all shards, without a store for commits.")

# -- money -------------------------------------------------------------------------------------------------------

TRANSFERS = Counter("veza_transfers_total", "Tries of transfers to sellers, by what came of them.", ("outcome",))
REVERSALS = Counter("veza_reversals_total", "Tries of reversals of transfers, by what came of them.", ("outcome",))
PROVIDER_SECONDS = Histogram(
    "veza_payment_provider_seconds",
    "How long payment providers took to answer, by what they were asked.",
    ("call",),
    buckets=_SECONDS,
)
PROVIDER_AWAY = Gauge(
    "veza_payment_providers_away",
    "1 while a TransferProcessor leaves the provider alone, because it did not answer.",
    ("actor",),
    multiprocess_mode="livemax",
)
TRANSFERS_DUE = Gauge(
    "veza_transfers_due", "Transfers that could be sent now and are not.", ("actor",), multiprocess_mode="livemax"
)
PAYMENT_WEBHOOKS = Counter(
    "veza_payment_webhooks_total", "Webhooks of payment providers worked off, by what they did.", ("outcome",)
)
PAYMENT_ALERTS = Counter(
    "veza_payment_alerts_total", "Payments and refunds that a person must look at, by why.", ("reason",)
)
JOB_RUNS = Counter("veza_job_runs_total", "Runs of the jobs that are due now and then.", ("job", "outcome"))

# Anything else a client invents counts as one, or it could make as many series as it likes.
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"})
_LIVE_FILE = re.compile(r"gauge_live\w*_(\d+)\.db")


class Tally:
    """Counts in a dict, for what happens often; `flush` adds it to the counter. For one thread.

    The key is a string, or a class whose name is meant; without a label it is None. Series of `known` are there from
    the first flush on, for Prometheus sees no increase in a series that begins at 1.
    """

    def __init__(self, counter: Counter, known: Iterable[Hashable] = ()) -> None:
        self._counter = counter
        self._series: dict[Hashable, Counter] = {}
        self._counts: dict[Hashable, int] = dict.fromkeys(known, 0)

    def add(self, key: Hashable = None, amount: int = 1) -> None:
        counts = self._counts
        counts[key] = counts.get(key, 0) + amount

    def flush(self) -> None:
        for key, count in self._counts.items():
            series = self._series.get(key)
            if series is None:
                series = self._series[key] = self._counter if key is None else self._counter.labels(label_of(key))
            series.inc(count)
        self._counts.clear()


def label_of(key: Hashable) -> str:
    """`SendMessage` and its like by the word of the wire or in snake case; anything else as it is."""
    if not isinstance(key, type):
        return str(key)
    tag = getattr(getattr(key, "__struct_config__", None), "tag", None)
    return tag if isinstance(tag, str) else re.sub(r"(?<!^)(?=[A-Z])", "_", key.__name__).lower()


class RouteMeter:
    """Counts the requests of one route; its series are looked up once. A `probe` is called by machines."""

    def __init__(self, route: str, *, probe: bool = False) -> None:
        self.route = route
        self.probe = probe
        self._series: dict[tuple[str, int], tuple[Counter, Histogram]] = {}

    def observe(self, method: str, status: int, seconds: float) -> None:
        if method not in _METHODS:
            method = "other"
        series = self._series.get((method, status))
        if series is None:
            series = self._series[method, status] = (
                HTTP_REQUESTS.labels(method, self.route, str(status)),
                HTTP_SECONDS.labels(method, self.route),
            )
        series[0].inc()
        series[1].observe(seconds)


def prepare(directory: Path) -> None:
    """Make the directory of the node's metrics, empty. Before any process that writes there starts."""
    directory.mkdir(parents=True, exist_ok=True)
    for left in directory.glob("*.db"):
        left.unlink()


def exposition() -> tuple[bytes, str]:
    """All metrics of the node and their content type. Reads files: call it in a thread."""
    directory = os.environ.get(DIRECTORY_VARIABLE)
    if not directory:
        return render(REGISTRY), CONTENT_TYPE_LATEST
    forget_dead(Path(directory))
    registry = CollectorRegistry()
    MultiProcessCollector(registry, path=directory)
    return render(registry), CONTENT_TYPE_LATEST


def forget_dead(directory: Path) -> None:
    """Drop the live gauges of processes that are gone: a killed one could not do it itself."""
    for file in directory.glob("gauge_live*.db"):
        named = _LIVE_FILE.fullmatch(file.name)
        if named and not Path("/proc", named[1]).exists():
            mark_process_dead(int(named[1]), str(directory))
