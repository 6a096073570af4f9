"""The core of a room shard: batches of commands in, a batch to commit and a script of deliveries out.

The actor around it does the I/O, in this order: `missing` → read rooms → `install`; `lookups` → read ids → `found`;
`decide` → commit → `finish` (or `abandon`). Everything decided in one batch is stored by one statement, and nothing
of it is delivered before that statement has committed.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from veza.errors import RoomNotFound, VezaError
from veza.realtime import commands as c
from veza.realtime import protocol
from veza.realtime.events import EventKind, RoomEvent, wire
from veza.realtime.partition import partition_of
from veza.realtime.presence import PresenceBook
from veza.realtime.room import Room, RoomSnapshot, Stored

# In larger rooms a receipt or a status would cost members² deliveries; there it is shown on request (`get_members`).
CHATTY_ROOM_MEMBERS = 100
IDLE_ROOM_S = 300.0

Sourced = tuple[str, c.ShardCommand]  # the gateway it came from, and the command


class Line(NamedTuple):
    """One delivery of a script; `partition` None is for what no partition's loss can make untrue."""

    partition: int | None
    item: c.Delivery

    @property
    def ref(self) -> int:
        return int(getattr(self.item, "ref", 0))

    @property
    def epoch(self) -> int:
        return int(getattr(self.item, "epoch", 0))


class Batch:
    """What one round decided. `script` is what each gateway is told, in order, once it is stored."""

    def __init__(self) -> None:
        self.events: list[RoomEvent] = []
        self.reads: dict[tuple[UUID, UUID], int] = {}  # (room, user) → last_read_seq
        self.script: dict[str, list[Line]] = {}
        self.deferred: list[Sourced] = []  # decided in the next round
        self.epochs: dict[int, int] = {}  # the epochs under which the batch was decided
        self._unencoded: list[tuple[list[bytes], RoomEvent]] = []

    def tell(self, gateway: str, partition: int | None, item: c.Delivery) -> None:
        self.script.setdefault(gateway, []).append(Line(partition, item))

    def add(self, event: RoomEvent, room_frames: list[bytes]) -> None:
        self.events.append(event)
        self._unencoded.append((room_frames, event))

    def encode(self) -> None:
        """Make the frames, each once; done while the commit is on its way."""
        for room_frames, event in self._unencoded:
            room_frames.append(protocol.frame(wire(event)))
        self._unencoded.clear()

    @property
    def structural(self) -> bool:
        return any(event.kind is not EventKind.MESSAGE for event in self.events)

    def withdraw(self, lost: set[int]) -> None:
        """Take back what concerns partitions that were lost before the commit."""
        for gateway, lines in self.script.items():
            refs = [(line.ref, line.epoch) for line in lines if line.partition in lost and line.ref]
            kept = [line for line in lines if line.partition not in lost]
            if refs:
                kept.append(Line(None, c.NotOwner(refs)))
            self.script[gateway] = kept

    def answer_all(self, error: VezaError) -> dict[str, list[Line]]:
        """Whoever waits for an answer gets `error` instead; the rest of the script stays."""
        answers = {
            gateway: [Line(None, refusal(line.ref, error, line.epoch)) for line in lines if line.ref]
            for gateway, lines in self.script.items()
        }
        self.script = {gateway: [line for line in lines if not line.ref] for gateway, lines in self.script.items()}
        return answers

    def forget_events(self) -> None:
        """What was decided is not stored: nobody may see it."""
        self._unencoded.clear()
        for gateway, lines in self.script.items():
            self.script[gateway] = [line for line in lines if not isinstance(line.item, c.Events | c.MemberGone)]


def refusal(ref: int, error: VezaError, epoch: int = 0) -> c.Refusal:
    return c.Refusal(ref, type(error).__name__, list(error.args), epoch)


