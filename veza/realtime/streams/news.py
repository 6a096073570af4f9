"""What viewers are told of a stream itself: by its shard when it happens, by their gateway when that was missed."""

from uuid import UUID

import msgspec

from veza.realtime import protocol
from veza.realtime.streams.life import ON_AIR, StreamStatus
from veza.realtime.streams.view import Stream

# They are told in another way, or are what time alone changes.
_COUNTED = {
    "viewer_count": 0,
    "peak_viewers": 0,
    "message_count": 0,
    "reaction_count": 0,
    "duration_s": None,
    "updated_at": None,
}


def started(stream: Stream) -> bytes:
    started_at = stream.started_at
    return _frame(
        "stream_started",
        stream.id,
        started_at=started_at and protocol.timestamp(started_at),
        playback_url=stream.playback_url,
    )


def stopped(stream: Stream) -> bytes:
    seconds = 0.0
    if stream.started_at is not None and stream.ended_at is not None:
        seconds = (stream.ended_at - stream.started_at).total_seconds()
    return _frame("stream_stopped", stream.id, duration_s=round(seconds, 3), peak_viewers=stream.peak_viewers)


def updated(stream: Stream) -> bytes:
    return _frame("stream_updated", stream.id, stream=stream)


def gone(stream_id: UUID) -> bytes:
    """Of a deleted stream."""
    return _frame("stream_updated", stream_id, deleted=True)


def change(before: StreamStatus, stream: Stream) -> bytes:
    """Of a stream that had another status, or other words."""
    if stream.status is StreamStatus.ENDED and before is not StreamStatus.ENDED:
        return stopped(stream)
    if stream.status in ON_AIR and before not in ON_AIR:
        return started(stream)
    return updated(stream)


def missed(before: bytes, after: bytes) -> list[bytes]:
    """Of a stream that was last known as the JSON `before`: whoever told what changed it died before all had heard."""
    if before == after:
        return []
    old, new = (msgspec.json.decode(shown, type=Stream) for shown in (before, after))
    if msgspec.structs.replace(old, **_COUNTED) == msgspec.structs.replace(new, **_COUNTED):
        return []
    told = [change(old.status, new)]
    if new.status is StreamStatus.INTERRUPTED and not old.is_live:
        # It has started, and not only that.
        told.append(updated(new))
    return told


def _frame(kind: str, stream_id: UUID, **fields: object) -> bytes:
    return protocol.frame({"type": kind, "stream_id": stream_id, **fields})
