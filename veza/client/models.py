"""Results of REST calls and of commands. Ids are UUIDs as text, times are aware datetimes in UTC."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """Base of all results; fields the server adds later are ignored."""


class Person(Model, frozen=True, kw_only=True):
    """A user as others see them."""

    id: str
    username: str
    role: str | None = None
    display_name: str | None = None
    bio: str | None = None
    avatar_url: str | None = None
    created_at: datetime | None = None


class Account(Person, frozen=True, kw_only=True):
    """The signed-in user."""

    email: str
    do_not_sell: bool = False


class Credentials(Model, frozen=True, kw_only=True):
    """What register, login and refresh answer. `expires_in` is the access token's life in seconds."""

    access_token: str
    refresh_token: str
    expires_in: int
    user: Account | None = None


class Session(Model, frozen=True, kw_only=True):
    """One sign-in."""

    id: str
    device: str | None = None
    ip: str | None = None
    created_at: datetime
    last_seen_at: datetime | None = None
    current: bool = False


class Attachment(Model, frozen=True, kw_only=True):
    """An uploaded file: pass it to `send`, or its `id` to `download_attachment`."""

    id: str
    name: str = "file"
    mime_type: str = "application/octet-stream"
    size_bytes: int = 0


def attachment_ids(attachments: Sequence[Attachment | str]) -> list[str] | None:
    """As a message carries them; None for none."""
    return [one if isinstance(one, str) else one.id for one in attachments] or None


class Reaction(Model, frozen=True, kw_only=True):
    """One emoji under a message: how many people gave it, and whether oneself did."""

    emoji: str
    count: int = 1
    me: bool = False


class Message(Model, frozen=True, kw_only=True):
    """A message of a room. A live event shows it as it was written; history, threads, pins and searches also tell
    its later fate: `reactions`, `pinned` and `reply_count`.

    `content` is None when it was deleted or erased; an edited message has its last content and `edited_at`.
    `mentions` are the ids of the members whom it names with `@`.
    """

    room_id: str
    seq: int
    id: str
    sender: Person | None = None
    content: str | None = None
    parent_id: str | None = None
    client_msg_id: str | None = None
    attachments: list[Attachment] = msgspec.field(default_factory=list)
    mentions: list[str] = msgspec.field(default_factory=list)
    created_at: datetime
    edited_at: datetime | None = None
    deleted_at: datetime | None = None
    reactions: list[Reaction] = msgspec.field(default_factory=list)
    pinned: bool = False
    reply_count: int = 0


class Stored(Model, frozen=True, kw_only=True):
    """The server has the message for good. `duplicate` says that an earlier attempt had stored it."""

    message_id: str
    seq: int
    created_at: datetime
    duplicate: bool = False


class Changed(Model, frozen=True, kw_only=True):
    """The server has the change for good: `seq` is the room's event that tells of it."""

    seq: int


class Member(Model, frozen=True, kw_only=True):
    """A member of a room with what is known of them now."""

    user: Person
    role: str = "member"
    presence: str | None = None
    last_read_seq: int = 0


class Members(Model, frozen=True, kw_only=True):
    members: list[Member]


class Messages(Model, frozen=True, kw_only=True):
    """A page of messages by the socket. `first_seq` is the lowest seq that the room's retention has kept."""

    messages: list[Message]
    has_more: bool = False
    first_seq: int = 1


class HistoryPage(Model, frozen=True, kw_only=True):
    """A page of messages by REST, newest first; `next_cursor` asks for the older ones.

    `first_seq` is the lowest seq that the room's retention has kept.
    """

    messages: list[Message]
    next_cursor: str | None = None
    has_more: bool = False
    first_seq: int = 1


class Conversation(Model, frozen=True, kw_only=True):
    """A room: `type` is `direct`, `group` or `public`; `role` is one's own in it.

    `other` and `presence` tell of the other person of a direct room. What is older than `retention_days` is removed
    (None: nothing is); `first_seq` is the lowest seq that is kept.
    """

    id: str
    type: str
    name: str | None = None
    owner_id: str | None = None
    created_at: datetime | None = None
    last_seq: int = 0
    first_seq: int = 1
    last_read_seq: int = 0
    retention_days: int | None = None
    unread_count: int = 0
    role: str | None = None
    other: Person | None = None
    presence: str | None = None
    last_message: Message | None = None
    members: list[Member] | None = None


class Conversations(Model, frozen=True, kw_only=True):
    conversations: list[Conversation]
    total: int = 0


class PublicRoom(Model, frozen=True, kw_only=True):
    """A room that anyone may join; `joined` says whether one has."""

    id: str
    name: str | None = None
    created_at: datetime | None = None
    member_count: int = 0
    joined: bool = False


class PublicRooms(Model, frozen=True, kw_only=True):
    conversations: list[PublicRoom]
    total: int = 0


class Sanction(Model, frozen=True, kw_only=True):
    """What a moderator did to a member: `action` is `warn`, `mute`, `kick` or `ban`.

    A mute or a ban holds until `until`, or with None until it is lifted; `active` says whether it holds now.
    """

    id: str
    user: Person
    action: str
    reason: str = ""
    by: Person | None = None
    until: datetime | None = None
    created_at: datetime | None = None
    lifted_at: datetime | None = None
    active: bool = False


class Sanctioned(Model, frozen=True, kw_only=True):
    """The sanction with this id is in force, and the room's event `seq` has told of it."""

    id: str
    user_id: str
    action: str
    seq: int


class Sanctions(Model, frozen=True, kw_only=True):
    """A page, newest first."""

    sanctions: list[Sanction]
    total: int = 0


class Block(Model, frozen=True, kw_only=True):
    user: Person
    created_at: datetime | None = None


class Blocks(Model, frozen=True, kw_only=True):
    """Whom this account has blocked, the latest first."""

    blocks: list[Block]
    total: int = 0


class Notification(Model, frozen=True, kw_only=True):
    """Something that happened to this account. What `data` holds depends on `kind`."""

    id: str
    kind: str
    data: Any = None
    created_at: datetime | None = None
    read_at: datetime | None = None


class Notifications(Model, frozen=True, kw_only=True):
    """A page, newest first. `unread_count` counts all that are unread, not only those of the page."""

    notifications: list[Notification]
    unread_count: int = 0
    total: int = 0
    next_cursor: str | None = None
    has_more: bool = False


class MarkedRead(Model, frozen=True, kw_only=True):
    """How many were not read before, and how many still are not."""

    marked: int = 0
    unread_count: int = 0


class Sessions(Model, frozen=True, kw_only=True):
    sessions: list[Session]
    total: int = 0


class Health(Model, frozen=True, kw_only=True):
    """`status` is one word; `checks` holds what the deep check found."""

    status: str
    checks: dict[str, Any] = msgspec.field(default_factory=dict)
