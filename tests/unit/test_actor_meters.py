"""What actors measure of themselves: their pulse, a shard's rounds, a gateway's fan-out."""

import logging
import os
import time
from datetime import UTC, datetime
from uuid import UUID

import psutil
import pytest
from prometheus_client import REGISTRY

from veza import metrics
from veza.actors.pulse import WINDOW, Pulse, resident_bytes
from veza.actors.shard_meter import SHOWN_TRACES, SLOW_S, Held, ShardMeter, Times, traces
from veza.errors import Unavailable
from veza.http import trace
from veza.http.gateway_meter import FanoutMeter, delivered
from veza.realtime import commands as c
from veza.realtime.batch import Batch, Sourced
from veza.realtime.events import EventKind, Person, RoomEvent
from veza.realtime.partition import partition_of
from veza.realtime.principal import Principal, Role

ADA = Person(UUID(int=1), "ada")
ROOM, OTHER = UUID(int=7), UUID(int=8)
QUICK = Times(0.001, 0.001)
SECRET = "what ada wrote"


def value(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


# -- pulse -------------------------------------------------------------------------------------------------------


def test_the_worst_lag_is_shown_until_its_time_is_over() -> None:
    samples: list[int] = []
    pulse = Pulse("room_shard", "RoomShard-pulse", lambda: samples.append(1))

    def worst() -> float:
        return value("veza_event_loop_lag_worst_seconds", actor="RoomShard-pulse")

    pulse.beat(0.4, now=1.0, cpu=1.0)
    for second in range(2, WINDOW + 1):
        pulse.beat(0.001, now=float(second), cpu=1.0)
        assert worst() == 0.4
    pulse.beat(0.001, now=WINDOW + 1.0, cpu=1.0)
    assert worst() == 0.001
    assert len(samples) == WINDOW + 1


def test_processor_time_is_counted_and_shown_as_cores() -> None:
    before = value("veza_process_cpu_seconds_total", kind="pulse-test")
    pulse = Pulse("pulse-test", "Gateway-pulse", lambda: None)
    pulse.beat(0.0, now=10.0, cpu=2.0)
    pulse.beat(0.0, now=11.0, cpu=2.5)
    pulse.beat(0.0, now=12.0, cpu=3.5)
    assert value("veza_process_cpu_seconds_total", kind="pulse-test") - before == 3.5
    assert value("veza_process_cpu_cores", actor="Gateway-pulse") == 0.75
    assert value("veza_process_resident_bytes", actor="Gateway-pulse") > 0


def test_resident_memory_is_what_the_system_says() -> None:
    said = psutil.Process(os.getpid()).memory_info().rss
    assert abs(resident_bytes() - said) < 32 * 2**20


# -- shards ------------------------------------------------------------------------------------------------------


def post(number: int, room_id: UUID = ROOM, trace: str = "") -> c.Post:
    return c.Post(number, room_id, UUID(int=1000 + number), ADA, SECRET, trace=trace)


def batch_of(*posts: c.Post, kind: EventKind = EventKind.MESSAGE) -> Batch:
    batch = Batch()
    for seq, command in enumerate(posts, 1):
        now = datetime(2026, 1, 1, tzinfo=UTC)
        batch.add(RoomEvent(command.room_id, seq, command.id, kind, ADA, now, {"content": SECRET}), [])
    return batch


def queue_of(*posts: c.Post) -> list[Sourced]:
    return [("Gateway-1", command) for command in posts]


def held(**changed: object) -> Held:
    return Held({}, 0, 0, 2, storing=True, outbox=(0, 0))._replace(**changed)  # type: ignore[arg-type]


def test_a_shard_shows_what_it_holds() -> None:
    meter = ShardMeter("RoomShard-held")
    meter.took([post(1), post(2), c.GetPresence(3, [])])
    meter.sample(held(epochs={3: 9, 4: 1}, subjects=5, queued=6, outbox=(7, 1)), now=1.0)
    shard = {"shard": "RoomShard-held"}
    assert value("veza_shard_partitions", **shard) == 2
    assert value("veza_rooms_loaded", **shard) == 5
    assert value("veza_mailbox_commands", **shard) == 6
    assert value("veza_outbox_bytes", actor="RoomShard-held", to="gateways") == 7
    assert value("veza_outbox_calls", actor="RoomShard-held", to="gateways") == 1
    assert value("veza_postgres_connections", actor="RoomShard-held", state="used") == 2
    assert value("veza_shard_commands_total", command="post") >= 2
    assert value("veza_shard_commands_total", command="get_presence") >= 1


def test_the_partition_map_follows_what_a_shard_owns() -> None:
    meter = ShardMeter("RoomShard-map")

    def epoch(partition: int) -> float | None:
        return REGISTRY.get_sample_value(
            "veza_partition_epoch", {"partition": str(partition), "shard": "RoomShard-map"}
        )

    meter.sample(held(epochs={3: 9, 4: 1}), now=1.0)
    assert (epoch(3), epoch(4), epoch(5)) == (9, 1, None)
    meter.sample(held(epochs={4: 2, 5: 1}), now=2.0)
    assert (epoch(3), epoch(4), epoch(5)) == (0, 2, 1)


def test_time_without_a_store_adds_up() -> None:
    meter = ShardMeter("RoomShard-away")
    before = value("veza_postgres_away_seconds_total")
    meter.sample(held(), now=10.0)
    meter.sample(held(storing=False), now=11.0)
    meter.sample(held(storing=False), now=12.5)
    meter.sample(held(), now=13.5)
    assert value("veza_postgres_away_seconds_total") - before == 2.5


def test_only_what_is_stored_counts() -> None:
    meter = ShardMeter("RoomShard-lost")
    before = {name: value(name) for name in ("veza_commits_fenced_total", "veza_commit_events_count")}
    meter.sample(held(), now=1.0)
    stored = value("veza_stored_events_total", kind="message_edited")
    one, other = post(1), post(2, OTHER)
    assert partition_of(ROOM) != partition_of(OTHER)
    meter.finished(batch_of(one, other, kind=EventKind.MESSAGE_EDITED), {partition_of(OTHER)})
    meter.sample(held(), now=2.0)
    assert value("veza_stored_events_total", kind="message_edited") - stored == 1
    assert value("veza_commits_fenced_total") - before["veza_commits_fenced_total"] == 1
    assert value("veza_commit_events_count") - before["veza_commit_events_count"] == 1


def test_traces_are_those_of_the_stored_commands_in_order() -> None:
    first, second, refused, lost = post(1, trace="a-1"), post(2), post(3, trace="a-3"), post(4, OTHER, trace="b-4")
    last = post(5, trace="c-5")
    batch = batch_of(first, second, lost, last)
    queue = queue_of(first, second, refused, lost, last)
    assert list(traces(batch, queue, {partition_of(OTHER)})) == ["a-1", "c-5"]


def commit(meter: ShardMeter, times: Times, *posts: c.Post) -> None:
    batch = batch_of(*posts)
    meter.finished(batch, set())
    meter.committed(batch, queue_of(*posts), set(), times)


def test_an_ordinary_commit_is_logged_at_debug_only(caplog: pytest.LogCaptureFixture) -> None:
    meter = ShardMeter("RoomShard-quiet")
    with caplog.at_level(logging.INFO):
        commit(meter, QUICK, post(1, trace="a-1"))
    assert caplog.records == []
    with caplog.at_level(logging.DEBUG):
        commit(meter, QUICK, *(post(number, trace=f"a-{number}") for number in range(100)))
    (line,) = caplog.records
    assert (line.levelname, line.getMessage()) == ("DEBUG", "committed")
    assert vars(line)["batch"] == "RoomShard-quiet:2"
    assert vars(line)["events"] == 100
    assert vars(line)["traces"].split(",") == [f"a-{number}" for number in range(100)]
    assert SECRET not in str(vars(line))


def test_a_slow_commit_is_logged_at_any_level(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        posts = [post(number, trace=f"a-{number}") for number in range(SHOWN_TRACES + 10)]
        commit(ShardMeter("RoomShard-slow"), Times(SLOW_S * 2, SLOW_S / 2), *posts)
    (line,) = caplog.records
    assert (line.levelname, line.getMessage()) == ("WARNING", "slow commit")
    assert vars(line)["seconds"] == SLOW_S * 2
    assert len(vars(line)["traces"].split(",")) == SHOWN_TRACES


# -- gateways ----------------------------------------------------------------------------------------------------


def test_fan_out_is_measured_from_the_commit_once_a_delivery() -> None:
    delivered.flush()
    before = {
        name: value(name)
        for name in (
            "veza_fanout_lag_seconds_count",
            "veza_fanout_lag_seconds_sum",
            "veza_delivery_events_count",
            "veza_delivered_frames_total",
        )
    }
    meter = FanoutMeter()
    events = c.Events(ROOM, 1, [b"x", b"y"])
    sent = [
        c.DeliveryBatch("RoomShard-1", [events], time.time() - 5),
        c.DeliveryBatch("RoomShard-1", [c.Answer(1, b"{}")]),
        c.DeliveryBatch("RoomShard-2", [events], time.time() + 5),
    ]
    assert list(meter.decode(map(c.encode, sent))) == sent
    meter.wrote(frames=2, sockets=3)
    meter.done()
    delivered.flush()
    passed = {name: value(name) - was for name, was in before.items()}
    assert passed["veza_fanout_lag_seconds_count"] == 2
    # The clock of the second is ahead, which counts as no time at all.
    assert 5 <= passed["veza_fanout_lag_seconds_sum"] < 6
    assert passed["veza_delivery_events_count"] == 1
    assert passed["veza_delivered_frames_total"] == 6


def test_the_frames_of_two_sessions_have_traces_of_their_own() -> None:
    session = Principal(ADA.id, ADA.username, Role.USER, UUID("1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed"))
    one, two = trace.of_frame(session), trace.of_frame(session)
    assert one.startswith("fbbd4bed-")
    assert len({one, two, trace.of_frame(None)}) == 3


def test_a_command_carries_its_trace_and_is_logged_without_its_content(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        assert trace.traced(post, "a-1")(5).trace == "a-1"
        trace.answered("a-1", c.Answer(5, b"{}"))
    assert caplog.records == []
    with caplog.at_level(logging.DEBUG):
        trace.traced(post, "a-2")(6)
        trace.answered("a-2", c.Answer(6, b"{}"))
        trace.answered("a-2", Unavailable())
    received, answered, refused = (vars(line) for line in caplog.records)
    assert (received["trace"], received["command"], received["room"]) == ("a-2", "Post", ROOM)
    assert (answered["trace"], answered["outcome"]) == ("a-2", "ok")
    assert refused["outcome"] == "unavailable"
    assert SECRET not in str([received, answered, refused])


def test_a_trace_survives_the_way_to_the_shard() -> None:
    sent = c.CommandBatch("Gateway-1", [post(1, trace="a-1"), c.MarkRead(2, ROOM, ADA.id, 5, trace="a-2")])
    assert [command.trace for command in c.decode_commands(c.encode(sent)).commands] == ["a-1", "a-2"]


def test_metrics_of_shards_have_no_series_of_their_content() -> None:
    assert SECRET not in metrics.exposition()[0].decode()
