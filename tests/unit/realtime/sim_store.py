"""PostgreSQL as the shards see it: rows of rooms, fenced by partition epochs. One method is one statement."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from uuid import UUID

from veza.realtime import commands as c
from veza.realtime.events import EventKind, RoomEvent
from veza.realtime.partition import partition_of
from veza.realtime.room import RoomRole, RoomSnapshot, RoomType, Stored


class StoreAway(Exception):
    """The connection broke, or the statement failed: its outcome is unknown to who sent it."""

    def __init__(self, reason: str = "connection lost") -> None:
        super().__init__(reason)


@dataclass
class StoredRoom:
    type: RoomType
    name: str | None
    members: dict[UUID, RoomRole]
    events: list[RoomEvent] = field(default_factory=list)
    deleted: bool = False


class Store:
    """`conflicts` counts statements that a unique index refused: the core should never get that far."""

    def __init__(self, owners: Mapping[int, str]) -> None:
        self.owners = dict(owners)
        self.epochs = dict.fromkeys(owners, 1)
        self.rooms: dict[UUID, StoredRoom] = {}
        self.ids: dict[UUID, RoomEvent] = {}
        self.client_ids: dict[tuple[UUID, UUID, str], RoomEvent] = {}
        self.reads: dict[tuple[UUID, UUID], int] = {}
        self.conflicts = 0

    # -- partitions ------------------------------------------------------------------------------------------

    def take(self, wanted: Mapping[int, str]) -> dict[int, int]:
        for partition, owner in wanted.items():
            self.epochs[partition] += 1
            self.owners[partition] = owner
        return {partition: self.epochs[partition] for partition in wanted}

    def renew(self, owner: str, epochs: Mapping[int, int]) -> dict[int, int]:
        mine = {p for p, epoch in epochs.items() if self.epochs[p] == epoch and self.owners[p] == owner}
        return self.take(dict.fromkeys(mine, owner))

    # -- events ----------------------------------------------------------------------------------------------

    def commit(self, events: Collection[RoomEvent], epochs: Mapping[int, int]) -> set[int]:
        """Store the rows of partitions whose epoch is still the given one; returns the other partitions."""
        own = {p for p, epoch in epochs.items() if self.epochs[p] == epoch}
        rows = [event for event in events if partition_of(event.room_id) in own]
        self._check(rows)
        for event in rows:
            self._insert(event)
        return set(epochs) - own

    def _check(self, rows: Collection[RoomEvent]) -> None:
        """The unique indexes, and the promise that a statement changes no row beside the log twice."""
        heads: dict[UUID, int] = {}
        ids, client_ids = set(self.ids), set(self.client_ids)
        changed: set[tuple[UUID, str | None]] = set()
        for event in rows:
            head = heads.get(event.room_id, len(self.rooms[event.room_id].events))
            client_id = (event.room_id, event.sender.id, event.client_msg_id or "")
            taken = event.client_msg_id is not None and client_id in client_ids
            if event.seq <= head or event.id in ids or taken:
                self.conflicts += 1
                raise StoreAway("unique violation")
            assert event.seq == head + 1, "a hole in the order of a room"
            heads[event.room_id] = event.seq
            ids.add(event.id)
            client_ids.add(client_id)
            if event.kind is not EventKind.MESSAGE:
                row = event.room_id, event.body.get("user_id")
                assert row not in changed, "two changes of one row in one statement"
                changed.add(row)

    def _insert(self, event: RoomEvent) -> None:
        room = self.rooms[event.room_id]
        room.events.append(event)
        self.ids[event.id] = event
        if event.client_msg_id is not None:
            self.client_ids[event.room_id, event.sender.id, event.client_msg_id] = event
        match event.kind:
            case EventKind.MEMBER_JOINED:
                room.members[UUID(event.body["user_id"])] = RoomRole(event.body["role"])
            case EventKind.MEMBER_LEFT:
                room.members.pop(UUID(event.body["user_id"]), None)
            case EventKind.ROOM_UPDATED:
                room.name = event.body["name"]
            case EventKind.ROOM_DELETED:
                room.deleted = True

    def save_reads(self, reads: Mapping[tuple[UUID, UUID], int]) -> None:
        for key, seq in reads.items():
            self.reads[key] = max(seq, self.reads.get(key, 0))

    # -- reads -----------------------------------------------------------------------------------------------

    def load_rooms(self, room_ids: Iterable[UUID]) -> list[RoomSnapshot]:
        found = [(room_id, self.rooms[room_id]) for room_id in room_ids if room_id in self.rooms]
        return [
            RoomSnapshot(room_id, room.type, room.name, len(room.events), dict(room.members), room.deleted)
            for room_id, room in found
        ]

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
        return [(e.room_id, e.sender.id, e.client_msg_id, Stored(e.id, e.seq, e.created_at)) for e in events]

    def read_after(self, room_id: UUID, seq: int, limit: int) -> list[RoomEvent]:
        return self.rooms[room_id].events[seq : seq + limit]
