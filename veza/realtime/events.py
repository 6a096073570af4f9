"""The durable log of a room: what is stored, and the JSON a client gets for it.

One `RoomEvent` is one row of `room_events`. `id` is the id that the gateway stamped on the command, and so at the
same time the message's id and the key that makes a resent command harmless.
"""

import enum
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from veza.realtime.protocol import timestamp


class EventKind(enum.StrEnum):
    MESSAGE = "message"
    MEMBER_JOINED = "member_joined"
    MEMBER_LEFT = "member_left"
    ROOM_UPDATED = "room_updated"
    ROOM_DELETED = "room_deleted"


class Person(msgspec.Struct, frozen=True):
    id: UUID
    username: str


class RoomEvent(msgspec.Struct, frozen=True):
    """`sender` did it. `body` holds what the kind needs, as JSON values:

    message: content, parent_id, attachments; member_joined: user_id, role; member_left: user_id, reason
    (left or removed); room_updated: name; room_deleted: nothing.
    """

    room_id: UUID
    seq: int
    id: UUID
    kind: EventKind
    sender: Person
    created_at: datetime
    body: dict[str, Any]
    client_msg_id: str | None = None
    subject: Person | None = None  # the member that member_joined and member_left tell of


def wire(event: RoomEvent) -> dict[str, Any]:
    """The event as its frame shows it."""
    shown: dict[str, Any] = {
        "type": event.kind.value,
        "room_id": event.room_id,
        "seq": event.seq,
        "id": event.id,
        "sender": event.sender,
    }
    match event.kind:
        case EventKind.MESSAGE:
            shown["content"] = event.body.get("content")
            shown["parent_id"] = event.body.get("parent_id")
            shown["client_msg_id"] = event.client_msg_id
            shown["attachments"] = event.body.get("attachments", [])
        case EventKind.MEMBER_JOINED:
            shown["user"] = event.subject
            shown["role"] = event.body.get("role")
        case EventKind.MEMBER_LEFT:
            shown["user"] = event.subject
            shown["reason"] = event.body.get("reason")
        case EventKind.ROOM_UPDATED:
            shown["name"] = event.body.get("name")
    shown["created_at"] = timestamp(event.created_at)
    return shown
