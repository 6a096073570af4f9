"""Prometheus metrics of all processes of a node.

With `PROMETHEUS_MULTIPROC_DIR` set before the first import, each process keeps its numbers in files there, and
any gateway's `/metrics` adds them up. Without it, a process shows its own.
"""

import os
import re
from pathlib import Path

from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client import generate_latest as render
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

DIRECTORY_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"

HTTP_REQUESTS = Counter(
    "veza_http_requests_total", "Requests answered, by route pattern.", ("method", "route", "status")
)
HTTP_SECONDS = Histogram(
    "veza_http_request_seconds",
    "From the request's last header to the response's first byte.",
    ("method", "route"),
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0),
)
SOCKETS = Gauge("veza_sockets", "Open WebSockets.", multiprocess_mode="livesum")
SOCKETS_CLOSED = Counter("veza_sockets_closed_total", "WebSockets closed by the server, by code.", ("code",))
STORED_EVENTS = Counter("veza_stored_events_total", "Durable room events committed.")
COMMIT_EVENTS = Histogram(
    "veza_commit_events", "Events in one group commit.", buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
)
COMMIT_SECONDS = Histogram(
    "veza_commit_seconds",
    "One group commit, from its decision to its deliveries.",
    buckets=(0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0),
)
SHARD_PARTITIONS = Gauge(
    "veza_shard_partitions", "Partitions that a shard owns.", ("shard",), multiprocess_mode="liveall"
)
GATEWAY_LAGGED = Counter("veza_gateway_lagged_total", "Times a gateway was cut back because it was behind.")
DELIVERED_FRAMES = Counter("veza_delivered_frames_total", "Frames written to sockets by fan-out.")
FAILOVERS = Counter("veza_failovers_total", "Shards whose partitions were given to others.")

# Anything else a client invents counts as one, or it could make as many series as it likes.
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"})
_LIVE_FILE = re.compile(r"gauge_live\w*_(\d+)\.db")


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
