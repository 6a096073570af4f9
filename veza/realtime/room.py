"""A chat room as a state machine: commands in, events out. No I/O, no clock.

The room decides and numbers; its shard stores what was decided and only then lets anybody see it. If the store
refuses, the room is thrown away and read again, so a decision never has to be undone here.
"""

import enum
import unicodedata
from collections import OrderedDict
from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

import msgspec

from veza.errors import Conflict, InvalidArgument, MessageNotFound, NotAMember, PermissionDenied, RoomNotFound
from veza.realtime import commands as c
from veza.realtime.events import EventKind, Person, RoomEvent
from veza.realtime.protocol import clean_client_msg_id, clean_content

MAX_MEMBERS = 1000
NAME_CHARS = 50
TYPING_S = 5.0
# How many stored ids a room remembers; older ones are looked up in the log.
REMEMBERED = 512

# What a name must not hold, as Unicode categories: control characters, line and paragraph ends, halves of pairs.
_UNFIT = frozenset({"Cc", "Zl", "Zp", "Cs"})
# Embeddings, overrides and isolates of direction turn the text around a name, too.
_BIDI = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
# What shows nothing by itself: categories, and letters and signs that are drawn as a space. A code point that is not
# assigned yet counts as seen: it is next year's emoji.
_UNSEEN = frozenset({"Cf", "Mn", "Me", "Zs"})
_BLANK = frozenset("\u115f\u1160\u2800\u3164\uffa0")


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


class Stored(msgspec.Struct, frozen=True):
    """What the first reply to a durable command said, so that a retry can get it again."""

    id: UUID
    seq: int
    created_at: datetime
    is_message: bool = True


class RoomSnapshot(msgspec.Struct, frozen=True):
    """A room as the store has it."""

    id: UUID
    type: RoomType
    name: str | None
    head: int
    members: dict[UUID, RoomRole]
    deleted: bool = False


class Known:
    """Ids already stored, by command and by client: what memory has, and what was looked up for this batch.

    `complete` holds as long as everything ever stored in the room is remembered, as in a new room: then an
    unknown id needs no look-up.
    """

    __slots__ = ("_by_client", "_by_id", "complete")

    def __init__(self, *, complete: bool) -> None:
        self.complete = complete
        self._by_id: OrderedDict[UUID, Stored] = OrderedDict()
        self._by_client: OrderedDict[tuple[UUID, str], Stored] = OrderedDict()

    def command(self, command_id: UUID) -> Stored | None:
        return self._by_id.get(command_id)

    def client(self, user_id: UUID, client_msg_id: str) -> Stored | None:
        return self._by_client.get((user_id, client_msg_id))

    def remember(self, stored: Stored, user_id: UUID, client_msg_id: str | None) -> None:
        self._by_id[stored.id] = stored
        if client_msg_id is not None:
            self._by_client[user_id, client_msg_id] = stored

    def trim(self) -> None:
        """Forget the oldest ids above REMEMBERED."""
        for table in (self._by_id, self._by_client):
            while len(table) > REMEMBERED:
                table.popitem(last=False)
                self.complete = False


