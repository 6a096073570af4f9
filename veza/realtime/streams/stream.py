"""One stream in a shard's memory: as it is shown, where it is in its life, and who takes part."""

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

import msgspec

from veza.realtime import protocol
from veza.realtime import stream_commands as s
from veza.realtime.sanctions import Sanctioned
from veza.realtime.streams.applause import Applause
from veza.realtime.streams.audience import Audience
from veza.realtime.streams.chat import Chat, StreamMessage
from veza.realtime.streams.life import Life, Source, StreamStatus
from veza.realtime.streams.view import Stream


class StreamSnapshot(msgspec.Struct, frozen=True):
    """What is stored of a stream: `head` is the seq of its last message, `recent` its last ones, oldest first."""

    shown: Stream
    source: Source | None = None
    head: int = 0
    recent: tuple[StreamMessage, ...] = ()
    moderators: tuple[UUID, ...] = ()
    sanctions: tuple[Sanctioned, ...] = ()


class Figures(msgspec.Struct, frozen=True):
    """What is counted, as it is stored."""

    viewer_count: int
    peak_viewers: int
    message_count: int
    reaction_count: int


class LiveStream:
    """`gateways` follow it; `stored` is the seq of the last message that is stored; `used_at` monotonic seconds."""

    def __init__(self, snapshot: StreamSnapshot, now: float) -> None:
        shown = snapshot.shown
        self.id = shown.id
        self.shown = shown
        self.life = Life(shown.status, shown.started_at, shown.interrupted_at, shown.ended_at, snapshot.source)
        self.chat = Chat(
            shown.id,
            shown.user.id,
            head=snapshot.head,
            recent=snapshot.recent,
            moderators=snapshot.moderators,
            sanctions=snapshot.sanctions,
            slow_s=shown.slow_mode_seconds,
        )
        # Gateways need a moment to say who watches: nobody is told of few for that.
        self.audience = Audience(shown.peak_viewers, told_at=now)
        self.applause = Applause(shown.reaction_count)
        self.gateways: set[str] = set()
        self.told_banned: list[UUID] = []  # who is banned, as the gateways know it
        self.stored = snapshot.head
        self.used_at = self.loaded_at = now
        self.flushed: Figures | None = None  # as they were last stored
        if shown.viewer_count == 0:
            self.flushed = self.figures()
        self.flushed_at = now

    @property
    def owner_id(self) -> UUID:
        return self.shown.user.id

    def figures(self) -> Figures:
        return Figures(self.audience.count, self.audience.peak, self.chat.head, self.applause.total)

    def reread(self, shown: Stream) -> None:
        """What its owner says of it has changed."""
        self.shown = shown
        self.chat.slow_s = shown.slow_mode_seconds

    def settle_status(self) -> None:
        """A time that it is scheduled for was set or taken away, before it began."""
        if not self.life.on_air and self.life.status is not StreamStatus.ENDED:
            self.life = Life(self.shown.status)

    def view(self, now: datetime) -> Stream:
        life, figures = self.life, self.figures()
        return msgspec.structs.replace(
            self.shown,
            status=life.status,
            is_live=life.on_air,
            started_at=life.started_at,
            interrupted_at=life.interrupted_at,
            ended_at=life.ended_at,
            duration_s=None if life.started_at is None else int(life.duration_s(now)),
            viewer_count=figures.viewer_count,
            peak_viewers=figures.peak_viewers,
            message_count=figures.message_count,
            reaction_count=figures.reaction_count,
        )

    def state(self, now: datetime) -> s.StreamState:
        return s.StreamState(
            protocol.json(self.view(now)),
            self.owner_id,
            self.shown.is_private,
            sorted(self.chat.moderators),
            self.chat.sanctions.banned(now),
        )

    # -- frames ----------------------------------------------------------------------------------------------

    def viewer_count(self, count: int) -> bytes:
        return self._frame("viewer_count", count=count)

    def reactions(self, counts: Mapping[str, int]) -> bytes:
        return self._frame("stream_reactions", counts=counts)

    def message_deleted(self, message_id: UUID) -> bytes:
        return self._frame("stream_message_deleted", message_id=message_id)

    def _frame(self, kind: str, **fields: object) -> bytes:
        return protocol.frame({"type": kind, "stream_id": self.id, **fields})


def wire(message: StreamMessage) -> dict[str, object]:
    """A message as viewers get it, in a frame of its own or among the last ones."""
    return {
        "type": "stream_message",
        "stream_id": message.stream_id,
        "seq": message.seq,
        "id": message.id,
        "sender": message.sender,
        "content": message.content,
        "client_msg_id": message.client_msg_id,
        "created_at": protocol.timestamp(message.created_at),
    }
