"""The core of a room shard: batches of commands in, a batch to commit and a script of deliveries out.

The actor around it does the I/O, in this order: `missing` → read rooms → `install`; `lookups` → read ids → `found`;
`decide` → commit → `finish` (or `abandon`). Everything decided in one batch is stored by one statement, and nothing
of it is delivered before that statement has committed.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from uuid import UUID

from veza.errors import VezaError
from veza.realtime import allowance
from veza.realtime import commands as c
from veza.realtime.batch import Batch, Sourced, refusal
from veza.realtime.known import Stored
from veza.realtime.messages import NOTHING, PINS, Supplies, Wants, mentioned_names
from veza.realtime.owned import Owned
from veza.realtime.partition import ROOMS, partition_of
from veza.realtime.presence import PresenceBook
from veza.realtime.room import Room, RoomSnapshot
from veza.realtime.round import Round
from veza.realtime.sanctions import Policy

IDLE_ROOM_S = 300.0
POLICY = Policy()


class ShardCore(Owned):
    """The rooms and users of the partitions that this shard owns."""

    def __init__(
        self, policy: Policy = POLICY, limits: allowance.Limits = allowance.DEFAULT, max_sockets: int = 64
    ) -> None:
        """`limits` and `max_sockets` are what one user has over all gateways."""
        super().__init__(ROOMS)
        self.policy = policy
        self.rooms: dict[UUID, Room] = {}
        self.presence = PresenceBook(max_sockets)
        self.lender = allowance.Lender(limits)
        self.typing: set[UUID] = set()  # rooms in which somebody types
        self._supplies = NOTHING  # what was read for the next round

    # -- ownership -------------------------------------------------------------------------------------------

    def accepts(self, command: c.RoomCommand) -> bool:
        """Whether the room is ours and was when the gateway sent the command."""
        return self.owned_since(command.room_id, command.epoch)

    def grant(self, epochs: Mapping[int, int], now: float | None = None) -> None:
        """Own these partitions from now on. Rooms of a partition whose epoch rose are read anew.

        Gateways need a moment after `now` to repeat who is there; None when nobody can be.
        """
        newer = self.newer(epochs)
        self._drop(newer.keys() & self.epochs.keys())
        self.own(newer)
        self.presence.took_over(newer)
        for partition, epoch in newer.items():
            self.lender.granted(partition, epoch, 0.0 if now is None else now + allowance.SETTLE_S)

    def revoke(self, partitions: Iterable[int]) -> None:
        self._drop(self.disown(partitions))

    def _drop(self, partitions: set[int]) -> None:
        for room_id in [room_id for room_id in self.rooms if partition_of(room_id) in partitions]:
            self.unload(room_id)
        self.unread(partitions)
        self.presence.forget({user for user in self.presence.users() if partition_of(user) in partitions})
        self.lender.forget(partitions)

    def unload(self, room_id: UUID) -> None:
        self.rooms.pop(room_id, None)
        self.typing.discard(room_id)

    def gateway_lost(self, gateway: str, now: float) -> Batch:
        """Returns what other gateways are told because of it, as a batch with nothing to commit."""
        for room in self.rooms.values():
            room.gateways.discard(gateway)
        self.presence.gateway_lost(gateway, now)
        batch = Batch()
        batch.tell_each(self.lender.gateway_lost(gateway, self.epoch_of, now))
        return batch

    # -- before a batch --------------------------------------------------------------------------------------

    def missing(self, queue: Iterable[Sourced]) -> set[UUID]:
        """Rooms that commands ask for and memory does not have."""
        missing = {
            command.room_id
            for _, command in queue
            if not isinstance(command, c.UserCommand | c.Unsubscribe)
            and command.room_id not in self.rooms
            and self.accepts(command)
        }
        self.reading(missing)
        return missing

    def install(self, snapshots: Iterable[RoomSnapshot]) -> None:
        """What was read; of a partition that changed hands meanwhile it may be out of date, and is left out."""
        for snapshot in snapshots:
            if self.current(snapshot.id):
                self.rooms[snapshot.id] = Room(snapshot)

    def lookups(self, queue: Iterable[Sourced]) -> list[c.DurableCommand]:
        """Commands that may be stored already, as far as memory can tell."""
        candidates: list[c.DurableCommand] = []
        for _, command in queue:
            if isinstance(command, c.DurableCommand) and (room := self.rooms.get(command.room_id)):
                # Now and not while deciding, so that nothing found for a batch is forgotten before it is needed.
                room.trim()
                if room.needs_lookup(command):
                    candidates.append(command)
        return candidates

    def found(self, rows: Iterable[tuple[UUID, UUID, str | None, Stored]]) -> None:
        """The rows `(room, sender, client_msg_id, stored)` that a look-up returned."""
        for room_id, sender_id, client_msg_id, stored in rows:
            if room := self.rooms.get(room_id):
                room.known.remember(stored, sender_id, client_msg_id)

    def wants(self, queue: Iterable[Sourced]) -> Wants:
        """What else commands refer to that memory does not have."""
        wants = Wants(set(), set(), set(), set(), set())
        for _, command in queue:
            match command:
                case c.Post() | c.EditMessage():
                    if "@" in command.content:
                        wants.names.update(mentioned_names(command.content))
                    if isinstance(command, c.Post):
                        wants.attachments.update(command.attachments)
                case c.BlocksChanged():
                    wants.blocks.add(command.room_id)
            if isinstance(command, c.MessageCommand) and (room := self.rooms.get(command.room_id)):
                if room.retention_days is not None:
                    # It may be gone since.
                    room.messages.pop(command.message_id, None)
                message = room.messages.get(command.message_id)
                if isinstance(command, c.Pin) and room.pins >= PINS:
                    # Retention may have taken some away.
                    wants.pins.add(room.id)
                if message is None or (isinstance(command, c.React) and command.by.id not in message.reactions):
                    wants.messages.add((room.id, command.message_id, command.by.id))
        return wants

    def supply(self, supplies: Supplies) -> None:
        """What was read for this round."""
        self._supplies = supplies
        for message in supplies.messages:
            if room := self.rooms.get(message.room_id):
                known = room.messages.setdefault(message.id, message)
                for user_id, emoji in message.reactions.items():
                    known.reactions.setdefault(user_id, emoji)
        for room_id, pins in supplies.pins.items():
            if room := self.rooms.get(room_id):
                room.pins = pins
        for room_id, blocked in supplies.blocked.items():
            if room := self.rooms.get(room_id):
                room.blocked = blocked

    # -- a batch ---------------------------------------------------------------------------------------------

    def decide(self, queue: Iterable[Sourced], wall: datetime, now: float) -> Batch:
        """Let each room decide its commands, in order. `wall` stamps the events, `now` is monotonic seconds."""
        round_ = Round(self, wall, now, self._supplies)
        self._supplies = NOTHING
        for gateway, command in queue:
            round_.handle(gateway, command)
        batch = round_.batch
        touched = {partition_of(event.room_id) for event in batch.events}
        batch.epochs = {partition: self.epochs[partition] for partition in touched}
        return batch

    def finish(self, batch: Batch, lost: set[int]) -> None:
        """The batch is committed, but for the partitions `lost`, which belonged to another shard by then."""
        batch.encode()
        for event in batch.events:
            if room := self.rooms.get(event.room_id):
                room.stored = max(room.stored, event.seq)
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

    @staticmethod
    def refuse_all(queue: Iterable[Sourced], error: VezaError) -> Batch:
        """Whoever waits for an answer gets this one."""
        batch = Batch()
        for gateway, command in queue:
            if ref := getattr(command, "ref", 0):
                batch.tell(gateway, None, refusal(ref, error, command.epoch))
        return batch

    def refuse(self, queue: Iterable[Sourced], error: VezaError) -> tuple[Batch, list[Sourced]]:
        """The store is away: refuse what needs it, as a batch of answers; returns what can go on without it, of which
        `decide` defers nothing.
        """
        batch = Batch()
        rest: list[Sourced] = []
        for gateway, command in queue:
            if (
                isinstance(command, c.DurableCommand | c.MarkRead | c.BlocksChanged | c.Settle)
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
        """Typing that expired, and what has become due of users, as a batch with nothing to commit."""
        round_ = Round(self, wall, now, NOTHING)
        for room_id in list(self.typing):
            room = self.rooms[room_id]
            for user_id in room.expire_typing(now):
                round_.typing_changed(room, user_id, is_typing=False)
            if not room.typing:
                self.typing.discard(room_id)
        round_.batch.tell_each(self.lender.tick(self.epoch_of, now))
        round_.batch.tell_each(
            (gateway, c.TooManySockets(user_id, excess)) for gateway, user_id, excess in self.presence.crowds()
        )
        return round_.batch
