"""A chat room as a state machine: commands in, events out. No I/O, no clock.

The room decides and numbers; its shard stores what was decided and only then lets anybody see it. If the store
refuses, the room is thrown away and read again, so a decision never has to be undone here.
"""

import enum
from collections import OrderedDict
from collections.abc import Iterable
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from veza.errors import (
    Conflict,
    InvalidArgument,
    MessageNotFound,
    NotAMember,
    PermissionDenied,
    RoomNotFound,
    UserBlocked,
)
from veza.realtime import commands as c
from veza.realtime.events import Effects, EventKind, Person, RoomEvent, notices
from veza.realtime.known import Known, Stored
from veza.realtime.messages import NOTHING, Attachment, MessageState, Supplies, mentioned
from veza.realtime.names import clean_name
from veza.realtime.protocol import clean_client_msg_id, clean_content
from veza.realtime.sanctions import Sanctioned, Sanctions

MAX_MEMBERS = 1000
TYPING_S = 5.0
# How many messages that were edited, reacted to, … a room keeps in mind; others are read when they are asked for.
REMEMBERED_MESSAGES = 256
RETENTION_DAYS = 36500


class RoomType(enum.StrEnum):
    DIRECT = "direct"
    GROUP = "group"
    PUBLIC = "public"


class RoomRole(enum.StrEnum):
    MEMBER = "member"
    MODERATOR = "moderator"
    OWNER = "owner"

    @property
    def rank(self) -> int:
        return _RANKS[self]


_RANKS = {role: rank for rank, role in enumerate(RoomRole)}


class Unchanged(msgspec.Struct, frozen=True):
    """The room was as a command wants it already: nothing is stored."""

    seq: int


Outcome = RoomEvent | Stored | Unchanged


class RoomSnapshot(msgspec.Struct, frozen=True):
    """A room as the store has it. `last_message` is the seq of its newest message, 0 when it has none. `blocked` are
    those of a direct room whom the other one has blocked.
    """

    id: UUID
    type: RoomType
    name: str | None
    head: int
    members: dict[UUID, RoomRole]
    deleted: bool = False
    retention_days: int | None = None
    pins: int = 0
    sanctions: tuple[Sanctioned, ...] = ()
    blocked: frozenset[UUID] = frozenset()
    last_message: int = 0