class ShardCore:
    """The rooms and users of the partitions that this shard owns."""

    def __init__(self) -> None:
        self.epochs: dict[int, int] = {}  # partition → the epoch under which it is owned
        self._since: dict[int, int] = {}  # partition → the epoch at which it was granted
        self._read: dict[UUID, int] = {}  # rooms read for this round → the partition's epoch before
        self.rooms: dict[UUID, Room] = {}
        self.presence = PresenceBook()
        self.typing: set[UUID] = set()  # rooms in which somebody types

    # -- ownership -------------------------------------------------------------------------------------------

    def owns(self, subject: UUID) -> bool:
        return partition_of(subject) in self.epochs

    def accepts(self, command: c.RoomCommand) -> bool:
        """Whether the room is ours and was when the gateway sent the command."""
        since = self._since.get(partition_of(command.room_id))
        return since is not None and command.epoch >= since

    def grant(self, epochs: Mapping[int, int]) -> None:
        """Own these partitions from now on. Rooms of a partition whose epoch rose are read anew.

        A lower epoch than known is old news: this shard has renewed it since.
        """
        newer = {p: epoch for p, epoch in epochs.items() if epoch > self.epochs.get(p, -1)}
        self._drop(newer.keys() & self.epochs.keys())
        self.epochs.update(newer)
        self._since.update(newer)

    def revoke(self, partitions: Iterable[int]) -> None:
        gone = set(partitions) & self.epochs.keys()
        for partition in gone:
            del self.epochs[partition], self._since[partition]
        self._drop(gone)

    def _drop(self, partitions: set[int]) -> None:
        for room_id in [room_id for room_id in self.rooms if partition_of(room_id) in partitions]:
            self.unload(room_id)
        self.presence.forget({user for user in self.presence.users() if partition_of(user) in partitions})

    def unload(self, room_id: UUID) -> None:
        self.rooms.pop(room_id, None)
        self.typing.discard(room_id)

    def gateway_lost(self, gateway: str, now: float) -> None:
        for room in self.rooms.values():
            room.gateways.discard(gateway)
        self.presence.gateway_lost(gateway, now)

    # -- before a batch --------------------------------------------------------------------------------------

    def missing(self, queue: Iterable[Sourced]) -> set[UUID]:
        """Rooms that commands ask for and memory does not have."""
        missing = {
            command.room_id
            for _, command in queue
            if not isinstance(command, c.Attend | c.GetPresence | c.Unsubscribe)
            and command.room_id not in self.rooms
            and self.accepts(command)
        }
        self._read = {room_id: self.epochs[partition_of(room_id)] for room_id in missing}
        return missing

    def install(self, snapshots: Iterable[RoomSnapshot]) -> None:
        """What was read; of a partition that changed hands meanwhile it may be out of date, and is left out."""
        for snapshot in snapshots:
            if self.current(snapshot.id):
                self.rooms[snapshot.id] = Room(snapshot)

    def current(self, room_id: UUID) -> bool:
        """Whether the room was read in this round, under the epoch that still holds."""
        return room_id in self._read and self._read[room_id] == self.epochs.get(partition_of(room_id))

    def lookups(self, queue: Iterable[Sourced]) -> list[c.DurableCommand]:
        """Commands that may be stored already, as far as memory can tell."""
        candidates: list[c.DurableCommand] = []
        for _, command in queue:
            if isinstance(command, c.DurableCommand) and (room := self.rooms.get(command.room_id)):
                # Now and not while deciding, so that nothing found for a batch is forgotten before it is needed.
                room.known.trim()
                if room.needs_lookup(command):
                    candidates.append(command)
        return candidates

    def found(self, rows: Iterable[tuple[UUID, UUID, str | None, Stored]]) -> None:
        """The rows `(room, sender, client_msg_id, stored)` that a look-up returned."""
        for room_id, sender_id, client_msg_id, stored in rows:
            if room := self.rooms.get(room_id):
                room.known.remember(stored, sender_id, client_msg_id)

    # -- a batch ---------------------------------------------------------------------------------------------

    def decide(self, queue: Iterable[Sourced], wall: datetime, now: float) -> Batch:
        """Let each room decide its commands, in order. `wall` stamps the events, `now` is monotonic seconds."""
        round_ = _Round(self, wall, now)
        for gateway, command in queue:
            round_.handle(gateway, command)
        batch = round_.batch
        touched = {partition_of(event.room_id) for event in batch.events}
        batch.epochs = {partition: self.epochs[partition] for partition in touched}
        return batch

    def finish(self, batch: Batch, lost: set[int]) -> None:
        """The batch is committed, but for the partitions `lost`, which belonged to another shard by then."""
        batch.encode()
        for room_id in {event.room_id for event in batch.events}:
            if room := self.rooms.get(room_id):
                room.stored = room.head
        if lost:
            batch.withdraw(lost)
            self.revoke(p for p in lost if self.epochs.get(p) == batch.epochs.get(p))

    def abandon(self, batch: Batch) -> None:
        """The batch is not stored: forget what its rooms decided.

        Gateways that followed those rooms must be told to follow them again (`Lagged`).
        """
        for room_id in {event.room_id for event in batch.events}:
            self.unload(room_id)
        batch.forget_events()

    def renewed(self, epochs: Mapping[int, int]) -> None:
        """The same ownership under newer epochs: nobody else wrote meanwhile, so the rooms stay."""
        self.epochs.update({p: max(epoch, self.epochs[p]) for p, epoch in epochs.items() if p in self.epochs})

    def refuse(self, queue: Iterable[Sourced], error: VezaError) -> tuple[Batch, list[Sourced]]:
        """The store is away: refuse what needs it, as a batch of answers; returns what can go on without it."""
        batch = Batch()
        rest: list[Sourced] = []
        for gateway, command in queue:
            if (
                isinstance(command, c.DurableCommand | c.MarkRead)
                or (isinstance(command, c.Typing) and command.room_id not in self.rooms)
                or (isinstance(command, c.Join | c.Subscribe) and not self._settled(command.room_id))
            ):
                batch.tell(gateway, None, refusal(command.ref, error, command.epoch))
            else:
                rest.append((gateway, command))
        return batch, rest

    def _settled(self, room_id: UUID) -> bool:
        """Whether the room is in memory without an event that may turn out not to be stored: nobody may follow it from
        a seq that could be given again.
        """
        room = self.rooms.get(room_id)
        return room is not None and room.stored == room.head

    def put_to_sleep(self, now: float) -> int:
        """Forget rooms that nobody follows and nobody has used for IDLE_ROOM_S; they wake on demand."""
        idle = [
            room_id
            for room_id, room in self.rooms.items()
            if not room.gateways and not room.typing and room.stored == room.head and now - room.used_at > IDLE_ROOM_S
        ]
        for room_id in idle:
            self.unload(room_id)
        return len(idle)

    def tick(self, wall: datetime, now: float) -> Batch:
        """Typing that expired, as a batch with nothing to commit."""
        round_ = _Round(self, wall, now)
        for room_id in list(self.typing):
            room = self.rooms[room_id]
            for user_id in room.expire_typing(now):
                round_.typing_changed(room, user_id, is_typing=False)
            if not room.typing:
                self.typing.discard(room_id)
        return round_.batch


