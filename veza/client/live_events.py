"""What the viewers of a live stream are told, by `async for event in stream`."""

import logging
from datetime import datetime
from typing import Any

import msgspec

from veza.client.live_models import Stream, StreamMessage
from veza.client.models import Model

_log = logging.getLogger("veza.client")


class StreamStarted(Model, frozen=True, kw_only=True):
    """It is on the air."""

    stream_id: str
    started_at: datetime | None = None
    playback_url: str


class StreamStopped(Model, frozen=True, kw_only=True):
    """It has ended: nothing can be written any more."""

    stream_id: str
    duration_s: float = 0.0
    peak_viewers: int = 0


class StreamUpdated(Model, frozen=True, kw_only=True):
    """What is said of it has changed, or it was interrupted, or goes on. A deleted one has no `stream` any more, and
    this is its last event.
    """

    stream_id: str
    stream: Stream | None = None
    deleted: bool = False


class ViewerCount(Model, frozen=True, kw_only=True):
    """How many watch; told at most once a second."""

    stream_id: str
    count: int


class StreamReactions(Model, frozen=True, kw_only=True):
    """The reactions of all viewers in a second, by emoji."""

    stream_id: str
    counts: dict[str, int]


class StreamMessageDeleted(Model, frozen=True, kw_only=True):
    """A message that was shown is to be shown no more."""

    stream_id: str
    message_id: str


class StreamMessagesSkipped(Model, frozen=True, kw_only=True):
    """So many messages did not come here: this viewer was too slow, or away for longer than the last 50 messages."""

    stream_id: str
    count: int


class OtherStreamEvent(Model, frozen=True, kw_only=True):
    """An event of a kind or shape this version does not know; `data` is the whole of it."""

    stream_id: str
    type: str
    data: dict[str, Any]


StreamEvent = (
    StreamMessage
    | StreamStarted
    | StreamStopped
    | StreamUpdated
    | ViewerCount
    | StreamReactions
    | StreamMessageDeleted
    | StreamMessagesSkipped
    | OtherStreamEvent
)

_KNOWN: dict[str, type[StreamEvent]] = {
    "stream_message": StreamMessage,
    "stream_started": StreamStarted,
    "stream_stopped": StreamStopped,
    "stream_updated": StreamUpdated,
    "viewer_count": ViewerCount,
    "stream_reactions": StreamReactions,
    "stream_message_deleted": StreamMessageDeleted,
    "stream_messages_skipped": StreamMessagesSkipped,
}


def stream_event(kind: str, stream_id: str, raw: bytes) -> StreamEvent:
    """Read an event of a stream."""
    known = _KNOWN.get(kind)
    if known is not None:
        try:
            return msgspec.json.decode(raw, type=known)
        except msgspec.ValidationError as error:
            _log.warning("event %s of an unexpected shape: %s", kind, error)
    return OtherStreamEvent(stream_id=stream_id, type=kind, data=msgspec.json.decode(raw, type=dict[str, Any]))
