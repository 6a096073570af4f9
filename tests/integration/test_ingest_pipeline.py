"""A real encoder publishes, goes, and returns: what is on the disk plays."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import msgspec
import pytest
from ingest_studio import (
    HOST,
    KEY,
    PLAYBACK,
    Door,
    Replay,
    Seen,
    Studio,
    Tape,
    Wire,
    encoding,
    play,
    play_each,
    wired,
)
from system.waiting import within

from veza.actors.ingest.listener import Feed, Listener
from veza.actors.ingest.pipeline import Pipeline
from veza.actors.ingest.recorder import STATE
from veza.actors.tasks import TaskSet
from veza.errors import Unavailable
from veza.realtime.hls.playlist import part_name
from veza.realtime.hls.snapshot import Snapshot
from veza.realtime.rtmp.events import Media, MediaKind


@pytest.fixture
async def studio(tmp_path: Path) -> AsyncIterator[Studio]:
    tasks = TaskSet("test")
    seen = Seen(tmp_path)
    door = Door(seen)
    listener = Listener(door, tasks)
    await listener.start(HOST, 0)
    yield Studio(tmp_path, seen, door, listener, tasks)
    await listener.close()
    await tasks.close()


async def test_a_stream_from_its_beginning_to_its_end(studio: Studio) -> None:
    pipeline, seen = studio.pipeline(), studio.seen
    async with encoding(studio, seconds=5) as ffmpeg:
        await seen.until("two segments", lambda: seen.segments >= 2)
        report = pipeline.report()
        assert report.warnings == ()
        assert 20 < report.fps < 40
        assert report.key_interval_s == pytest.approx(1.0, abs=0.1)
        async with within(30, "ffmpeg to end"):
            await ffmpeg.wait()
        await seen.until("the end", lambda: bool(seen.ends))
    assert seen.ends == [True]
    assert (studio.directory / PLAYBACK / STATE).exists()
    await pipeline.end()
    assert seen.last.ended
    assert b"DISCONTINUITY" not in seen.last.plain
    assert b'CODECS="avc1.' in seen.last.multivariant
    played = await asyncio.to_thread(play, studio)
    # The encoder rounds the length; a picture less or more is right.
    assert 145 <= played.pictures <= 151
    assert 210 <= played.sounds <= 220
    assert played.sizes == {(320, 180)}
    # What is in the directory is what was told, and no state.
    there = set(os.listdir(studio.directory / PLAYBACK)) - {"parts.m3u8", "master.m3u8"}
    assert there == set(seen.files)
    assert len(seen.files) == len(there)
    with pytest.raises(Unavailable):
        pipeline.source()
    await pipeline.remove()
    assert not (studio.directory / PLAYBACK).exists()


async def test_an_encoder_that_is_killed_and_returns_with_another_picture(studio: Studio) -> None:
    pipeline, seen = studio.pipeline(), studio.seen
    async with encoding(studio) as ffmpeg:
        await seen.until("a part of the third segment", lambda: bool(seen.views) and seen.last.next_msn == 2)
        ffmpeg.send_signal(signal.SIGKILL)
        await seen.until("the end", lambda: bool(seen.ends))
    assert seen.ends == [False]
    async with encoding(studio, size="640x360"):
        await seen.until("a segment after it", lambda: b"DISCONTINUITY" in seen.last.plain)
    await pipeline.end()
    assert seen.last.plain.count(b"#EXT-X-DISCONTINUITY") == 1
    assert seen.last.plain.count(b"#EXT-X-MAP") == 2
    # FFmpeg's own player keeps the first size of a playlist, so each beginning is played by itself.
    before, after = await asyncio.to_thread(play_each, studio)
    assert (before.sizes, after.sizes) == ({(320, 180)}, {(640, 360)})
    assert before.pictures > 100
    assert after.pictures > 25
    assert before.sounds > 150
    assert after.sounds > 35


async def test_another_process_goes_on(studio: Studio) -> None:
    first, seen = studio.pipeline(), studio.seen
    async with encoding(studio):
        await seen.until("parts of an open segment", lambda: seen.segments >= 1 and seen.last.open_parts >= 2)
        # As if it was killed: what it leaves is all that the next one knows.
        first._worker.cancel()
        await asyncio.wait((first._worker,))
        before = seen.last
    opened, parts = before.next_msn, before.open_parts
    seen.views.clear()
    second = studio.pipeline()
    await seen.until("the view of what was there", lambda: bool(seen.views))
    assert f"seg-{opened}.m4s" in seen.last.plain.decode()
    assert part_name(opened, parts - 1) in seen.last.low_latency.decode()
    assert (studio.directory / PLAYBACK / part_name(opened, parts - 1)).exists()
    async with encoding(studio):
        await seen.until("a segment after it", lambda: b"DISCONTINUITY" in seen.last.plain)
    await second.end()
    assert not (studio.directory / PLAYBACK / STATE).exists()
    played = await asyncio.to_thread(play, studio, "parts.m3u8")
    assert played.pictures > 90
    assert played.sounds > 120


async def test_a_state_that_is_rubbish_is_not_gone_on_with(studio: Studio) -> None:
    (studio.directory / PLAYBACK).mkdir()
    (studio.directory / PLAYBACK / STATE).write_bytes(b"\xff rubbish")
    pipeline = studio.pipeline()
    await pipeline.end()
    assert studio.seen.views == []


@pytest.fixture(scope="module")
async def replay(tmp_path_factory: pytest.TempPathFactory) -> Replay:
    """Four seconds."""
    directory = tmp_path_factory.mktemp("tape")
    tasks, seen = TaskSet("test"), Seen(directory)
    pipeline = Pipeline(directory, PLAYBACK, on_view=seen.view, tasks=tasks)
    tape = Tape(pipeline, seen.end)
    tape.events = []

    class Taping:
        async def admit(self, key: str, source_id: UUID) -> Feed:
            assert (key, source_id.version) == (KEY, 7)
            return tape

    listener = Listener(Taping(), tasks)
    await listener.start(HOST, 0)
    async with encoding(Studio(directory, seen, Door(seen), listener, tasks), seconds=4):
        await seen.until("the end", lambda: bool(seen.ends))
    await listener.close()
    await tasks.close()
    assert tape.events
    return Replay(tape.events)


async def test_a_slow_disk_makes_it_full(studio: Studio, replay: Replay) -> None:
    seen = studio.seen
    pipeline = Pipeline(studio.directory, PLAYBACK, on_view=seen.view, tasks=studio.tasks, queue_bytes=20_000)
    wire = wired(pipeline, seen)
    replay.run(wire.feed)
    assert wire.feed.full
    await seen.until("room", lambda: wire.resumed > 0)
    assert not wire.feed.full
    # A newer source takes its place, and it is not held back for ever.
    replay.run(wire.feed, shift_ms=4000)
    assert wire.feed.full
    before = wire.resumed
    newer = wired(pipeline, seen)
    assert wire.resumed == before + 1
    assert not wire.feed.full
    replay.run(wire.feed)
    wire.feed.ended(False)
    replay.run(newer.feed)
    await pipeline.end()
    assert newer.dropped
    assert seen.last.low_latency.count(b"#EXT-X-DISCONTINUITY\n") == 1


async def test_what_was_sent_after_the_end_goes_nowhere(studio: Studio, replay: Replay) -> None:
    pipeline = studio.pipeline()
    feed = pipeline.source(studio.seen.end)
    await pipeline.end()
    assert studio.seen.views == []  # there was no media
    wire = Wire(feed)
    feed.opened(wire)
    assert wire.dropped
    replay.run(feed)
    assert studio.seen.views == []


async def test_a_disk_that_fails_ends_the_source_and_takes_the_next(
    studio: Studio, replay: Replay, caplog: pytest.LogCaptureFixture
) -> None:
    pipeline, seen = studio.pipeline(), studio.seen
    replay.run(wired(pipeline, seen).feed)
    await seen.until("a segment", lambda: seen.segments >= 1)
    directory = studio.directory / PLAYBACK
    # What stands where the next file should be cannot be written over, whoever one is.
    blocked = directory / f".{STATE}"
    blocked.mkdir()
    wire = wired(pipeline, seen)
    replay.run(wire.feed)
    await seen.until("the end", lambda: bool(seen.ends))
    assert wire.dropped == ["it cannot be written"]
    assert seen.ends == [False]
    assert "stream cannot be written" in caplog.text
    blocked.rmdir()
    replay.run(wired(pipeline, seen).feed)
    await pipeline.end()
    assert seen.last.plain.count(b"#EXT-X-DISCONTINUITY\n") >= 2
    played = await asyncio.to_thread(play, studio, "parts.m3u8")
    assert played.pictures >= 240


async def test_a_stream_that_began_elsewhere_uses_no_name_again(studio: Studio, replay: Replay) -> None:
    pipeline, seen = studio.pipeline(first=1000), studio.seen
    replay.run(wired(pipeline, seen).feed)
    await seen.until("a segment", lambda: seen.segments >= 1)
    assert b"#EXT-X-MEDIA-SEQUENCE:1000\n" in seen.last.plain
    assert b'#EXT-X-MAP:URI="init-1000.mp4"' in seen.last.plain
    await pipeline.close()


async def test_old_files_go(studio: Studio, replay: Replay) -> None:
    pipeline, seen = studio.pipeline(), studio.seen
    wire = wired(pipeline, seen)
    for turn in range(20):
        replay.run(wire.feed, shift_ms=turn * 4000)
    await seen.until("all", lambda: seen.last.next_msn >= 38 if seen.views else False)
    await pipeline.close()
    there = set(os.listdir(studio.directory / PLAYBACK))
    assert "seg-0.m4s" not in there
    assert part_name(0, 0) not in there
    assert len([name for name in there if name.startswith("seg")]) < 16
    state = msgspec.msgpack.decode((studio.directory / PLAYBACK / STATE).read_bytes(), type=Snapshot)
    assert state.open is None


@pytest.mark.parametrize(
    ("kind", "payload", "said"),
    [
        (MediaKind.VIDEO, b"\x92vp09\x00", "vp09"),  # of Enhanced RTMP, and not for our files
        (MediaKind.VIDEO, b"\x12\x00", "video codec 2"),
        (MediaKind.VIDEO, b"\x17\x00\x00\x00\x00\x01\x64\x00\x1f\xff\xe1\x00", "no sense"),
        (MediaKind.AUDIO, b"\x2f\x00", "MP3"),
    ],
)
async def test_what_cannot_be_taken_is_told(
    studio: Studio, replay: Replay, kind: MediaKind, payload: bytes, said: str
) -> None:
    pipeline = studio.pipeline()
    feed = pipeline.source()
    feed.media(Media(kind, 0, payload))
    (warning, *_) = pipeline.report().warnings
    assert said in warning
    assert kind in warning
    await pipeline.end()
