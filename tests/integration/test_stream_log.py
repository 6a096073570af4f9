"""What stream shards store, and read again."""

from typing import Any
from uuid import UUID

import pytest
from stream_writer import FIELDS, StreamWriter, say
from writer import some_person

from veza.ids import new_id
from veza.realtime import commands as c
from veza.realtime import stream_commands as s
from veza.realtime.events import Person
from veza.realtime.streams.life import StreamStatus
from veza.realtime.streams.view import Stream
from veza.storage import blocks, stream_keys, streams
from veza.storage.stream_keys import StreamSecrets

SECRETS = StreamSecrets("secret")
INGEST = "Ingest-1"


@pytest.fixture
async def ada(pool: Any) -> Person:
    return await some_person(pool, "ada")


@pytest.fixture
async def bob(pool: Any) -> Person:
    return await some_person(pool, "bob")


@pytest.fixture
async def writer(pool: Any) -> StreamWriter:
    writer = StreamWriter(pool)
    await writer.take_over()
    return writer


@pytest.fixture
async def stream(pool: Any, ada: Person) -> Stream:
    return await streams.create(pool, ada.id, FIELDS)


async def publish(writer: StreamWriter, stream: Stream, source_id: UUID) -> Any:
    key = await stream_keys.key_of(writer.pool, SECRETS, stream.user.id)
    hashed = SECRETS.hash(key)
    writer.core.heard(INGEST, writer.now)
    [answer] = await writer.give(lambda ref: s.PublishSource(ref, stream.id, source_id, INGEST, hashed), gateway=INGEST)
    return answer


async def test_what_is_said_is_stored_and_read_back(
    writer: StreamWriter, stream: Stream, ada: Person, bob: Person
) -> None:
    first = say(stream, bob, "one", client_msg_id="x")
    [one, two] = await writer.give(first, say(stream, ada, "two"))
    assert (one["seq"], two["seq"]) == (1, 2)
    another = StreamWriter(writer.pool, "StreamShard-2")
    await another.take_over()
    [again] = await another.give(say(stream, bob, "one", client_msg_id="x"))
    assert again == {**one, "duplicate": True}
    [three] = await another.give(say(stream, bob, "three"))
    assert three["seq"] == 3
    recent = another.core.streams[stream.id].chat.recent
    assert [(message.seq, message.sender, message.content, message.client_msg_id) for message in recent] == [
        (1, bob, "one", "x"),
        (2, ada, "two", None),
        (3, bob, "three", None),
    ]
    [told] = await writer.give(say(stream, bob, "of an owner that was"))
    assert isinstance(told, c.NotOwner)
    found = await streams.messages(writer.pool, stream.id, after=None, oldest_first=True, limit=10)
    assert [each.content for each in found] == ["one", "two", "three"]


async def test_a_life_is_stored_and_taken_over(writer: StreamWriter, stream: Stream, pool: Any) -> None:
    source = new_id()
    assert (await publish(writer, stream, source))["playback_id"] == stream.playback_id
    shown = await streams.get(pool, stream.id, None)
    assert (shown.status, shown.is_live) == (StreamStatus.LIVE, True)
    row = await pool.fetchrow("SELECT source, source_id, ingest FROM streams WHERE id = $1", stream.id)
    assert tuple(row) == ("rtmp", source, INGEST)
    another = StreamWriter(pool, "StreamShard-2")
    await another.take_over()
    await another.scan()
    assert another.core.streams[stream.id].life == writer.core.streams[stream.id].life
    [_] = await another.give(lambda ref: s.SourceGone(ref, stream.id, source, clean=False))
    shown = await streams.get(pool, stream.id, None)
    assert (shown.status, shown.is_live, shown.interrupted_at is None) == (StreamStatus.INTERRUPTED, True, False)
    await publish(another, stream, back := new_id())
    await another.give(lambda ref: s.SourceGone(ref, stream.id, back, clean=True))
    shown = await streams.get(pool, stream.id, None)
    assert (shown.status, shown.is_live, shown.ended_at is None) == (StreamStatus.ENDED, False, False)


