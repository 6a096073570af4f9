"""What `veza status --watch` makes of two expositions."""

import time

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from veza.cli.status_numbers import Look, Numbers, Quantiles, compare, parse, quantiles
from veza.cli.status_watch import COLUMNS, line, screen

SECONDS = (0.001, 0.01, 0.1, 1.0)


class Exposed:
    """A platform's metrics, as far as they are looked at."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.stored = Counter("veza_stored_events_total", "x", ("kind",), registry=self.registry)
        self.delivered = Counter("veza_delivered_frames_total", "x", registry=self.registry)
        self.closed = Counter("veza_sockets_closed_total", "x", ("code",), registry=self.registry)
        self.commit = Histogram("veza_commit_seconds", "x", registry=self.registry, buckets=SECONDS)
        self.sockets = Gauge("veza_sockets", "x", registry=self.registry)
        self.partitions = Gauge("veza_shard_partitions", "x", ("shard",), registry=self.registry)
        self.memory = Gauge("veza_process_resident_bytes", "x", ("actor",), registry=self.registry)
        self.users = Gauge("veza_users", "x", ("gateway",), registry=self.registry)

    def look(self, at: float) -> Look:
        return parse(generate_latest(self.registry).decode(), at)


def test_rates_are_what_happened_between_two_looks() -> None:
    exposed = Exposed()
    exposed.stored.labels("message").inc(1000)
    exposed.sockets.set(3)
    before = exposed.look(10.0)
    exposed.stored.labels("message").inc(100)
    exposed.stored.labels("member_joined").inc(20)
    exposed.delivered.inc(5000)
    exposed.closed.labels("4008").inc(2)
    exposed.closed.labels("1000").inc(50)
    exposed.sockets.set(7)
    numbers = compare(before, exposed.look(14.0))
    assert numbers.seconds == 4
    assert (numbers.messages_per_s, numbers.events_per_s, numbers.deliveries_per_s) == (25, 30, 1250)
    assert (numbers.sockets, numbers.slow_closes) == (7, 2)
    assert numbers.commit_ms == Quantiles(None, None)


def test_a_counter_that_begins_anew_shows_nothing_rather_than_less() -> None:
    old, new = Exposed(), Exposed()
    old.delivered.inc(1000)
    new.delivered.inc(5)
    assert compare(old.look(1.0), new.look(2.0)).deliveries_per_s == 0


def test_quantiles_are_those_of_the_time_between() -> None:
    exposed = Exposed()
    for _ in range(1000):
        exposed.commit.observe(0.9)
    before = exposed.look(1.0)
    for _ in range(99):
        exposed.commit.observe(0.005)
    exposed.commit.observe(0.5)
    found = quantiles(before, exposed.look(2.0), "veza_commit_seconds")
    # In the bucket from 1 to 10 ms: 50 of the 99 in it from its beginning.
    assert found.p50 == pytest.approx(1 + 9 * 50 / 99, abs=0.01)
    assert found.p99 == pytest.approx(10)
    for _ in range(1000):
        exposed.commit.observe(60)
    assert quantiles(before, exposed.look(3.0), "veza_commit_seconds").p99 == 1000


def watched() -> Numbers:
    exposed = Exposed()
    exposed.memory.labels("RoomShard-0a1b2c3d-00112233").set(64 * 2**20)
    exposed.memory.labels("Gateway-0a1b2c3d-44556677").set(96 * 2**20)
    exposed.partitions.labels("RoomShard-0a1b2c3d-00112233").set(256)
    exposed.users.labels("Gateway-0a1b2c3d-44556677").set(12)
    return compare(exposed.look(1.0), exposed.look(2.0))


def test_actors_show_what_they_have() -> None:
    gateway, shard = watched().actors
    assert (gateway.name, gateway.users, gateway.partitions) == ("Gateway-0a1b2c3d-44556677", 12, None)
    assert (shard.memory_mb, shard.partitions, shard.users) == (64, 256, None)


def test_the_screen_has_every_number_and_no_control_code() -> None:
    shown = "\n".join(screen(watched()))
    for word in ("sockets", "messages", "commit", "fan-out", "partitions", "failovers", "RoomShard-0a1b2c3d-00112233"):
        assert word in shown
    assert shown.replace("\n", "").isprintable()
    assert max(map(len, shown.splitlines())) < 110


def test_a_line_stands_under_its_names() -> None:
    shown = line(watched())
    assert len(shown) == sum(width for _, width in COLUMNS)
    assert shown.startswith(time.strftime("%H:"))
    assert shown.isprintable()


def test_what_is_no_exposition_is_refused() -> None:
    with pytest.raises(ValueError, match="veza"):
        parse("<html>veza</html>", 1.0)