class Room:
    """One room. Methods that change it return the event to store, or the `Stored` of an earlier, equal command.

    They raise an error of `veza.errors` and change nothing when the command is refused. What happens to messages later
    is in `room_messages`, roles and sanctions in `moderation`.
    """

    __slots__ = (
        "blocked",
        "deleted",
        "gateways",
        "head",
        "id",
        "known",
        "last_message",
        "members",
        "messages",
        "name",
        "pins",
        "retention_days",
        "sanctions",
        "stored",
        "type",
        "typing",
        "used_at",
    )

    def __init__(self, snapshot: RoomSnapshot) -> None:
        self.id = snapshot.id
        self.type = snapshot.type
        self.name = snapshot.name
        self.head = snapshot.head  # the seq of the last event decided
        self.stored = snapshot.head  # the seq of the last event known to be stored
        self.last_message = snapshot.last_message  # the seq of the last message decided
        self.members = dict(snapshot.members)
        self.known = Known(complete=snapshot.head == 0)
        self.messages: OrderedDict[UUID, MessageState] = OrderedDict()
        self.retention_days = snapshot.retention_days
        self.pins = snapshot.pins
        self.sanctions = Sanctions(snapshot.sanctions)
        self.blocked = set(snapshot.blocked)
        self.gateways: set[str] = set()  # the gateways that follow the room
        self.typing: dict[UUID, float] = {}  # user → when it expires, by the caller's clock
        self.deleted = snapshot.deleted
        self.used_at = 0.0  # when a command last asked for it, by the shard's clock

    # -- who may ---------------------------------------------------------------------------------------------

    def require_member(self, user_id: UUID) -> RoomRole:
        """The role of a member. A room that is not public does not exist for anyone else."""
        if self.deleted:
            raise RoomNotFound()
        role = self.members.get(user_id)
        if role is None:
            raise NotAMember() if self.type is RoomType.PUBLIC else RoomNotFound()
        return role

    def require_writer(self, user_id: UUID, now: datetime) -> RoomRole:
        """The role of a member who may write: neither muted nor blocked by the other of a direct room."""
        role = self.require_member(user_id)
        self.sanctions.require_voice(user_id, now)
        if user_id in self.blocked:
            raise UserBlocked()
        return role

    # -- durable ---------------------------------------------------------------------------------------------

    def needs_lookup(self, command: c.DurableCommand) -> bool:
        """Whether the command may be stored already without memory knowing."""
        if self.known.complete:
            return False
        if command.again and self.known.command(command.id) is None:
            return True
        if not isinstance(command, c.Post):
            return False
        if command.parent_id is not None and self.known.command(command.parent_id) is None:
            return True
        client_msg_id = command.client_msg_id
        return client_msg_id is not None and self.known.client(command.sender.id, client_msg_id) is None

    def unstored(self, command: c.RoomCommand) -> bool:
        """Whether the command is about a message of this very batch, whose row is not there to be changed yet."""
        if not isinstance(command, c.MessageCommand):
            return False
        sent = self.known.command(command.message_id)
        return sent is not None and sent.seq > self.stored

    def trim(self) -> None:
        """Forget the oldest of what is remembered beyond its bound; between two batches only."""
        self.known.trim()
        while len(self.messages) > REMEMBERED_MESSAGES:
            self.messages.popitem(last=False)

    def post(self, command: c.Post, now: datetime, supplies: Supplies = NOTHING) -> RoomEvent | Stored:
        if repeated := self.known.command(command.id):
            return repeated
        sender_id = command.sender.id
        client_msg_id = clean_client_msg_id(command.client_msg_id)
        if client_msg_id is not None and (repeated := self.known.client(sender_id, client_msg_id)):
            self.require_member(sender_id)
            return repeated
        self.require_writer(sender_id, now)
        content = clean_content(command.content)
        body: dict[str, Any] = {"content": content}
        if command.parent_id is not None:
            parent = self.known.command(command.parent_id)
            if parent is None or not parent.is_message:
                raise MessageNotFound("The message to reply to is not in this room.")
            body["parent_id"] = str(command.parent_id)
        effects = None
        if command.attachments or "@" in content:
            effects = self._referring(command, body, supplies)
        self.typing.pop(sender_id, None)
        return self.append(
            EventKind.MESSAGE, command.id, command.sender, now, body, client_msg_id=client_msg_id, effects=effects
        )

    def _referring(self, command: c.Post, body: dict[str, Any], supplies: Supplies) -> Effects | None:
        """Put what a message refers to into its body; what else is stored because of it."""
        effects = Effects()
        if command.attachments:
            found = [self._usable(supplies.attachments.get(found_id), command) for found_id in command.attachments]
            for attachment in found:
                attachment.message_id = command.id
            body["attachments"] = [
                {"id": str(a.id), "name": a.name, "mime_type": a.mime_type, "size_bytes": a.size_bytes} for a in found
            ]
            effects.attachments = list(command.attachments)
        mentions = mentioned(body["content"], supplies.names, self.members, command.sender.id)
        if mentions:
            body["mentions"] = [str(user_id) for user_id in mentions]
            told = {
                "room_id": str(self.id),
                "message_id": str(command.id),
                "sender": {"id": str(command.sender.id), "username": command.sender.username},
            }
            effects.notify = notices(command.id, mentions, "mention", told)
        return effects if effects.attachments or effects.notify else None

    def _usable(self, attachment: Attachment | None, command: c.Post) -> Attachment:
        """An attachment that this message may carry. Raises InvalidArgument."""
        if (
            attachment is None
            or attachment.room_id != self.id
            or attachment.user_id != command.sender.id
            or attachment.message_id is not None
            or command.attachments.count(attachment.id) > 1
        ):
            raise InvalidArgument(
                "An attachment is uploaded to this room by its sender, and used once.",
                (("attachments", "uploaded to this room by yourself, not used yet"),),
            )
        return attachment

    def add_member(self, command: c.AddMember, now: datetime) -> RoomEvent | Stored:
        if repeated := self.known.command(command.id):
            return repeated
        joins = command.by.id == command.user.id
        if joins and self.type is RoomType.PUBLIC and not self.deleted:
            allowed = True
        else:
            allowed = self.require_member(command.by.id).rank >= RoomRole.MODERATOR.rank
        if self.type is RoomType.DIRECT or not allowed:
            raise PermissionDenied()
        role = role_named(command.role)
        if not joins and role.rank >= self.members[command.by.id].rank:
            raise PermissionDenied("You can only give a role below your own.")
        if command.user.id in self.members:
            raise Conflict("This person is a member already.")
        self.sanctions.require_admission(command.user.id, now)
        if len(self.members) >= MAX_MEMBERS:
            raise Conflict(f"A room has at most {MAX_MEMBERS} members.")
        self.members[command.user.id] = RoomRole.MEMBER if joins else role
        body = {"user_id": str(command.user.id), "role": self.members[command.user.id].value}
        return self.append(EventKind.MEMBER_JOINED, command.id, command.by, now, body, subject=command.user)

    def remove_member(self, command: c.RemoveMember, now: datetime) -> RoomEvent | Stored:
        if repeated := self.known.command(command.id):
            return repeated
        mine = self.require_member(command.by.id)
        leaves = command.by.id == command.user.id
        if self.type is RoomType.DIRECT:
            raise PermissionDenied("A direct conversation cannot be left.")
        theirs = self.members.get(command.user.id)
        if theirs is None:
            raise NotAMember("This person is not a member.")
        if leaves and mine is RoomRole.OWNER:
            raise Conflict("The owner cannot leave; delete the room instead.")
        if not leaves and (mine.rank < RoomRole.MODERATOR.rank or theirs.rank >= mine.rank):
            raise PermissionDenied()
        del self.members[command.user.id]
        self.typing.pop(command.user.id, None)
        body = {"user_id": str(command.user.id), "reason": "left" if leaves else "removed"}
        return self.append(EventKind.MEMBER_LEFT, command.id, command.by, now, body, subject=command.user)

    def update(self, command: c.UpdateRoom, now: datetime) -> RoomEvent | Stored:
        if repeated := self.known.command(command.id):
            return repeated
        role = self.require_member(command.by.id)
        if self.type is RoomType.DIRECT or role.rank < RoomRole.MODERATOR.rank:
            raise PermissionDenied()
        days = command.retention_days
        if command.name is None and days is None:
            raise InvalidArgument("There is nothing to change.", (("name", "a name, or retention_days"),))
        name = self.name if command.name is None else clean_name(command.name)
        if days is not None:
            if role is not RoomRole.OWNER:
                raise PermissionDenied("Only the owner sets how long a room keeps its messages.")
            if not 0 <= days <= RETENTION_DAYS:
                raise InvalidArgument(
                    "A room keeps its messages for 1 day or more, or, with 0, for ever.",
                    (("retention_days", f"0 to {RETENTION_DAYS}"),),
                )
            self.retention_days = days or None
        self.name = name
        return self.append(EventKind.ROOM_UPDATED, command.id, command.by, now, self.settings())

    def delete(self, command: c.DeleteRoom, now: datetime) -> RoomEvent | Stored:
        if repeated := self.known.command(command.id):
            return repeated
        if self.deleted:
            raise RoomNotFound()
        if not command.by_admin:
            role = self.require_member(command.by.id)
            if self.type is RoomType.DIRECT or role is not RoomRole.OWNER:
                raise PermissionDenied()
        self.deleted = True
        return self.append(EventKind.ROOM_DELETED, command.id, command.by, now, {})

    def settings(self) -> dict[str, Any]:
        """The body of a room_updated."""
        return {"name": self.name, "retention_days": self.retention_days}

    def append(
        self,
        kind: EventKind,
        event_id: UUID,
        sender: Person,
        now: datetime,
        body: dict[str, Any],
        *,
        client_msg_id: str | None = None,
        subject: Person | None = None,
        effects: Effects | None = None,
    ) -> RoomEvent:
        """Number an event; the last step of deciding a command."""
        self.head += 1
        is_message = kind is EventKind.MESSAGE
        if is_message:
            self.last_message = self.head
        stored = Stored(event_id, self.head, now, is_message)
        self.known.remember(stored, sender.id, client_msg_id)
        return RoomEvent(
            self.id,
            self.head,
            event_id,
            kind,
            sender,
            now,
            body,
            client_msg_id,
            subject,
            effects,
            message_seq=None if is_message else self.last_message,
        )

    # -- transient -------------------------------------------------------------------------------------------

    def mark_read(self, user_id: UUID, seq: int) -> None:
        self.require_member(user_id)
        if not 0 <= seq <= self.head:
            raise InvalidArgument("seq is not one of this room's.", (("seq", f"0 to {self.head}"),))

    def set_typing(self, user_id: UUID, is_typing: bool, now: float, wall: datetime) -> bool:
        """Whether others should be told: only a change is news, a renewal is not."""
        self.require_writer(user_id, wall)
        if not is_typing:
            return self.typing.pop(user_id, None) is not None
        news = user_id not in self.typing
        self.typing[user_id] = now + TYPING_S
        return news

    def expire_typing(self, now: float) -> list[UUID]:
        gone = [user_id for user_id, until in self.typing.items() if until <= now]
        for user_id in gone:
            del self.typing[user_id]
        return gone


def role_named(name: str) -> RoomRole:
    """Raises InvalidArgument."""
    if name not in RoomRole.__members__.values():
        raise InvalidArgument("There is no such role in a room.", (("role", "member or moderator"),))
    return RoomRole(name)


def members_of(rows: Iterable[tuple[UUID, str]]) -> dict[UUID, RoomRole]:
    return {user_id: RoomRole(role) for user_id, role in rows}
