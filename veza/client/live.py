"""Live streams over REST."""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Any, TypedDict, TypeVar, Unpack

import msgspec

from veza.client.live_models import (
    Category,
    Order,
    OwnStreams,
    Playback,
    Recording,
    RecordingMessages,
    Sort,
    Stream,
    StreamHealth,
    StreamKey,
    StreamMessage,
    StreamMessages,
    Streams,
)
from veza.client.transport import Transport, part

T = TypeVar("T")

# None is left out of a body; this is sent.
_NULL = msgspec.Raw(b"null")


class StreamFields(TypedDict, total=False):
    """What may be said of a stream beside its title. In slow mode a person writes once in so many seconds."""

    description: str
    category: Category
    tags: Sequence[str]
    is_private: bool
    is_recorded: bool
    slow_mode_seconds: int
    scheduled_at: datetime | None


class StreamChanges(StreamFields, total=False):
    """What can be changed of a stream."""

    title: str


class LiveCalls:
    """`veza.live`. Every call raises a `ClientError` when refused. What everybody may see needs no sign-in."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._call = transport.call

    async def get(self, stream_id: str) -> Stream:
        """A private stream is seen by its owner alone."""
        return await self._look(f"live/streams/{part(stream_id)}", Stream)

    async def mine(self, limit: int = 20, offset: int = 0) -> OwnStreams:
        """One's own streams, newest first, with the key."""
        return await self._call("GET", "live/streams/me", OwnStreams, query={"limit": limit, "offset": offset})

    # What a creator does.

    async def create(self, title: str, **fields: Unpack[StreamFields]) -> Stream:
        """Make a stream. It goes on the air when its source comes; with `scheduled_at` it is announced for then."""
        return await self._call("POST", "live/streams", Stream, body={"title": title, **fields})

    async def update(self, stream_id: str, **changes: Unpack[StreamChanges]) -> Stream:
        """Change a stream of one's own; what is not given stays. `scheduled_at=None` makes it a draft again."""
        body: dict[str, Any] = {**changes}
        if "scheduled_at" in body:
            body["scheduled_at"] = _NULL if body["scheduled_at"] is None else body["scheduled_at"]
        return await self._call("PUT", f"live/streams/{part(stream_id)}", Stream, body=body)

    async def delete(self, stream_id: str) -> None:
        """Delete a stream of one's own and its chat; not while it is on the air."""
        await self._call("DELETE", f"live/streams/{part(stream_id)}", object)

    async def start(self, stream_id: str) -> Stream:
        """Go on the air with a source that does not publish to this server; again is harmless."""
        return await self._call("POST", f"live/streams/{part(stream_id)}/start", Stream)

    async def stop(self, stream_id: str) -> Stream:
        """End a stream, whatever its source; again is harmless."""
        return await self._call("POST", f"live/streams/{part(stream_id)}/stop", Stream)

    async def key(self) -> StreamKey:
        """What an encoder publishes with. It starts the newest stream that has not ended; without any, one is made."""
        return await self._call("GET", "live/streams/me/key", StreamKey)

    async def regenerate_key(self) -> StreamKey:
        """Another key; the one before is good no more, and what is published with it is cut."""
        return await self._call("POST", "live/streams/me/key/regenerate", StreamKey)

    async def health(self, stream_id: str) -> StreamHealth:
        """How well the encoder of a stream of one's own sends."""
        return await self._call("GET", f"live/streams/{part(stream_id)}/health", StreamHealth)

    async def delete_recording(self, stream_id: str) -> None:
        """Delete what is kept of a stream of one's own; the stream and its chat stay."""
        await self._call("DELETE", f"live/streams/{part(stream_id)}/recording", object)

    # What a viewer needs.

    async def playback(self, stream_id: str) -> Playback:
        """The address of the pictures. That of a private stream is signed, and good for some hours."""
        path = f"live/streams/{part(stream_id)}/playback"
        return await self._call("POST", path, Playback, signed=self._transport.signed_in)

    async def messages(
        self, stream_id: str, limit: int = 20, cursor: str | None = None, *, order: Order = "newest"
    ) -> StreamMessages:
        """A page of the chat; `cursor` is the `next_cursor` of the page before, in the same order."""
        query = {"limit": limit, "cursor": cursor, "order": order}
        return await self._look(f"live/streams/{part(stream_id)}/messages", StreamMessages, query)

    async def walk(self, stream_id: str, page: int = 100, *, order: Order = "newest") -> AsyncIterator[StreamMessage]:
        """All messages of the chat, fetched `page` at a time."""
        cursor: str | None = None
        while True:
            found = await self.messages(stream_id, page, cursor, order=order)
            for message in found.messages:
                yield message
            cursor = found.next_cursor
            if not found.has_more or cursor is None:
                return

    async def recording(self, stream_id: str) -> Recording:
        """What is kept of a stream. Raises `NotFound` where nothing is."""
        return await self._look(f"live/streams/{part(stream_id)}/recording", Recording)

    async def recording_messages(
        self, stream_id: str, limit: int = 20, cursor: str | None = None, *, from_s: float | None = None
    ) -> RecordingMessages:
        """A page of the chat along the recording: from its second `from_s` on, or where `cursor` says."""
        query = {"limit": limit, "cursor": cursor, "from_s": from_s}
        return await self._look(f"live/streams/{part(stream_id)}/recording/messages", RecordingMessages, query)

    async def list(
        self,
        q: str | None = None,
        *,
        is_live: bool | None = None,
        category: Category | None = None,
        tag: str | None = None,
        user_id: str | None = None,
        sort: Sort | None = None,
        limit: int = 20,
        offset: int = 0,
    ) -> Streams:
        """Public streams: those on the air first, by how many watch. `q` are words of title, tags or description."""
        query = {
            "q": q,
            "is_live": is_live,
            "category": category,
            "tag": tag,
            "user_id": user_id,
            "sort": sort,
            "limit": limit,
            "offset": offset,
        }
        return await self._look("live/streams", Streams, query)

    async def _look(self, path: str, result: type[T], query: dict[str, Any] | None = None) -> T:
        """Signed by whoever is signed in, for they may see more."""
        return await self._call("GET", path, result, query=query, signed=self._transport.signed_in)