async def test_a_key_that_was_replaced_publishes_nothing(writer: StreamWriter, stream: Stream, pool: Any) -> None:
    key = await stream_keys.key_of(pool, SECRETS, stream.user.id)
    old = SECRETS.hash(key)
    await stream_keys.regenerate(pool, SECRETS, stream.user.id)
    [refused] = await writer.give(lambda ref: s.PublishSource(ref, stream.id, new_id(), INGEST, old))
    assert refused.error == "PermissionDenied"


async def test_figures_are_stored_and_a_peak_never_falls(
    writer: StreamWriter, stream: Stream, bob: Person, pool: Any
) -> None:
    await writer.give(lambda ref: s.FollowStream(ref, stream.id, [bob.id], 2), say(stream, bob, "hello"))
    await writer.give(lambda _: s.Applaud(stream.id, {"❤": 7}))
    writer.now = 10.0
    await writer.tick()
    shown = await streams.get(pool, stream.id, None)
    figures = (shown.viewer_count, shown.peak_viewers, shown.message_count, shown.reaction_count)
    assert figures == (3, 3, 1, 7)
    await writer.give(lambda _: s.UnfollowStream(stream.id))
    writer.now = 20.0
    await writer.tick()
    shown = await streams.get(pool, stream.id, None)
    assert (shown.viewer_count, shown.peak_viewers) == (0, 3)


async def test_moderation_outlives_its_shard(
    writer: StreamWriter, stream: Stream, ada: Person, bob: Person, pool: Any
) -> None:
    eve = await some_person(pool, "eve")
    [said] = await writer.give(say(stream, eve, "rude"))
    await writer.give(
        lambda ref: s.AppointModerator(ref, stream.id, ada, bob, on=True),
        lambda ref: s.SanctionViewer(ref, stream.id, new_id(), bob, eve, "mute", 600, "rude"),
        lambda ref: s.RemoveStreamMessage(ref, stream.id, bob, UUID(said["message_id"])),
    )
    for _ in range(2):
        another = StreamWriter(pool, "StreamShard-2")
        await another.take_over()
        [refused] = await another.give(say(stream, eve, "again"))
        assert refused.error == "Muted"
    known = another.core.streams[stream.id].chat
    assert (known.moderators, len(known.recent), known.head) == ({bob.id}, 0, 1)
    [kept] = await streams.messages(pool, stream.id, after=None, oldest_first=True, limit=10)
    assert kept.content is None
    await another.give(
        lambda ref: s.LiftSanction(ref, stream.id, bob, eve, "mute"),
        lambda ref: s.AppointModerator(ref, stream.id, ada, bob, on=False),
    )
    await blocks.block(pool, ada.id, bob.id)
    last = StreamWriter(pool, "StreamShard-3")
    await last.take_over()
    answers = await last.give(say(stream, eve, "better"), say(stream, bob, "blocked"))
    assert (answers[0]["seq"], answers[1].error) == (2, "UserBlocked")


async def test_what_its_owner_changed_is_read_anew(writer: StreamWriter, stream: Stream, pool: Any) -> None:
    await writer.give(lambda ref: s.FollowStream(ref, stream.id, [], 1))
    await streams.update(pool, stream.id, stream.user.id, {"title": "Fugue", "slow_mode_seconds": 9})
    await writer.give(lambda ref: s.RereadStream(ref, stream.id))
    known = writer.core.streams[stream.id]
    assert (known.shown.title, known.chat.slow_s) == ("Fugue", 9)
    await streams.delete(pool, stream.id, stream.user.id)
    await writer.give(lambda ref: s.RereadStream(ref, stream.id))
    [refused] = await writer.give(lambda ref: s.FollowStream(ref, stream.id, [], 1))
    assert refused.error == "StreamNotFound"
