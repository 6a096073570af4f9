"""The core of a stream shard: what gateways and ingests ask, what is stored, and what is told only then."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
import pytest

from veza.errors import Unavailable
from veza.ids import new_id
from veza.realtime import commands as c
from veza.realtime import stream_commands as s
from veza.realtime.events import Person
from veza.realtime.partition import STREAMS, partition_of
from veza.realtime.sanctions import Sanctioned
from veza.realtime.streams.batch import StreamBatch
from veza.realtime.streams.core import FLUSH_S, IDLE_S, SILENT_S, StreamCore
from veza.realtime.streams.life import Source, StreamStatus
from veza.realtime.streams.stream import StreamSnapshot
from veza.realtime.streams.supplies import StreamSupplies
from veza.realtime.streams.view import Stream, StreamCategory

ADA, BOB, EVE = (Person(UUID(int=number), name) for number, name in enumerate(("ada", "bob", "eve"), 1))
STREAM, OTHER = UUID(int=1 << 64), UUID(int=(1 << 64) + 1)
EPOCH = 3
WALL = datetime(2026, 1, 1, tzinfo=UTC)
KEY = b"k" * 32
GATEWAY, SECOND, INGEST = "Gateway-1", "Gateway-2", "Ingest-1"


def shown(stream_id: UUID = STREAM, **fields: Any) -> Stream:
    return msgspec.structs.replace(
        Stream(
            id=stream_id,
            user=ADA,
            title="Aria",
            description="",
            category=StreamCategory.MUSIC,
            tags=[],
            status=StreamStatus.DRAFT,
            is_live=False,
            is_private=False,
            is_recorded=False,
            slow_mode_seconds=0,
            playback_id="p" * 26,
            playback_url="/p",
            viewer_count=0,
            peak_viewers=0,
            message_count=0,
            reaction_count=0,
            scheduled_at=None,
            started_at=None,
            interrupted_at=None,
            ended_at=None,
            duration_s=None,
            created_at=WALL,
            updated_at=WALL,
        ),
        **fields,
    )


class World:
    """A shard that owns all, and whose store keeps what it is given."""

    def __init__(self, snapshot: StreamSnapshot | None = None, **options: Any) -> None:
        self.core = StreamCore(**options)
        self.core.grant({STREAMS + p: EPOCH for p in range(256)}, 0.0)
        self.snapshots = {STREAM: snapshot or StreamSnapshot(shown())}
        self.supplies = StreamSupplies(keys={ADA.id: KEY})
        self.now = 0.0
        self._ref = 0

    @property
    def wall(self) -> datetime:
        return WALL + timedelta(seconds=self.now)

    def ref(self) -> int:
        self._ref += 1
        return self._ref

    def decide(self, *sourced: tuple[str, s.StreamCommand]) -> StreamBatch:
        queue = list(sourced)
        for _, command in queue:
            command.epoch = command.epoch or EPOCH
        missing = self.core.missing(queue)
        self.core.install([self.snapshots[each] for each in missing if each in self.snapshots], self.now)
        self.core.lookups(queue)
        self.core.wants(queue)
        self.core.supply(self.supplies)
        return self.core.decide(queue, self.wall, self.now)

    def run(self, gateway: str, command: s.StreamCommand, lost: set[int] | None = None) -> list[c.Wire]:
        """What that gateway is told."""
        return items(self.stored(self.decide((gateway, command)), lost), gateway)

    def stored(self, batch: StreamBatch, lost: set[int] | None = None) -> StreamBatch:
        self.core.finish(batch, lost or set(), self.now)
        return batch

    def tick(self, *, storing: bool = True) -> StreamBatch:
        return self.stored(self.core.tick(self.wall, self.now, storing=storing))

    def ticks(self, seconds: float) -> bool:
        """Whether any life changes until then."""
        changed = []
        for _ in range(int(seconds)):
            self.now += 1
            changed.append(bool(self.tick().lives))
        return any(changed)

    def follow(self, gateway: str = GATEWAY, *people: Person, anonymous: int = 0) -> s.StreamFollowed:
        command = s.FollowStream(self.ref(), STREAM, [person.id for person in people], anonymous)
        followed = self.run(gateway, command)[-1]
        assert isinstance(followed, s.StreamFollowed)
        return followed

    def say(self, content: str, by: Person = BOB, **fields: Any) -> s.SayInStream:
        return s.SayInStream(self.ref(), STREAM, new_id(), by, content, **fields)

    def publish(self, source_id: UUID, ingest: str = INGEST, key: bytes = KEY) -> list[c.Wire]:
        self.core.heard(ingest, self.now)
        return self.run(ingest, s.PublishSource(self.ref(), STREAM, source_id, ingest, key))


def items(batch: StreamBatch, gateway: str) -> list[c.Wire]:
    return [line.item for line in batch.script.get(gateway, ())]


def changes(batch: StreamBatch) -> list[s.StreamChanged]:
    return [item for item in items(batch, GATEWAY) if isinstance(item, s.StreamChanged)]


def frames(told: list[c.Wire]) -> list[Any]:
    """The JSON of all frames, whatever they came in."""
    found: list[bytes] = []
    for item in told:
        if isinstance(item, c.Events | s.StreamChanged):
            found += item.frames
        elif isinstance(item, c.Transient):
            found.append(item.frame)
    return [msgspec.json.decode(frame[frame.index(b"{") :]) for frame in found]


def answer(told: list[c.Wire]) -> Any:
    [found] = [item for item in told if isinstance(item, c.Answer)]
    return msgspec.json.decode(found.data)


def refused(told: list[c.Wire]) -> str:
    [found] = [item for item in told if isinstance(item, c.Refusal)]
    return found.error


def test_who_follows_is_told_all_and_then_each_message_once() -> None:
    world = World()
    world.run(GATEWAY, world.say("first"))
    followed = world.follow(GATEWAY, BOB)
    assert (followed.head, followed.viewers) == (1, 1)
    assert [(seq, msgspec.json.decode(data)["content"]) for seq, data in followed.recent] == [(1, "first")]
    assert msgspec.json.decode(followed.state.shown)["title"] == "Aria"
    batch = world.stored(world.decide((SECOND, world.say("second")), (SECOND, world.say("third"))))
    [events] = items(batch, GATEWAY)
    assert isinstance(events, c.Events)
    assert (events.first_seq, len(events.frames)) == (2, 2)
    assert [frame["content"] for frame in frames([events])] == ["second", "third"]
    assert [type(item) for item in items(batch, SECOND)] == [c.Answer, c.Answer]
    assert [message.seq for message in batch.messages] == [2, 3]


def test_a_repeated_message_gets_its_first_answer() -> None:
    world = World()
    first = answer(world.run(GATEWAY, world.say("hello", client_msg_id="x")))
    again = answer(world.run(GATEWAY, world.say("hello", client_msg_id="x")))
    assert again == {**first, "duplicate": True}


@pytest.mark.parametrize(
    ("snapshot", "by", "error"),
    [
        (StreamSnapshot(shown(), sanctions=(Sanctioned(BOB.id, "mute", None),)), BOB, "Muted"),
        (StreamSnapshot(shown(), sanctions=(Sanctioned(BOB.id, "ban", None),)), BOB, "Banned"),
        (StreamSnapshot(shown(is_private=True)), BOB, "StreamNotFound"),
        (StreamSnapshot(shown(status=StreamStatus.ENDED, started_at=WALL, ended_at=WALL)), ADA, "Conflict"),
        (StreamSnapshot(shown()), EVE, "UserBlocked"),
    ],
)
def test_who_may_not_write(snapshot: StreamSnapshot, by: Person, error: str) -> None:
    world = World(snapshot)
    world.supplies = StreamSupplies(blocked={ADA.id: frozenset({EVE.id})})
    assert refused(world.run(GATEWAY, world.say("hello", by))) == error


def test_slow_mode_holds_viewers_and_not_who_moderates() -> None:
    world = World(StreamSnapshot(shown(slow_mode_seconds=10), moderators=(EVE.id,)))
    answer(world.run(GATEWAY, world.say("one")))
    assert refused(world.run(GATEWAY, world.say("two"))) == "RateLimited"
    for person in (ADA, EVE):
        for _ in range(2):
            answer(world.run(GATEWAY, world.say("mine", person)))
    world.now = 10.0
    answer(world.run(GATEWAY, world.say("two")))


def test_a_stream_that_is_not_there_or_not_ours() -> None:
    world = World()
    command = s.SayInStream(world.ref(), OTHER, new_id(), BOB, "hello")
    assert refused(world.run(GATEWAY, command)) == "StreamNotFound"
    world.core.revoke([partition_of(STREAM, STREAMS)])
    told = world.run(GATEWAY, world.say("hello"))
    assert isinstance(told[0], c.NotOwner)


def test_viewers_are_counted_over_gateways_and_told_once_a_second() -> None:
    world = World()
    world.follow(GATEWAY, ADA, BOB)
    world.follow(SECOND, BOB, EVE, anonymous=2)
    world.now = 2.0
    assert frames(items(world.tick(), GATEWAY)) == [
        {"type": "viewer_count", "stream_id": str(STREAM), "count": 5},
    ]
    world.run(SECOND, s.ReportViewers(STREAM, [], [EVE.id], 0))
    assert not items(world.tick(), GATEWAY)
    world.core.gateway_lost(SECOND, world.now)
    world.now = 3.0
    batch = world.tick()
    assert [frame["count"] for frame in frames(items(batch, GATEWAY))] == [2]
    assert not items(batch, SECOND)
    world.now = 3.0 + FLUSH_S
    assert (world.tick().figures[STREAM].viewer_count, world.core.streams[STREAM].audience.peak) == (2, 5)
    assert not world.tick().figures


def test_applause_is_summed() -> None:
    world = World()
    world.follow()
    world.run(GATEWAY, s.Applaud(STREAM, {"❤": 3}))
    world.run(SECOND, s.Applaud(STREAM, {"❤": 4, "🔥": 1}))
    world.now = 2.0
    told = frames(items(world.tick(), GATEWAY))
    assert {"type": "stream_reactions", "stream_id": str(STREAM), "counts": {"❤": 7, "🔥": 1}} in told


def test_a_stream_begins_is_interrupted_comes_back_and_ends() -> None:
    world = World()
    world.follow()
    one, two = new_id(), new_id()
    assert answer(world.publish(one))["playback_id"] == "p" * 26
    life = world.core.streams[STREAM].life
    assert life.source == Source(one, INGEST)
    world.now = 10.0
    batch = world.stored(world.decide((INGEST, s.SourceGone(world.ref(), STREAM, one, clean=False))))
    assert frames(items(batch, GATEWAY))[0]["stream"]["status"] == "interrupted"
    world.now = 60.0
    world.publish(two)
    assert world.core.streams[STREAM].life.status is StreamStatus.LIVE
    world.now = 100.0
    batch = world.stored(world.decide((INGEST, s.SourceGone(world.ref(), STREAM, two, clean=True))))
    [stopped] = frames(items(batch, GATEWAY))
    assert stopped == {"type": "stream_stopped", "stream_id": str(STREAM), "duration_s": 100.0, "peak_viewers": 0}
    assert batch.lives[STREAM].ended_at == world.wall


def test_who_does_not_come_back_has_ended_when_it_vanished() -> None:
    world = World(grace_s=60.0)
    source = new_id()
    world.publish(source)
    world.now = 10.0
    world.run(INGEST, s.SourceGone(world.ref(), STREAM, source, clean=False))
    world.now = 69.0
    assert not world.tick().lives
    world.now = 70.0
    assert world.tick().lives[STREAM].ended_at == WALL + timedelta(seconds=10)


def test_the_encoders_reconnect_wins_or_is_refused() -> None:
    one, two = new_id(), new_id()
    world = World()
    world.publish(one)
    told = world.publish(two)
    assert [item.source_id for item in told if isinstance(item, s.SourceCut)] == [one]
    world = World(take_over=False)
    world.publish(one)
    assert refused(world.publish(two)) == "Conflict"
    answer(world.publish(one))


def test_an_old_key_feeds_nothing() -> None:
    world = World()
    assert refused(world.publish(new_id(), key=b"o" * 32)) == "PermissionDenied"
    source = new_id()
    world.publish(source)
    world.supplies = StreamSupplies(keys={ADA.id: b"n" * 32}, shown={STREAM: shown()})
    batch = world.stored(world.decide((GATEWAY, s.RereadStream(world.ref(), STREAM, revoke=True))))
    assert [item.source_id for item in items(batch, INGEST) if isinstance(item, s.SourceCut)] == [source]
    assert world.core.streams[STREAM].life.status is StreamStatus.INTERRUPTED
    assert refused(world.publish(new_id())) == "PermissionDenied"


def test_a_source_whose_ingest_is_gone_is_missed() -> None:
    world = World()
    world.publish(new_id())
    world.core.gateway_lost(INGEST, world.now)
    assert not world.tick(storing=False).lives
    assert world.tick().lives[STREAM].status is StreamStatus.INTERRUPTED


def test_after_a_failover_an_ingest_has_a_moment_to_say_that_it_lives() -> None:
    snapshot = StreamSnapshot(shown(status=StreamStatus.LIVE, started_at=WALL), Source(OTHER, INGEST))
    for speaks in (True, False):
        world = World(snapshot)
        assert world.core.scanning([STREAM, OTHER]) == {STREAM, OTHER}
        world.core.install([snapshot], 0.0)
        if speaks:
            world.core.heard(INGEST, SILENT_S)
        assert not world.ticks(SILENT_S)
        assert world.ticks(1) is not speaks


def test_a_shard_that_was_asleep_takes_nobody_for_silent() -> None:
    world = World()
    world.publish(new_id())
    assert not world.ticks(1)
    world.now += 2 * SILENT_S
    assert not world.tick().lives
    assert not world.ticks(SILENT_S)
    assert world.ticks(1)


def test_an_external_source_is_its_owners_to_start_and_stop() -> None:
    world = World()
    assert refused(world.run(GATEWAY, s.StartStream(world.ref(), STREAM, BOB))) == "PermissionDenied"
    for _ in range(2):
        assert answer(world.run(GATEWAY, s.StartStream(world.ref(), STREAM, ADA)))["status"] == "live"
    assert refused(world.run(GATEWAY, s.StopStream(world.ref(), STREAM, BOB))) == "PermissionDenied"
    world.now = 5.0
    told = answer(world.run(GATEWAY, s.StopStream(world.ref(), STREAM, BOB, by_admin=True)))
    assert (told["status"], told["duration_s"]) == ("ended", 5)


def test_moderators_are_the_owners_to_appoint_and_moderate() -> None:
    world = World()
    world.follow()
    ban = s.SanctionViewer(world.ref(), STREAM, new_id(), BOB, EVE, "ban")
    assert refused(world.run(GATEWAY, ban)) == "PermissionDenied"
    world.run(GATEWAY, s.AppointModerator(world.ref(), STREAM, ADA, BOB, on=True))
    told = world.run(GATEWAY, msgspec.structs.replace(ban, ref=world.ref()))
    [changed] = [item for item in told if isinstance(item, s.StreamChanged)]
    assert changed.state is not None
    assert (changed.state.moderators, changed.state.banned) == ([BOB.id], [EVE.id])
    assert refused(world.run(GATEWAY, world.say("hello", EVE))) == "Banned"
    world.run(GATEWAY, s.LiftSanction(world.ref(), STREAM, BOB, EVE, "ban"))
    message = answer(world.run(GATEWAY, world.say("hello", EVE)))["message_id"]
    world.supplies = StreamSupplies(authors={(STREAM, UUID(message)): EVE.id})
    batch = world.decide((GATEWAY, s.RemoveStreamMessage(world.ref(), STREAM, BOB, UUID(message))))
    assert batch.removed == [(STREAM, UUID(message))]
    assert frames(items(world.stored(batch), GATEWAY))[0]["message_id"] == message
    assert not world.follow().recent
    gone = s.RemoveStreamMessage(world.ref(), STREAM, BOB, new_id())
    assert refused(world.run(GATEWAY, gone)) == "MessageNotFound"


def test_gateways_hear_of_a_ban_that_has_ended_by_itself() -> None:
    world = World()
    world.follow()
    world.run(GATEWAY, s.SanctionViewer(world.ref(), STREAM, new_id(), ADA, EVE, "ban", 60))
    world.run(GATEWAY, s.SanctionViewer(world.ref(), STREAM, new_id(), ADA, BOB, "ban"))
    assert not changes(world.tick())
    world.now = 61.0
    assert not changes(world.tick(storing=False)), "what is in memory may not be stored"
    [changed] = changes(world.tick())
    assert changed.state is not None
    assert (changed.state.banned, changed.frames) == ([BOB.id], [])
    assert not changes(world.tick()), "once"
    # Whoever follows first is told how it is.
    world.run(GATEWAY, s.UnfollowStream(STREAM))
    assert world.follow().state.banned == [BOB.id]
    assert not changes(world.tick())


def test_what_its_owner_changes_or_deletes_is_told() -> None:
    world = World()
    world.follow()
    world.supplies = StreamSupplies(shown={STREAM: shown(title="Fugue", slow_mode_seconds=5)})
    told = world.run(GATEWAY, s.RereadStream(world.ref(), STREAM))
    assert frames(told)[0]["stream"]["title"] == "Fugue"
    assert world.core.streams[STREAM].chat.slow_s == 5
    world.supplies = StreamSupplies()
    told = world.run(GATEWAY, s.RereadStream(world.ref(), STREAM))
    assert frames(told) == [{"type": "stream_updated", "stream_id": str(STREAM), "deleted": True}]
    assert STREAM not in world.core.streams


def test_what_a_fenced_commit_did_not_store_is_seen_by_nobody() -> None:
    world = World()
    world.follow()
    partition = partition_of(STREAM, STREAMS)
    told = world.run(GATEWAY, world.say("lost"), {partition})
    assert [type(item) for item in told] == [c.NotOwner]
    assert partition not in world.core.epochs


def test_a_commit_of_unknown_outcome_is_forgotten_and_read_anew() -> None:
    world = World()
    world.follow()
    batch = world.decide((GATEWAY, world.say("perhaps")))
    told = batch.answer_all(Unavailable())
    world.core.abandon(batch)
    assert [type(line.item) for line in told[GATEWAY]] == [c.Refusal]
    assert not items(batch, GATEWAY)
    assert STREAM not in world.core.streams
    assert world.core.unscanned >= {partition_of(STREAM, STREAMS)}


def test_without_a_store_only_watching_goes_on() -> None:
    world = World()
    world.follow()
    queue = [
        (GATEWAY, world.say("hello")),
        (GATEWAY, s.FollowStream(world.ref(), STREAM, [], 1)),
        (GATEWAY, s.Applaud(STREAM, {"❤": 1})),
        (GATEWAY, s.FollowStream(world.ref(), OTHER, [], 1)),
    ]
    answers, rest = world.core.refuse(queue, Unavailable())
    assert len(answers.script[GATEWAY]) == 2
    assert [type(command) for _, command in rest] == [s.FollowStream, s.Applaud]


def test_streams_that_nobody_needs_are_forgotten() -> None:
    world = World()
    world.run(GATEWAY, world.say("hello"))
    world.now = IDLE_S + 1
    assert world.core.put_to_sleep(world.now) == 0, "its figures are not stored yet"
    world.tick()
    assert world.core.put_to_sleep(world.now) == 1
    world.publish(new_id())
    world.now += IDLE_S + 1
    world.tick()
    assert world.core.put_to_sleep(world.now + IDLE_S) == 0


def test_the_wire_carries_all_of_it() -> None:
    world = World()
    say = world.say("hello")
    batch = s.decode_commands(c.encode_commands(GATEWAY, [say, s.Applaud(STREAM, {"❤": 1})]))
    assert batch.commands == [say, s.Applaud(STREAM, {"❤": 1})]
    followed = world.follow()
    found = s.decode_deliveries(c.encode_deliveries("StreamShard-1", [followed, s.SourceCut(OTHER)], 0.0))
    assert found.items == [followed, s.SourceCut(OTHER)]
