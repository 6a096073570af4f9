"""Metrics: their names, who writes them, and that dashboard, alerts and documentation know them all."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from veza import metrics
from veza.metrics import Tally, label_of
from veza.realtime import commands, protocol
from veza.realtime.events import EventKind

ROOT = Path(__file__).parents[2]
DASHBOARD = ROOT / "monitoring" / "grafana-dashboard.json"
ALERTS = ROOT / "monitoring" / "alerts.yml"
OPERATIONS = ROOT / "docs" / "operations.md"

NAME = re.compile(r"\bveza_[a-z_]+")
# Base units, as Prometheus wants them; what counts something else says what.
UNITS = ("_seconds", "_bytes", "_cores", "_total")
COUNTED = re.compile(
    r"veza_(sockets|users|nodes|partition_commands_per_second|rooms_\w+|streams_\w+|stream_viewers|ingest_\w+|commands_waiting|"
    r"mailbox_commands|outbox_calls|actors|\w+_partitions|"
    r"partition_epoch|rate_windows|\w+_events|postgres_connections|payment_providers_away|transfers_due)"
)


def defined() -> dict[str, tuple[str, Counter | Gauge | Histogram]]:
    """The name of each metric → its constant's name, and itself."""
    found: dict[str, tuple[str, Counter | Gauge | Histogram]] = {}
    for constant, value in vars(metrics).items():
        if isinstance(value, Counter | Gauge | Histogram):
            family = next(iter(value.collect()))
            found[family.name + ("_total" if family.type == "counter" else "")] = constant, value
    return found


def named(text: str) -> set[str]:
    """The metrics that a text names; of a histogram's series, the histogram."""
    known = defined()
    found = set()
    for name in NAME.findall(text):
        base = re.sub(r"_(bucket|sum|count)$", "", name)
        found.add(base if name not in known and base in known else name)
    return found


def expressions(node: Any) -> Iterator[str]:
    """Every PromQL expression of the dashboard."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key in {"expr", "query", "definition"} and isinstance(value, str):
                yield value
            else:
                yield from expressions(value)
    elif isinstance(node, list):
        for item in node:
            yield from expressions(item)


def shown() -> set[str]:
    return named("\n".join(expressions(json.loads(DASHBOARD.read_text()))))


def alerted() -> set[str]:
    return named(re.sub(r"(?m)^\s*#.*$", "", ALERTS.read_text()))


def test_the_dashboard_and_the_alerts_name_only_what_is_there() -> None:
    assert shown() - defined().keys() == set()
    assert alerted() - defined().keys() == set()


def test_every_metric_can_be_seen() -> None:
    assert defined().keys() - shown() == set()


def test_the_documentation_lists_every_metric_and_no_other() -> None:
    section = OPERATIONS.read_text().split("## Metrics\n")[1].split("\n## ")[0]
    listed = {
        name for line in section.splitlines() if line.startswith("| `veza_") for name in named(line.split("|")[1])
    }
    assert listed == defined().keys()


def test_the_documentation_says_what_to_do_about_every_alert() -> None:
    section = OPERATIONS.read_text().split("### Alerts\n")[1].split("\n## ")[0]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    explained = {name for row in rows for name in re.findall(r"\w+", row)}
    assert explained == set(re.findall(r"- alert: (\w+)", ALERTS.read_text()))


def test_every_metric_is_written_by_the_code() -> None:
    sources = "\n".join(path.read_text() for path in (ROOT / "veza").rglob("*.py") if path.name != "metrics.py")
    inside = (ROOT / "veza" / "metrics.py").read_text().split("class Tally")[1]
    unused = {
        constant
        for constant, _ in defined().values()
        if not re.search(rf"metrics\.{constant}\b", sources) and not re.search(rf"\b{constant}\.", inside)
    }
    assert unused == set()


@pytest.mark.parametrize("name", sorted(defined()))
def test_names_follow_the_conventions(name: str) -> None:
    _, metric = defined()[name]
    assert name.endswith("_total") == isinstance(metric, Counter)
    assert name.endswith(UNITS) or COUNTED.fullmatch(name)
    assert next(iter(metric.collect())).documentation.endswith(".")


@pytest.mark.parametrize("name", sorted(name for name, (_, metric) in defined().items() if isinstance(metric, Gauge)))
def test_gauges_end_with_their_process(name: str) -> None:
    """A dead actor's numbers would be added to those of the living for ever."""
    metric = defined()[name][1]
    assert metric._multiprocess_mode.startswith("live")


@pytest.mark.parametrize(
    "name", sorted(name for name, (_, metric) in defined().items() if not isinstance(metric, Gauge))
)
def test_what_outlives_an_actor_is_not_labelled_by_it(name: str) -> None:
    """Actors are replaced under new names: their counters would be ever more series."""
    metric = defined()[name][1]
    assert not {"actor", "shard", "gateway"} & set(metric._labelnames)


# -- tallies -----------------------------------------------------------------------------------------------------


def counter(*labels: str) -> tuple[Counter, CollectorRegistry]:
    registry = CollectorRegistry()
    return Counter("t_total", "Test.", labels, registry=registry), registry


def test_a_tally_reaches_its_counter_when_it_is_flushed() -> None:
    made, registry = counter("kind")
    tally = Tally(made)
    tally.add("a")
    tally.add("a", 2)
    tally.add("b")
    assert registry.get_sample_value("t_total", {"kind": "a"}) is None
    tally.flush()
    tally.flush()
    assert registry.get_sample_value("t_total", {"kind": "a"}) == 3
    assert registry.get_sample_value("t_total", {"kind": "b"}) == 1
    tally.add("a")
    tally.flush()
    assert registry.get_sample_value("t_total", {"kind": "a"}) == 4


def test_known_series_are_there_before_anything_happened() -> None:
    made, registry = counter("kind")
    Tally(made, known=EventKind).flush()
    assert registry.get_sample_value("t_total", {"kind": "message"}) == 0


def test_a_tally_without_a_label() -> None:
    made, registry = counter()
    tally = Tally(made, known=(None,))
    tally.add(amount=5)
    tally.flush()
    assert registry.get_sample_value("t_total") == 5


def test_classes_are_counted_by_the_word_of_the_wire() -> None:
    assert label_of(protocol.SendMessage) == "send_message"
    assert label_of(commands.GetPresence) == "get_presence"
    assert label_of(EventKind.MESSAGE) == "message"
    assert label_of("unavailable") == "unavailable"
