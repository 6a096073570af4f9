"""Results of REST calls and of commands. Ids are UUIDs as text, times are aware datetimes in UTC."""

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


class Message(Model, frozen=True, kw_only=True):
    """A message of a room: as it was written, or with its later fate when read from history.

    `content` is None when it was deleted or erased.
    """

    room_id: str
    seq: int
    id: str
    sender: Person | None = None
    content: str | None = None
    parent_id: str | None = None
    client_msg_id: str | None = None
    attachments: list[Any] = msgspec.field(default_factory=list)
    created_at: datetime
    edited_at: datetime | None = None
    deleted_at: datetime | None = None
    reactions: Any = None
    pinned: bool = False


class Stored(Model, frozen=True, kw_only=True):
    """The server has the message for good. `duplicate` says that an earlier attempt had stored it."""

    message_id: str
    seq: int
    created_at: datetime
    duplicate: bool = False


class Member(Model, frozen=True, kw_only=True):
    """A member of a room with what is known of them now."""

    user: Person
    role: str = "member"
    presence: str | None = None
    last_read_seq: int = 0


class Members(Model, frozen=True, kw_only=True):
    members: list[Member]


class Messages(Model, frozen=True, kw_only=True):
    """A page of messages by the socket."""

    messages: list[Message]
    has_more: bool = False


class HistoryPage(Model, frozen=True, kw_only=True):
    """A page of messages by REST, newest first; `next_cursor` asks for the older ones."""

    messages: list[Message]
    next_cursor: str | None = None
    has_more: bool = False


class Conversation(Model, frozen=True, kw_only=True):
    """A room: `type` is `direct`, `group` or `public`; `role` is one's own in it.

    `other` and `presence` tell of the other person of a direct room.
    """

    id: str
    type: str
    name: str | None = None
    owner_id: str | None = None
    created_at: datetime | None = None
    last_seq: int = 0
    last_read_seq: int = 0
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


class Sessions(Model, frozen=True, kw_only=True):
    sessions: list[Session]
    total: int = 0


class Health(Model, frozen=True, kw_only=True):
    """`status` is one word; `checks` holds what the deep check found."""

    status: str
    checks: dict[str, Any] = msgspec.field(default_factory=dict)
