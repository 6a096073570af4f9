"""A live stream that is watched: its chat, its figures, what becomes of it."""

import asyncio
import uuid
from typing import TYPE_CHECKING, Any

import msgspec

from veza.client.cursor import StreamCursor
from veza.client.errors import ClientError, ProtocolError
from veza.client.live_events import (
    StreamEvent,
    StreamMessageDeleted,
    StreamMessagesSkipped,
    StreamStarted,
    StreamStopped,
    StreamUpdated,
    ViewerCount,
    stream_event,
)
from veza.client.live_models import Order, Playback, Stream, StreamMessage, StreamMessages, StreamSanctioned
from veza.client.live_moderation import Action
from veza.client.models import Model, Stored
from veza.client.subscription import Subscription

if TYPE_CHECKING:
    from veza.client.socket import Chat


class _Watched(Model, frozen=True, kw_only=True):
    """The reply to `watch_stream`."""

    stream: Stream
    viewer_count: int
    messages: list[StreamMessage]


_WATCHED = msgspec.json.Decoder(_Watched)


class WatchedStream:
    """`async for event in stream` yields what its viewers are told; messages in order of `seq`, none twice.

    It begins with the last 50 messages. After a cut it goes on with those that came meanwhile, tells of what was
    deleted, and by `StreamMessagesSkipped` of how many cannot be had; `StreamUpdated` says what the stream is by then.
    A stream of thousands goes on for whoever keeps up: of events beyond the buffer the oldest are dropped, and counted
    in `dropped`. The iteration ends when it is unwatched or deleted, or the chat is closed; it raises what ended it
    otherwise (`SessionEnded`, `Banned` or `NotFound` after a reconnect, …).
    """

    def __init__(self, chat: "Chat", stream_id: str, last_seq: int | None, limit: int) -> None:
        self.id = stream_id
        self._chat = chat
        self._cursor = StreamCursor(last_seq)
        self._events: Subscription[StreamEvent] = Subscription(limit)
        self._stream: Stream | None = None
        self._viewer_count = 0
        self._open = True
        self._answered = asyncio.Event()
        self._error: ClientError | None = None

    @property
    def stream(self) -> Stream:
        """What is known of it now."""
        if self._stream is None:
            raise ClientError("The stream has not answered yet.")
        return self._stream

    @property
    def viewer_count(self) -> int:
        return self._viewer_count

    @property
    def last_seq(self) -> int | None:
        """The seq of the newest message received: give it to `watch` to continue another time."""
        return self._cursor.last_seq

    @property
    def live(self) -> bool:
        """Whether events come as they happen; false while the connection is cut."""
        return self._cursor.live

    @property
    def dropped(self) -> int:
        """How many events its consumer was too slow for."""
        return self._events.dropped

    def __aiter__(self) -> "WatchedStream":
        return self

    async def __anext__(self) -> StreamEvent:
        return await anext(self._events)

    async def unwatch(self) -> None:
        """No more events. What was received can still be consumed."""
        await self._chat.unwatch(self)

    # Its chat.

    async def send(self, content: str, *, client_msg_id: str | None = None, timeout: float | None = None) -> Stored:
        """Send a message; return when it is stored, once, whatever happens to the connection meanwhile.

        Tries with one id until the server answers. Raises the server's refusal (`RateLimited`, also in slow mode,
        `Muted`, `Banned`, `Conflict` once the stream has ended, …), after which it is not stored, or `CommandTimeout`
        after `timeout` seconds, when that is not known: sending again with the same `client_msg_id` is safe.
        """
        arguments = {
            "stream_id": self.id,
            "content": content,
            "client_msg_id": client_msg_id or str(uuid.uuid4()),
        }
        return await self._chat.ask("stream_message", arguments, Stored, timeout=timeout)

    async def react(self, emoji: str) -> None:
        """Show an emoji to all viewers. Not while the connection is cut: late it would be wrong."""
        if self.live:
            await self._chat.request("stream_react", {"stream_id": self.id, "emoji": emoji})

    async def history(self, limit: int = 20, cursor: str | None = None, *, order: Order = "newest") -> StreamMessages:
        """See `LiveCalls.messages`."""
        return await self._chat.calls.live.messages(self.id, limit, cursor, order=order)

    async def playback(self) -> Playback:
        """The address of the pictures."""
        return await self._chat.calls.live.playback(self.id)

    # Order in it.

    async def delete(self, message_id: str) -> None:
        """See `LiveModerationCalls`, here and below."""
        await self._chat.calls.live_moderation.delete_message(self.id, message_id)

    async def mute(self, user_id: str, duration_s: int | None = None, reason: str = "") -> StreamSanctioned:
        return await self._chat.calls.live_moderation.mute(self.id, user_id, duration_s, reason)

    async def ban(self, user_id: str, duration_s: int | None = None, reason: str = "") -> StreamSanctioned:
        return await self._chat.calls.live_moderation.ban(self.id, user_id, duration_s, reason)

    async def lift(self, user_id: str, action: Action) -> None:
        await self._chat.calls.live_moderation.lift(self.id, user_id, action)

    # What follows is the chat's side.

    @property
    def open(self) -> bool:
        return self._open

    async def answered(self) -> None:
        """Wait for the first answer; raises what prevented it."""
        await self._answered.wait()
        if self._error is not None:
            raise self._error

    @property
    def settled(self) -> bool:
        """Whether it was answered once."""
        return self._stream is not None

    def suspend(self) -> None:
        """The connection is gone."""
        self._cursor.suspend()

    def take_answer(self, data: msgspec.Raw) -> None:
        """The reply to `watch_stream`. Raises `ProtocolError`."""
        try:
            found = _WATCHED.decode(data)
        except msgspec.MsgspecError as error:
            raise ProtocolError(f"The server's answer about a stream cannot be read: {error}") from error
        again = self.settled
        self._stream = found.stream
        if again:
            self._put(StreamUpdated(stream_id=self.id, stream=found.stream))
        if again and found.viewer_count != self._viewer_count:
            self._put(ViewerCount(stream_id=self.id, count=found.viewer_count))
        self._viewer_count = found.viewer_count
        recent = self._cursor.recent([(message.seq, message.id, message) for message in found.messages])
        for message_id in recent.deleted:
            self._put(StreamMessageDeleted(stream_id=self.id, message_id=message_id))
        if recent.skipped:
            self._put(StreamMessagesSkipped(stream_id=self.id, count=recent.skipped))
        for message in recent.fresh:
            self._put(message)
        self._answered.set()

    def take(self, kind: str, raw: bytes) -> None:
        """An event that arrived."""
        event = stream_event(kind, self.id, raw)
        match event:
            case StreamMessage() if not self._cursor.message(event.seq, event.id):
                return
            case StreamMessageDeleted(message_id=message_id):
                self._cursor.deleted(message_id)
            case StreamStarted() | StreamStopped() | StreamUpdated() | ViewerCount():
                self._learn(event)
        self._put(event)
        if isinstance(event, StreamUpdated) and event.deleted:
            self.end()

    def end(self, error: ClientError | None = None) -> None:
        """No more events; `error` is what the consumer is told after the last one."""
        if self._open:
            self._open = False
            self._cursor.suspend()
            self._error = error
            self._events.close(error)
            self._answered.set()

    def _put(self, event: StreamEvent) -> None:
        if self._open:
            self._events.put(event)

    def _learn(self, event: StreamEvent) -> None:
        changes: dict[str, Any] = {}
        match event:
            case ViewerCount(count=count):
                self._viewer_count = count
            case StreamUpdated(stream=stream) if stream is not None:
                self._stream = stream
            case StreamStarted():
                changes = {"status": "live", "is_live": True, "started_at": event.started_at, "interrupted_at": None}
            case StreamStopped():
                changes = {
                    "status": "ended",
                    "is_live": False,
                    "interrupted_at": None,
                    "duration_s": event.duration_s,
                    "peak_viewers": event.peak_viewers,
                }
        if changes and self._stream is not None:
            self._stream = msgspec.structs.replace(self._stream, **changes)
