"""PostgreSQL as shards and gateways see it. One method is one statement: all of it is done, or nothing.

Beside the rows it keeps what rows do not tell: everything that was ever stored, and when messages changed.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from uuid import UUID

import msgspec

from simulation.clock import Clock
from simulation.promises import Broken
from veza.realtime import commands as c
from veza.realtime.events import EventKind, RoomEvent
from veza.realtime.known import Stored
from veza.realtime.messages import Attachment, MessageState, Supplies, Wants
from veza.realtime.partition import partition_of
from veza.realtime.room import RoomRole, RoomSnapshot, RoomType
from veza.realtime.sanctions import Sanctioned


class StoreAway(Exception):
    """The connection broke, or the statement failed: its outcome is unknown to who sent it."""

    def __init__(self, reason: str = "connection lost") -> None:
        super().__init__(reason)


@dataclass
class MessageRow:
    """A message as it is now. `versions` has each content with the moment from which on it stood."""

    seq: int
    author: UUID
    versions: list[tuple[float, str | None]]
    event: RoomEvent
    deleted: bool = False
    pinned: bool = False
    reactions: dict[UUID, set[str]] = field(default_factory=dict)


@dataclass
class RoomRow:
    """A room: `log` is everything ever stored, of which retention has left what begins at `first_seq`."""

    type: RoomType
    name: str | None
    members: dict[UUID, RoomRole]
    log: list[RoomEvent] = field(default_factory=list)
    messages: dict[UUID, MessageRow] = field(default_factory=dict)
    sanctions: dict[tuple[UUID, str], Sanctioned] = field(default_factory=dict)
    retention_days: int | None = None
    first_seq: int = 1
    deleted: bool = False
    stored_at: list[float] = field(default_factory=list)  # of each event of the log
    ids: list[str] = field(default_factory=list)  # as clients see them
    # user → (seq, whether they are a member from this event on), in order
    history: dict[UUID, list[tuple[int, bool]]] = field(default_factory=dict)

    @property
    def head(self) -> int:
        return len(self.log)

    def was_member(self, user_id: UUID, seq: int) -> bool:
        """Whether they were a member when the event `seq` happened; who leaves by it still was."""
        member = False
        for since, became in self.history[user_id]:
            if since >= seq:
                break
            member = became
        return member


class Store:
    """`witness` is shown every event before it is stored."""

    def __init__(self, clock: Clock, owners: Mapping[int, str], witness: Callable[[RoomEvent], None]) -> None:
        self.owners = dict(owners)
        self.epochs = dict.fromkeys(owners, 1)
        self.rooms: dict[UUID, RoomRow] = {}
        self.ids: dict[UUID, RoomEvent] = {}
        self.client_ids: dict[tuple[UUID, UUID, str], RoomEvent] = {}
        self.reads: dict[tuple[UUID, UUID], int] = {}
        self.names: dict[str, UUID] = {}
        self.shown: set[UUID] = set()  # who is shown as present
        self.blocks: set[tuple[UUID, UUID]] = set()  # blocker, blocked
        self.attachments: dict[UUID, Attachment] = {}
        self.fenced = 0  # rows that came too late
        self._clock = clock
        self._witness = witness

    def create(self, room_id: UUID, kind: RoomType, members: Mapping[UUID, RoomRole], others: Iterable[UUID]) -> None:
        row = self.rooms[room_id] = RoomRow(kind, "room", dict(members))
        row.history = {user_id: [(0, True)] for user_id in members} | {user_id: [(0, False)] for user_id in others}

    # -- partitions ------------------------------------------------------------------------------------------

    def take(self, wanted: Mapping[int, str]) -> dict[int, int]:
        for partition, owner in wanted.items():
            self.epochs[partition] += 1
            self.owners[partition] = owner
        return {partition: self.epochs[partition] for partition in wanted}

    def renew(self, owner: str, epochs: Mapping[int, int]) -> dict[int, int]:
        mine = {p: owner for p, epoch in epochs.items() if self.epochs[p] == epoch and self.owners[p] == owner}
        return self.take(mine)

    # -- events ----------------------------------------------------------------------------------------------

    def commit(self, events: Collection[RoomEvent], epochs: Mapping[int, int]) -> set[int]:
        """Store the rows of partitions whose epoch is still the given one; returns the other partitions."""
        own = self._own(epochs)
        rows = [event for event in events if partition_of(event.room_id) in own]
        self.fenced += len(events) - len(rows)
        self._check(rows)
        for event in rows:
            self._insert(event)
        return set(epochs) - own

    def _own(self, epochs: Mapping[int, int]) -> set[int]:
        return {p for p, epoch in epochs.items() if self.epochs[p] == epoch}

    def _check(self, rows: Collection[RoomEvent]) -> None:
        """The unique indexes; the core should never get as far as that."""
        heads: dict[UUID, int] = {}
        fresh: set[object] = set()
        for event in rows:
            head = heads.get(event.room_id, self.rooms[event.room_id].head)
            named: set[object] = {event.id}
            if event.client_msg_id is not None:
                named.add((event.room_id, event.sender.id, event.client_msg_id))
            if named & fresh or any(name in self.ids or name in self.client_ids for name in named):
                raise Broken(3, "one command was to be stored twice")
            if event.seq <= head:
                raise Broken(1, f"seq {event.seq} was to be given a second time")
            if event.seq != head + 1:
                raise Broken(1, f"seq {event.seq} was to be stored behind {head}")
            heads[event.room_id] = event.seq
            fresh |= named

    def _insert(self, event: RoomEvent) -> None:
        # What is stored does not have the content of an edit, and no frames.
        self._witness(event)
        room = self.rooms[event.room_id]
        room.stored_at.append(self._clock.now)
        room.ids.append(str(event.id))
        room.log.append(msgspec.structs.replace(event, effects=None))
        self.ids[event.id] = event
        if event.client_msg_id is not None:
            self.client_ids[event.room_id, event.sender.id, event.client_msg_id] = event
        self._apply(room, event)

    def _apply(self, room: RoomRow, event: RoomEvent) -> None:
        """The rows beside the log."""
        now, body = self._clock.now, event.body
        message = room.messages.get(UUID(body["message_id"])) if "message_id" in body else None
        match event.kind:
            case EventKind.MESSAGE:
                versions: list[tuple[float, str | None]] = [(now, body["content"])]
                room.messages[event.id] = MessageRow(event.seq, event.sender.id, versions, event)
            case EventKind.MEMBER_JOINED:
                user_id = UUID(body["user_id"])
                room.members[user_id] = RoomRole(body["role"])
                room.history[user_id].append((event.seq, True))
            case EventKind.MEMBER_LEFT:
                user_id = UUID(body["user_id"])
                room.members.pop(user_id, None)
                room.history[user_id].append((event.seq, False))
            case EventKind.ROOM_UPDATED if "member" in body:
                room.members[UUID(body["member"]["user_id"])] = RoomRole(body["member"]["role"])
            case EventKind.ROOM_UPDATED if event.effects is None:
                room.name, room.retention_days = body["name"], body["retention_days"]
            case EventKind.ROOM_DELETED:
                room.deleted = True
        if message is not None:
            self._apply_to_message(message, event)
        if event.effects is not None:
            for row in event.effects.sanctions:
                key = (row["user_id"], row["action"])
                room.sanctions[key] = Sanctioned(row["user_id"], row["action"], None)
            for attachment_id in event.effects.attachments:
                self.attachments[attachment_id].message_id = event.id
            if event.effects.lift is not None:
                room.sanctions.pop((event.effects.lift["user_id"], event.effects.lift["action"]), None)

    def _apply_to_message(self, message: MessageRow, event: RoomEvent) -> None:
        now = self._clock.now
        match event.kind:
            case EventKind.MESSAGE_EDITED if event.effects is not None:
                message.versions.append((now, event.effects.content))
            case EventKind.MESSAGE_DELETED:
                message.deleted, message.pinned = True, False
                message.versions.append((now, None))
                message.reactions.clear()
            case EventKind.MESSAGE_PINNED | EventKind.MESSAGE_UNPINNED:
                message.pinned = event.kind is EventKind.MESSAGE_PINNED
            case EventKind.REACTION_ADDED:
                message.reactions.setdefault(event.sender.id, set()).add(event.body["emoji"])
            case EventKind.REACTION_REMOVED:
                message.reactions.setdefault(event.sender.id, set()).discard(event.body["emoji"])

    def save_reads(self, reads: Mapping[tuple[UUID, UUID], int]) -> None:
        for key, seq in reads.items():
            self.reads[key] = max(seq, self.reads.get(key, 0))

    def retain(self, room_id: UUID, last: int) -> None:
        """The retention job: keep the last so many events, and at least one."""
        room = self.rooms[room_id]
        room.first_seq = max(room.first_seq, room.head - max(last, 1) + 1)

    # -- what shards read ------------------------------------------------------------------------------------

    def load_rooms(self, room_ids: Iterable[UUID]) -> list[RoomSnapshot]:
        return [self._snapshot(room_id, self.rooms[room_id]) for room_id in room_ids if room_id in self.rooms]

    def _snapshot(self, room_id: UUID, room: RoomRow) -> RoomSnapshot:
        return RoomSnapshot(
            id=room_id,
            type=room.type,
            name=room.name,
            head=room.head,
            members=dict(room.members),
            deleted=room.deleted,
            retention_days=room.retention_days,
            pins=self._pins(room),
            sanctions=tuple(room.sanctions.values()),
            blocked=frozenset(self._blocked_in(room)),
        )

    def _blocked_in(self, room: RoomRow) -> set[UUID]:
        if room.type is not RoomType.DIRECT:
            return set()
        return {blocked for blocker, blocked in self.blocks if blocker in room.members and blocked in room.members}

    def stored_ids(self, events: Iterable[RoomEvent]) -> set[UUID]:
        return {event.id for event in events if self.ids.get(event.id) == event}

    def find_stored(self, candidates: Iterable[c.DurableCommand]) -> list[tuple[UUID, UUID, str | None, Stored]]:
        events: list[RoomEvent] = []
        for command in candidates:
            if command.again and command.id in self.ids:
                events.append(self.ids[command.id])
            if isinstance(command, c.Post) and command.client_msg_id is not None:
                key = (command.room_id, command.sender.id, command.client_msg_id)
                if key in self.client_ids:
                    events.append(self.client_ids[key])
        return [
            (e.room_id, e.sender.id, e.client_msg_id, Stored(e.id, e.seq, e.created_at, e.kind is EventKind.MESSAGE))
            for e in events
        ]

    def read_wanted(self, wants: Wants) -> Supplies:
        supplies = Supplies(messages=[], names={}, attachments={}, blocked={}, pins={})
        for room_id, message_id, user_id in sorted(wants.messages):
            if row := self.rooms[room_id].messages.get(message_id):
                mine = {user_id: set(row.reactions.get(user_id, ()))}
                sent_at, state = row.event.created_at, (row.deleted, row.pinned, mine)
                supplies.messages.append(MessageState(room_id, message_id, row.seq, row.author, sent_at, *state))
        supplies.names = {name: self.names[name] for name in wants.names if name in self.names}
        for attachment_id in wants.attachments:
            if attachment := self.attachments.get(attachment_id):
                supplies.attachments[attachment_id] = msgspec.structs.replace(attachment)
        for room_id in wants.blocks:
            supplies.blocked[room_id] = self._blocked_in(self.rooms[room_id])
        for room_id in wants.pins:
            supplies.pins[room_id] = self._pins(self.rooms[room_id])
        return supplies

    @staticmethod
    def _pins(room: RoomRow) -> int:
        return sum(message.pinned for message in room.messages.values())

    def rooms_of_users(self, user_ids: Iterable[UUID]) -> dict[UUID, list[UUID]]:
        return {u: [room_id for room_id, room in self.rooms.items() if u in room.members] for u in user_ids}

    # -- people ----------------------------------------------------------------------------------------------

    def save_presence(self, epochs: Mapping[int, int], statuses: Mapping[UUID, str], offline: str) -> set[int]:
        own = self._own(epochs)
        for user_id, status in statuses.items():
            if partition_of(user_id) in own:
                (self.shown.discard if status == offline else self.shown.add)(user_id)
        return own

    def present_in(self, partitions: Collection[int]) -> set[UUID]:
        return {user_id for user_id in self.shown if partition_of(user_id) in partitions}

    def set_block(self, blocker: UUID, blocked: UUID, *, on: bool) -> None:
        (self.blocks.add if on else self.blocks.discard)((blocker, blocked))

    # -- what gateways read ----------------------------------------------------------------------------------

    def first_seq(self, room_id: UUID) -> int:
        return self.rooms[room_id].first_seq

    def read_after(self, room_id: UUID, seq: int, limit: int) -> list[RoomEvent]:
        room = self.rooms[room_id]
        start = max(seq, room.first_seq - 1)
        return [self._shown(room, event) for event in room.log[start : start + limit]]

    @staticmethod
    def _shown(room: RoomRow, event: RoomEvent) -> RoomEvent:
        """As it is read now: a message with its last content, or none; an edit with what became of it."""
        if event.kind is EventKind.MESSAGE:
            content = room.messages[event.id].versions[-1][1]
            return msgspec.structs.replace(event, body={**event.body, "content": content})
        if event.kind is EventKind.MESSAGE_EDITED:
            content = room.messages[UUID(event.body["message_id"])].versions[-1][1]
            return msgspec.structs.replace(event, content=content)
        return event
