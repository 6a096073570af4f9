"""What arrives over the socket without being asked for.

A *durable* event has a `room_id` and a `seq` and comes by `async for event in room`. What happens in a live stream
that is watched comes by `async for event in stream` (see `live_events`). All others come by `chat.events()` and may be
dropped or coalesced by the server.
"""

import logging
from datetime import datetime
from typing import Any

import msgspec

from veza.client.models import Message, Model, Notification, Person

_log = logging.getLogger("veza.client")


class RoomEvent(Model, frozen=True, kw_only=True):
    """Base of the durable events other than `Message`."""

    room_id: str
    seq: int
    id: str | None = None
    sender: Person | None = None
    created_at: datetime | None = None


class MessageEdited(RoomEvent, frozen=True, kw_only=True):
    """`content` is the new one. In a replay it is the last one, and None when the message was deleted since."""

    message_id: str
    content: str | None = None
    mentions: list[str] = msgspec.field(default_factory=list)
    edited_at: datetime | None = None


class MessageDeleted(RoomEvent, frozen=True, kw_only=True):
    """The message keeps its seq and shows no content; `sender` deleted it."""

    message_id: str


class ReactionAdded(RoomEvent, frozen=True, kw_only=True):
    """`sender` gave the emoji."""

    message_id: str
    emoji: str


class ReactionRemoved(RoomEvent, frozen=True, kw_only=True):
    """`sender` took the emoji back."""

    message_id: str
    emoji: str


class MessagePinned(RoomEvent, frozen=True, kw_only=True):
    message_id: str


class MessageUnpinned(RoomEvent, frozen=True, kw_only=True):
    message_id: str


class MemberJoined(RoomEvent, frozen=True, kw_only=True):
    """`user` is in now; `sender` let them in, or is the same."""

    user: Person
    role: str | None = None


class MemberLeft(RoomEvent, frozen=True, kw_only=True):
    """`user` is out; `reason` is `left`, `removed`, `kicked` or `banned`, the last three by `sender`."""

    user: Person
    reason: str | None = None


class MemberChange(Model, frozen=True, kw_only=True):
    """A member as they are now. One who is muted is so until `muted_until`, or with None until it is lifted."""

    user: Person
    role: str | None = None
    muted: bool = False
    muted_until: datetime | None = None


class RoomUpdated(RoomEvent, frozen=True, kw_only=True):
    """The room's name and retention as they are now, or `member` when the event tells of one."""

    name: str | None = None
    retention_days: int | None = None
    member: MemberChange | None = None


class RoomDeleted(RoomEvent, frozen=True, kw_only=True):
    """The last event of a room: iteration ends after it."""


class EventsExpired(RoomEvent, frozen=True, kw_only=True):
    """The events `from_seq` to `seq` are gone by the room's retention before this reader got them.

    Made by the client and delivered in their place: the iteration goes on after them.
    """

    from_seq: int

    @property
    def count(self) -> int:
        """How many events were missed."""
        return self.seq - self.from_seq + 1


class OtherRoomEvent(RoomEvent, frozen=True, kw_only=True):
    """A durable event of a kind or shape this version does not know; `data` is the whole of it."""

    type: str
    data: dict[str, Any]


class Typing(Model, frozen=True, kw_only=True):
    room_id: str
    user_id: str
    is_typing: bool


class Presence(Model, frozen=True, kw_only=True):
    user_id: str
    status: str
    room_id: str | None = None


class Read(Model, frozen=True, kw_only=True):
    room_id: str
    user_id: str
    last_read_seq: int


class OtherEvent(Model, frozen=True, kw_only=True):
    """A transient event of a kind this version has no class for, or of a stream that nobody watches here."""

    type: str
    data: dict[str, Any]


class Connected(Model, frozen=True, kw_only=True):
    """The socket is up (again). Rooms and streams catch up from where they stood."""

    session_id: str | None
    attempt: int


class Disconnected(Model, frozen=True, kw_only=True):
    """The socket is down; the next attempt is in `retry_in` seconds."""

    reason: str
    retry_in: float


Durable = Message | RoomEvent
Transient = Typing | Presence | Read | Notification | OtherEvent | Connected | Disconnected


_DURABLE: dict[str, type[Message | RoomEvent]] = {
    "message": Message,
    "message_edited": MessageEdited,
    "message_deleted": MessageDeleted,
    "reaction_added": ReactionAdded,
    "reaction_removed": ReactionRemoved,
    "message_pinned": MessagePinned,
    "message_unpinned": MessageUnpinned,
    "member_joined": MemberJoined,
    "member_left": MemberLeft,
    "room_updated": RoomUpdated,
    "room_deleted": RoomDeleted,
}

_TRANSIENT: dict[str, type[Typing | Presence | Read | Notification]] = {
    "typing": Typing,
    "presence": Presence,
    "read": Read,
    "notification": Notification,
}


def durable(kind: str, room_id: str, seq: int, raw: bytes | msgspec.Raw) -> Durable:
    """Read a durable event. One that does not fit its class still counts in the order, as `OtherRoomEvent`."""
    known = _DURABLE.get(kind)
    if known is not None:
        try:
            return msgspec.json.decode(raw, type=known)
        except msgspec.ValidationError as error:
            _log.warning("event %s of an unexpected shape: %s", kind, error)
    data = msgspec.json.decode(raw, type=dict[str, Any])
    return OtherRoomEvent(room_id=room_id, seq=seq, type=kind, data=data)


def transient(kind: str, raw: bytes) -> Transient:
    """Read a transient event."""
    known = _TRANSIENT.get(kind)
    if known is not None:
        try:
            return msgspec.json.decode(raw, type=known)
        except msgspec.ValidationError as error:
            _log.warning("event %s of an unexpected shape: %s", kind, error)
    return OtherEvent(type=kind, data=msgspec.json.decode(raw, type=dict[str, Any]))
