"""The durable log of a room: what is stored, and the JSON a client gets for it.

One `RoomEvent` is one row of `room_events`. `id` is the id that the gateway stamped on the command, and so at the
same time the message's id and the key that makes a resent command harmless.
"""

import enum
from collections.abc import Iterable
from datetime import datetime
from typing import Any
from uuid import UUID, uuid5

import msgspec

from veza.realtime.protocol import timestamp


class EventKind(enum.StrEnum):
    MESSAGE = "message"
    MESSAGE_EDITED = "message_edited"
    MESSAGE_DELETED = "message_deleted"
    REACTION_ADDED = "reaction_added"
    REACTION_REMOVED = "reaction_removed"
    MESSAGE_PINNED = "message_pinned"
    MESSAGE_UNPINNED = "message_unpinned"
    MEMBER_JOINED = "member_joined"
    MEMBER_LEFT = "member_left"
    ROOM_UPDATED = "room_updated"
    ROOM_DELETED = "room_deleted"


class Person(msgspec.Struct, frozen=True):
    id: UUID
    username: str


class Effects(msgspec.Struct, omit_defaults=True):
    """Rows beside the log that are stored with an event, by the same statement."""

    content: str | None = None  # of an edited message
    mentions: list[str] = []  # of an edited message
    sanctions: list[dict[str, Any]] = []  # id, user_id, action, reason, by_id, until
    lift: dict[str, Any] | None = None  # user_id, action
    attachments: list[UUID] = []
    notify: list[dict[str, Any]] = []  # id, user_id, kind, data


def notices(event_id: UUID, user_ids: Iterable[UUID], kind: str, data: dict[str, Any]) -> list[dict[str, Any]]:
    """A notification for each user. Its id follows from the event and the user, so that it is stored once."""
    return [{"id": uuid5(event_id, str(u)), "user_id": u, "kind": kind, "data": data} for u in user_ids]


class RoomEvent(msgspec.Struct, frozen=True):
    """`sender` did it. `body` holds what the kind needs, as JSON values, and is stored as it is:

    message: content, parent_id, attachments (a list of `{id, name, mime_type, size_bytes}`), mentions (user ids);
    message_edited, message_deleted, message_pinned and message_unpinned: message_id;
    reaction_added and reaction_removed: message_id, emoji; member_joined: user_id, role; member_left: user_id, reason
    (left, removed, kicked or banned); room_updated: name, retention_days, and `member`
    `{user_id, role, muted, muted_until}` when one of them changed; room_deleted: nothing.

    `content` and `mentions` of a message_edited are shown but not stored with the event: the message's own row has
    them, and only that. `edited_at` and `deleted_at` are the message's, known when it is read from the log.

    `message_seq` of an event that is no message is stored and not shown: the seq of the newest message before it, 0
    when there is none. History passes over such events by it.
    """

    room_id: UUID
    seq: int
    id: UUID
    kind: EventKind
    sender: Person
    created_at: datetime
    body: dict[str, Any]
    client_msg_id: str | None = None
    subject: Person | None = None  # the member that member_joined, member_left and room_updated tell of
    effects: Effects | None = None
    content: str | None = None
    mentions: list[str] = []
    edited_at: datetime | None = None
    deleted_at: datetime | None = None
    message_seq: int | None = None


def wire(event: RoomEvent) -> dict[str, Any]:
    """The event as its frame shows it."""
    shown: dict[str, Any] = {
        "type": event.kind.value,
        "room_id": event.room_id,
        "seq": event.seq,
        "id": event.id,
        "sender": event.sender,
    }
    body = event.body
    match event.kind:
        case EventKind.MESSAGE:
            shown["content"] = body.get("content")
            shown["parent_id"] = body.get("parent_id")
            shown["client_msg_id"] = event.client_msg_id
            shown["attachments"] = body.get("attachments", [])
            if "mentions" in body:
                shown["mentions"] = body["mentions"]
            if event.edited_at is not None:
                shown["edited_at"] = timestamp(event.edited_at)
            if event.deleted_at is not None:
                shown["deleted_at"] = timestamp(event.deleted_at)
        case EventKind.MESSAGE_EDITED:
            shown["message_id"] = body.get("message_id")
            said = event if event.effects is None else event.effects
            shown["content"] = said.content
            if said.mentions:
                shown["mentions"] = said.mentions
            shown["edited_at"] = timestamp(event.created_at)
        case EventKind.MESSAGE_DELETED | EventKind.MESSAGE_PINNED | EventKind.MESSAGE_UNPINNED:
            shown["message_id"] = body.get("message_id")
        case EventKind.REACTION_ADDED | EventKind.REACTION_REMOVED:
            shown["message_id"] = body.get("message_id")
            shown["emoji"] = body.get("emoji")
        case EventKind.MEMBER_JOINED:
            shown["user"] = event.subject
            shown["role"] = body.get("role")
        case EventKind.MEMBER_LEFT:
            shown["user"] = event.subject
            shown["reason"] = body.get("reason")
        case EventKind.ROOM_UPDATED:
            shown["name"] = body.get("name")
            shown["retention_days"] = body.get("retention_days")
            if member := body.get("member"):
                shown["member"] = {
                    "user": event.subject,
                    "role": member["role"],
                    "muted": member["muted"],
                    "muted_until": member["muted_until"],
                }
    shown["created_at"] = timestamp(event.created_at)
    return shown
