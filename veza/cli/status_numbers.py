"""What `veza status --watch` shows: two looks at `/metrics`, and what happened between them."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import msgspec

Labels = frozenset[tuple[str, str]]
INFINITY = float("inf")


class Look(NamedTuple):
    """The exposition at one moment: name → labels → value. `at` is in monotonic seconds."""

    at: float
    values: Mapping[str, Mapping[Labels, float]]

    def total(self, name: str, **labels: str) -> float:
        """The sum of a metric's series that have these labels."""
        wanted = set(labels.items())
        return sum(value for has, value in self.values.get(name, {}).items() if wanted <= has)

    def by(self, name: str, label: str) -> dict[str, float]:
        """The sums for each value of a label."""
        found: dict[str, float] = defaultdict(float)
        for labels, value in self.values.get(name, {}).items():
            found[dict(labels).get(label, "")] += value
        return dict(found)


class Quantiles(msgspec.Struct, frozen=True):
    """Of a histogram, in milliseconds; None when nothing happened."""

    p50: float | None = None
    p99: float | None = None


class Actor(msgspec.Struct, frozen=True, kw_only=True):
    """One Gateway, RoomShard or Supervisor. What it has none of is None."""

    name: str
    memory_mb: float
    cpu_cores: float
    loop_lag_ms: float
    partitions: int | None = None
    rooms: int | None = None
    users: int | None = None
    queued: int | None = None
    outbox_bytes: int | None = None


class Numbers(msgspec.Struct, frozen=True, kw_only=True):
    """One machine over `seconds`: totals at their end, rates a second within them. What the Supervisor knows (`nodes`,
    `failovers`, `actors_lost`, `silent`) is 0 on a machine where it does not run.
    """

    seconds: float
    sockets: int
    users: int
    nodes: int
    partitions: int
    messages_per_s: float
    events_per_s: float
    deliveries_per_s: float
    commands_per_s: float
    refusals_per_s: float
    commits_per_s: float
    commit_ms: Quantiles
    fanout_ms: Quantiles
    mailbox_commands: int
    outbox_bytes: int
    outbox_calls: int
    slow_closes: int
    failovers: int
    actors_lost: int
    silent: int
    postgres_away_s: float
    actors: list[Actor]


def parse(text: str, at: float) -> Look:
    """Raises ValueError for what is no exposition."""
    from prometheus_client.parser import text_string_to_metric_families

    values: dict[str, dict[Labels, float]] = defaultdict(dict)
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            values[sample.name][frozenset(sample.labels.items())] = sample.value
    return Look(at, values)


def compare(before: Look, after: Look) -> Numbers:
    """What happened from one look to the next."""
    seconds = max(after.at - before.at, 1e-9)

    def rate(name: str, **labels: str) -> float:
        # A counter that begins anew would show a negative rate.
        return round(max(0.0, after.total(name, **labels) - before.total(name, **labels)) / seconds, 1)

    return Numbers(
        seconds=round(seconds, 3),
        sockets=int(after.total("veza_sockets")),
        users=int(after.total("veza_users")),
        nodes=int(after.total("veza_nodes")),
        partitions=int(after.total("veza_shard_partitions")),
        messages_per_s=rate("veza_stored_events_total", kind="message"),
        events_per_s=rate("veza_stored_events_total"),
        deliveries_per_s=rate("veza_delivered_frames_total"),
        commands_per_s=rate("veza_commands_total"),
        refusals_per_s=rate("veza_refusals_total"),
        commits_per_s=rate("veza_commit_seconds_count"),
        commit_ms=quantiles(before, after, "veza_commit_seconds"),
        fanout_ms=quantiles(before, after, "veza_fanout_lag_seconds"),
        mailbox_commands=int(after.total("veza_mailbox_commands")),
        outbox_bytes=int(after.total("veza_outbox_bytes")),
        outbox_calls=int(after.total("veza_outbox_calls")),
        slow_closes=int(after.total("veza_sockets_closed_total", code="4008")),
        failovers=int(after.total("veza_failovers_total")),
        actors_lost=int(after.total("veza_actors_lost_total")),
        silent=int(after.total("veza_actors", state="silent")),
        postgres_away_s=round(after.total("veza_postgres_away_seconds_total"), 1),
        actors=_actors(after),
    )


def quantiles(before: Look, after: Look, name: str) -> Quantiles:
    """Of what a histogram of seconds counted between two looks, as Prometheus estimates them."""
    earlier, later = before.by(f"{name}_bucket", "le"), after.by(f"{name}_bucket", "le")
    buckets = sorted((float(bound), max(0.0, count - earlier.get(bound, 0.0))) for bound, count in later.items())
    return Quantiles(_quantile(0.5, buckets), _quantile(0.99, buckets))


def _quantile(share: float, buckets: Iterable[tuple[float, float]]) -> float | None:
    """`buckets` are (upper bound, how many so far), the last one's bound being infinite."""
    counted = list(buckets)
    if not counted or not counted[-1][1]:
        return None
    rank = share * counted[-1][1]
    lower, below = 0.0, 0.0
    for bound, count in counted:
        if count >= rank:
            # Above the last bound nothing is known but that.
            inside = lower if bound == INFINITY else lower + (bound - lower) * (rank - below) / (count - below)
            return round(inside * 1000, 2)
        lower, below = bound, count
    return None


def _actors(look: Look) -> list[Actor]:
    per = {
        "memory": look.by("veza_process_resident_bytes", "actor"),
        "cores": look.by("veza_process_cpu_cores", "actor"),
        "lag": look.by("veza_event_loop_lag_worst_seconds", "actor"),
        "partitions": look.by("veza_shard_partitions", "shard"),
        "rooms": look.by("veza_rooms_loaded", "shard") | look.by("veza_rooms_followed", "gateway"),
        "users": look.by("veza_users", "gateway"),
        "queued": look.by("veza_mailbox_commands", "shard") | look.by("veza_commands_waiting", "gateway"),
        "outbox": look.by("veza_outbox_bytes", "actor"),
    }

    def whole(what: str, name: str) -> int | None:
        return int(per[what][name]) if name in per[what] else None

    return [
        Actor(
            name=name,
            memory_mb=round(memory / 2**20, 1),
            cpu_cores=round(per["cores"].get(name, 0.0), 2),
            loop_lag_ms=round(per["lag"].get(name, 0.0) * 1000, 1),
            partitions=whole("partitions", name),
            rooms=whole("rooms", name),
            users=whole("users", name),
            queued=whole("queued", name),
            outbox_bytes=whole("outbox", name),
        )
        for name, memory in sorted(per["memory"].items())
    ]
