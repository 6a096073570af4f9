"""What a gateway tells its viewers of a stream whose shard died before it could."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
import pytest

from veza.realtime import protocol
from veza.realtime import stream_commands as s
from veza.realtime.events import Person
from veza.realtime.frames import payload_of
from veza.realtime.streams.life import StreamStatus
from veza.realtime.streams.view import Stream, StreamCategory
from veza.realtime.streams.watching import Missed, Watched

STREAM, ADA = UUID(int=1), Person(UUID(int=2), "ada")
WALL = datetime(2026, 1, 1, tzinfo=UTC)
LATER = WALL + timedelta(seconds=90.5)
LIVE = {"status": StreamStatus.LIVE, "is_live": True, "started_at": WALL}
INTERRUPTED = LIVE | {"status": StreamStatus.INTERRUPTED, "interrupted_at": LATER}
ENDED = LIVE | {"status": StreamStatus.ENDED, "is_live": False, "ended_at": LATER}
BASE = Stream(
    id=STREAM,
    user=ADA,
    title="Aria",
    description="",
    category=StreamCategory.MUSIC,
    tags=["a"],
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
)


def followed(**fields: Any) -> s.StreamFollowed:
    shown = msgspec.structs.replace(BASE, **fields)
    state = s.StreamState(protocol.json(shown), ADA.id, False, [], [])
    return s.StreamFollowed(1, STREAM, state, 1, 0, [], 1)


def told(before: dict[str, Any], after: dict[str, Any]) -> list[Any]:
    """To those who watched before."""
    entry: Watched[Any] = Watched(STREAM)
    assert entry.followed(followed(**before)) == Missed([], [], 0, 0)
    missed = entry.followed(followed(**after))
    assert (missed.older, missed.skipped) == ([], 0)
    return [msgspec.json.decode(payload_of(frame)) for frame in missed.frames]


@pytest.mark.parametrize(
    ("before", "after", "kinds"),
    [
        ({}, LIVE, ["stream_started"]),
        ({}, INTERRUPTED, ["stream_started", "stream_updated"]),
        ({}, ENDED, ["stream_stopped"]),
        (LIVE, INTERRUPTED, ["stream_updated"]),
        (INTERRUPTED, LIVE, ["stream_updated"]),
        (INTERRUPTED, ENDED, ["stream_stopped"]),
        (LIVE, LIVE | {"title": "Fugue"}, ["stream_updated"]),
        (ENDED, ENDED | {"title": "Fugue"}, ["stream_updated"]),
        (LIVE, LIVE, []),
    ],
)
def test_what_changed_meanwhile_is_told(before: dict[str, Any], after: dict[str, Any], kinds: list[str]) -> None:
    assert [frame["type"] for frame in told(before, after)] == kinds


def test_what_is_counted_is_no_news() -> None:
    counted = {"viewer_count": 3, "peak_viewers": 4, "message_count": 5, "reaction_count": 6}
    assert told(LIVE, LIVE | counted | {"duration_s": 7, "updated_at": LATER}) == []


def test_what_is_told_is_what_its_shard_would_have_told() -> None:
    [started] = told({}, LIVE)
    assert started == {
        "type": "stream_started",
        "stream_id": str(STREAM),
        "started_at": "2026-01-01T00:00:00.000000Z",
        "playback_url": "/p",
    }
    [stopped] = told(LIVE, ENDED | {"peak_viewers": 9})
    assert stopped == {"type": "stream_stopped", "stream_id": str(STREAM), "duration_s": 90.5, "peak_viewers": 9}
    [updated] = told(LIVE, INTERRUPTED)
    assert (updated["stream"]["status"], updated["stream"]["interrupted_at"]) == (
        "interrupted",
        "2026-01-01T00:01:30.500000Z",
    )