def _row_of(command: c.ShardCommand) -> tuple[UUID, UUID | None] | None:
    """The row beside the log that a command changes: a member's or the room's."""
    match command:
        case c.AddMember() | c.RemoveMember():
            return command.room_id, command.user.id
        case c.UpdateRoom() | c.DeleteRoom():
            return command.room_id, None
    return None


class _Round:
    """One call of `ShardCore.decide`."""

    def __init__(self, core: ShardCore, wall: datetime, now: float) -> None:
        self.core = core
        self.batch = Batch()
        self.wall = wall
        self.now = now
        self._open: dict[UUID, list[bytes]] = {}  # the frames that the room's next event joins
        self._changed_rows: set[tuple[UUID, UUID | None]] = set()
        self._held: set[UUID] = set()

    def handle(self, gateway: str, command: c.ShardCommand) -> None:
        match command:
            case c.Attend():
                if self.core.owns(command.user_id):
                    self.core.presence.attend(
                        gateway, command.user_id, command.sockets, command.status, self.now, again=command.again
                    )
            case c.GetPresence():
                statuses = [self.core.presence.status(user_id) for user_id in command.user_ids]
                self.batch.tell(gateway, None, c.Answer(command.ref, protocol.json(statuses), command.epoch))
            case _:
                self._handle_room(gateway, command)

    def _handle_room(self, gateway: str, command: c.RoomCommand) -> None:
        room_id = command.room_id
        partition = partition_of(room_id)
        ref = getattr(command, "ref", 0)
        if not self.core.accepts(command):
            if ref:
                self.batch.tell(gateway, None, c.NotOwner([(ref, command.epoch)]))
            return
        if room_id in self._held or _row_of(command) in self._changed_rows:
            # One statement changes a row once: the second change waits, and what follows keeps its order.
            self._held.add(room_id)
            self.batch.deferred.append((gateway, command))
            return
        room = self.core.rooms.get(room_id)
        if room is None and isinstance(command, c.Unsubscribe):
            return
        if room is None and not self.core.current(room_id):
            # The partition came to us, or came back, while rooms were read: the next round reads this one.
            self._held.add(room_id)
            self.batch.deferred.append((gateway, command))
            return
        try:
            if room is None:
                raise RoomNotFound()
            room.used_at = self.now
            self._perform(gateway, partition, room, command)
        except VezaError as error:
            if ref:
                self.batch.tell(gateway, partition, refusal(ref, error, command.epoch))

    def _perform(  # noqa: PLR0912 - one arm a command reads better than a table of functions
        self, gateway: str, partition: int, room: Room, command: c.RoomCommand
    ) -> None:
        match command:
            case c.Post():
                typed = command.sender.id in room.typing
                self._durable(gateway, partition, room, command, room.post(command, self.wall))
                if typed and command.sender.id not in room.typing:
                    self.typing_changed(room, command.sender.id, is_typing=False)
            case c.Join():
                room.require_member(command.user_id)
                self._subscribe(gateway, partition, room, command)
            case c.Subscribe():
                if room.deleted:
                    raise RoomNotFound()
                self._subscribe(gateway, partition, room, command)
            case c.Unsubscribe():
                room.gateways.discard(gateway)
            case c.MarkRead():
                self._mark_read(gateway, partition, room, command)
            case c.Typing():
                if room.set_typing(command.user_id, command.is_typing, self.now):
                    self.typing_changed(room, command.user_id, is_typing=command.is_typing)
                if room.typing:
                    self.core.typing.add(room.id)
                self.batch.tell(gateway, partition, c.Answer(command.ref, b"{}", command.epoch))
            case c.AddMember():
                self._durable(gateway, partition, room, command, room.add_member(command, self.wall))
            case c.RemoveMember():
                outcome = room.remove_member(command, self.wall)
                self._durable(gateway, partition, room, command, outcome)
                if isinstance(outcome, RoomEvent):
                    self._tell_room(room, c.MemberGone(room.id, command.user.id, outcome.seq))
                    # Later events are not for them: they need a new group, behind this line.
                    self._open.pop(room.id, None)
            case c.UpdateRoom():
                self._durable(gateway, partition, room, command, room.update(command, self.wall))
            case c.DeleteRoom():  # pragma: no branch - it is the last there is
                self._durable(gateway, partition, room, command, room.delete(command, self.wall))
                self._tell_room(room, c.MemberGone(room.id, None, room.head))

    def _durable(
        self, gateway: str, partition: int, room: Room, command: c.DurableCommand, outcome: RoomEvent | Stored
    ) -> None:
        if isinstance(outcome, RoomEvent):
            room_frames = self._open.get(room.id)
            if room_frames is None:
                room_frames = self._open[room.id] = []
                self._tell_room(room, c.Events(room.id, outcome.seq, room_frames))
            self.batch.add(outcome, room_frames)
            if row := _row_of(command):
                self._changed_rows.add(row)
        # A resent command is the gateway's doing, not the client's: its answer is the first one.
        duplicate = isinstance(outcome, Stored) and outcome.id != command.id
        answer = {
            "message_id": outcome.id,
            "seq": outcome.seq,
            "created_at": protocol.timestamp(outcome.created_at),
            "duplicate": duplicate,
        }
        self.batch.tell(gateway, partition, c.Answer(command.ref, protocol.json(answer), command.epoch))

    def _subscribe(self, gateway: str, partition: int, room: Room, command: c.Join | c.Subscribe) -> None:
        room.gateways.add(gateway)
        self.batch.tell(gateway, partition, c.Subscribed(command.ref, room.id, room.head, command.epoch))
        # Later events must stand behind this line, so they need a new group.
        self._open.pop(room.id, None)

    def _mark_read(self, gateway: str, partition: int, room: Room, command: c.MarkRead) -> None:
        room.mark_read(command.user_id, command.seq)
        key = (room.id, command.user_id)
        self.batch.reads[key] = max(command.seq, self.batch.reads.get(key, 0))
        self.batch.tell(gateway, partition, c.Answer(command.ref, b"{}", command.epoch))
        if len(room.members) <= CHATTY_ROOM_MEMBERS:
            event = {
                "type": "read",
                "room_id": room.id,
                "user_id": command.user_id,
                "last_read_seq": command.seq,
            }
            self._tell_room(room, c.Transient(room.id, protocol.frame(event)))

    def typing_changed(self, room: Room, user_id: UUID, *, is_typing: bool) -> None:
        event = {"type": "typing", "room_id": room.id, "user_id": user_id, "is_typing": is_typing}
        self._tell_room(room, c.Transient(room.id, protocol.frame(event), but=user_id))

    def _tell_room(self, room: Room, item: c.Delivery) -> None:
        partition = partition_of(room.id)
        for gateway in room.gateways:
            self.batch.tell(gateway, partition, item)