class Room:
    """One room. Methods that change it return the event to store, or the `Stored` of an earlier, equal command.

    They raise an error of `veza.errors` and change nothing when the command is refused.
    """

    __slots__ = ("deleted", "gateways", "head", "id", "known", "members", "name", "stored", "type", "typing", "used_at")

    def __init__(self, snapshot: RoomSnapshot) -> None:
        self.id = snapshot.id
        self.type = snapshot.type
        self.name = snapshot.name
        self.head = snapshot.head  # the seq of the last event decided
        self.stored = snapshot.head  # the seq of the last event known to be stored
        self.members = dict(snapshot.members)
        self.known = Known(complete=snapshot.head == 0)
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

    def post(self, command: c.Post, now: datetime) -> RoomEvent | Stored:
        if repeated := self.known.command(command.id):
            return repeated
        self.require_member(command.sender.id)
        client_msg_id = clean_client_msg_id(command.client_msg_id)
        if client_msg_id is not None and (repeated := self.known.client(command.sender.id, client_msg_id)):
            return repeated
        body = {"content": clean_content(command.content)}
        if command.parent_id is not None:
            parent = self.known.command(command.parent_id)
            if parent is None or not parent.is_message:
                raise MessageNotFound("The message to reply to is not in this room.")
            body["parent_id"] = str(command.parent_id)
        self.typing.pop(command.sender.id, None)
        return self._append(EventKind.MESSAGE, command.id, command.sender, now, body, client_msg_id=client_msg_id)

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
        if command.role not in RoomRole.__members__.values():
            raise InvalidArgument("There is no such role in a room.", (("role", "member or moderator"),))
        role = RoomRole(command.role)
        if not joins and role.rank >= self.members[command.by.id].rank:
            raise PermissionDenied("You can only give a role below your own.")
        if command.user.id in self.members:
            raise Conflict("This person is a member already.")
        if len(self.members) >= MAX_MEMBERS:
            raise Conflict(f"A room has at most {MAX_MEMBERS} members.")
        self.members[command.user.id] = RoomRole.MEMBER if joins else role
        body = {"user_id": str(command.user.id), "role": self.members[command.user.id].value}
        return self._append(EventKind.MEMBER_JOINED, command.id, command.by, now, body, subject=command.user)

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
        return self._append(EventKind.MEMBER_LEFT, command.id, command.by, now, body, subject=command.user)

    def update(self, command: c.UpdateRoom, now: datetime) -> RoomEvent | Stored:
        if repeated := self.known.command(command.id):
            return repeated
        role = self.require_member(command.by.id)
        if self.type is RoomType.DIRECT or role.rank < RoomRole.MODERATOR.rank:
            raise PermissionDenied()
        self.name = clean_name(command.name)
        return self._append(EventKind.ROOM_UPDATED, command.id, command.by, now, {"name": self.name})

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
        return self._append(EventKind.ROOM_DELETED, command.id, command.by, now, {})

    def _append(
        self,
        kind: EventKind,
        event_id: UUID,
        sender: Person,
        now: datetime,
        body: dict[str, str],
        *,
        client_msg_id: str | None = None,
        subject: Person | None = None,
    ) -> RoomEvent:
        self.head += 1
        stored = Stored(event_id, self.head, now, kind is EventKind.MESSAGE)
        self.known.remember(stored, sender.id, client_msg_id)
        return RoomEvent(self.id, self.head, event_id, kind, sender, now, dict(body), client_msg_id, subject)

    # -- transient -------------------------------------------------------------------------------------------

    def mark_read(self, user_id: UUID, seq: int) -> None:
        self.require_member(user_id)
        if not 0 <= seq <= self.head:
            raise InvalidArgument("seq is not one of this room's.", (("seq", f"0 to {self.head}"),))

    def set_typing(self, user_id: UUID, is_typing: bool, now: float) -> bool:
        """Whether others should be told: only a change is news, a renewal is not."""
        self.require_member(user_id)
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


def clean_name(name: str) -> str:
    """A room's name as stored: 1–50 characters, trimmed, one line, with something to see. Raises InvalidArgument.

    Joiners and other format characters stay: emoji, flags and many scripts are written with them.
    """
    name = name.strip()
    if not 1 <= len(name) <= NAME_CHARS:
        raise InvalidArgument(f"A name has 1 to {NAME_CHARS} characters.", (("name", f"1 to {NAME_CHARS} characters"),))
    if any(char in _BIDI or unicodedata.category(char) in _UNFIT for char in name):
        raise InvalidArgument("A name has no control characters.", (("name", "no control characters"),))
    if all(char in _BLANK or unicodedata.category(char) in _UNSEEN for char in name):
        raise InvalidArgument("A name has something to see.", (("name", "a visible character"),))
    return name


def members_of(rows: Iterable[tuple[UUID, str]]) -> dict[UUID, RoomRole]:
    return {user_id: RoomRole(role) for user_id, role in rows}
