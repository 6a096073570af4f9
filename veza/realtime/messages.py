"""What is known of single messages: those that commands want to change, and what a new one refers to."""

import re
from collections.abc import Iterable
from datetime import datetime, timedelta
from uuid import UUID

import msgspec

# Within this time of sending it, its author may edit a message.
EDIT_WINDOW = timedelta(minutes=15)
EMOJI_A_USER = 10
PINS = 50
# So many people at most are told that one message mentions them.
MENTIONS = 20

# Not inside a word or an e-mail address. A full stop may end a sentence as well as a username.
_MENTION = re.compile(r"(?<![\w.@-])@([A-Za-z0-9_.-]{3,30})")


class MessageState(msgspec.Struct):
    """A stored message as far as commands on it need it. `reactions` has only the users that were asked for."""

    room_id: UUID
    id: UUID
    seq: int
    author: UUID | None
    created_at: datetime
    deleted: bool = False
    pinned: bool = False
    reactions: dict[UUID, set[str]] = {}


class Attachment(msgspec.Struct):
    """An uploaded object. `message_id` is that of the message that carries it, None before."""

    id: UUID
    room_id: UUID
    user_id: UUID
    message_id: UUID | None
    name: str
    mime_type: str
    size_bytes: int


class Wants(msgspec.Struct):
    """What must be read before a batch can be decided: messages of rooms with the user whose reactions count, usernames
    in lower case, attachments, direct rooms whose blocks changed, and rooms that seem to have too many pins.
    """

    messages: set[tuple[UUID, UUID, UUID]]  # room, message, user
    names: set[str]
    attachments: set[UUID]
    blocks: set[UUID]
    pins: set[UUID]

    def __bool__(self) -> bool:
        return bool(self.messages or self.names or self.attachments or self.blocks or self.pins)


class Supplies(msgspec.Struct):
    """What was read. `blocked` has for each direct room those who may not write in it."""

    messages: list[MessageState] = []
    names: dict[str, UUID] = {}
    attachments: dict[UUID, Attachment] = {}
    blocked: dict[UUID, set[UUID]] = {}
    pins: dict[UUID, int] = {}


# Of a round that needed nothing read; never changed.
NOTHING = Supplies()


def mentioned_names(content: str) -> list[str]:
    """The usernames that `@` is put before, in lower case and in order, without repeats; each also without the full
    stop that may be the sentence's.
    """
    if "@" not in content:
        return []
    names: dict[str, None] = {}
    for found in _MENTION.findall(content):
        name = found.lower()
        names[name] = None
        names[name.rstrip(".-")] = None
    return list(names)[: 2 * MENTIONS]


def mentioned(content: str, names: dict[str, UUID], members: Iterable[UUID], but: UUID) -> list[UUID]:
    """The members that a message mentions, except its author."""
    among = members if isinstance(members, dict) else set(members)
    found = dict.fromkeys(names[name] for name in mentioned_names(content) if name in names)
    return [user_id for user_id in found if user_id in among and user_id != but][:MENTIONS]
