"""One round of a shard: each command decided by its room, in order."""

from datetime import datetime
from typing import TYPE_CHECKING
from uuid import UUID

from veza.errors import RoomNotFound, VezaError
from veza.realtime import commands as c
from veza.realtime import moderation, protocol, room_messages
from veza.realtime.batch import Batch, refusal
from veza.realtime.claims import Claims
from veza.realtime.events import EventKind, RoomEvent
from veza.realtime.known import Stored
from veza.realtime.messages import Supplies
from veza.realtime.partition import partition_of
from veza.realtime.presence import OFFLINE
from veza.realtime.room import Outcome, Room, Unchanged

if TYPE_CHECKING:
    from veza.realtime.shard import ShardCore

# In larger rooms a receipt or a status would cost members² deliveries; there it is shown on request (`get_members`).
CHATTY_ROOM_MEMBERS = 100


class Round:
    """One call of `ShardCore.decide`. `wall` stamps the events, `now` is monotonic seconds."""

    def __init__(self, core: "ShardCore", wall: datetime, now: float, supplies: Supplies) -> None:
        self.core = core
        self.supplies = supplies
        self.batch = Batch()
        self.wall = wall
        self.now = now
        self._open: dict[UUID, list[bytes]] = {}  # the frames that the room's next event joins
        self._claims = Claims()
        self._held: set[UUID] = set()

    def handle(self, gateway: str, command: c.ShardCommand) -> None:
        match command:
            case c.GetPresence():
                self._get_presence(gateway, command)
            case c.Attend() | c.TakeAllowance() | c.ReturnAllowance():
                self._handle_user(gateway, command)
            case _:
                self._handle_room(gateway, command)

    def _get_presence(self, gateway: str, command: c.GetPresence) -> None:
        owns, statuses = self.core.owns, []
        if command.user_ids and not owns(command.user_ids[0]):
            self.batch.tell(gateway, None, c.NotOwner([(command.ref, command.epoch)]))
            return
        for user_id in command.user_ids:
            # Nothing is said of who belongs to another shard, or may not have been reported to this one yet.
            status = self.core.presence.status(user_id) if owns(user_id) else None
            if status == OFFLINE and not self.core.lender.settled(user_id, self.now):
                status = None
            statuses.append(status)
        self.batch.tell(gateway, None, c.Answer(command.ref, protocol.json(statuses), command.epoch))

    def _handle_user(self, gateway: str, command: c.Attend | c.AllowanceCommand) -> None:
        user_id, now, lender = command.user_id, self.now, self.core.lender
        if not self.core.owns(user_id):
            if not isinstance(command, c.Attend):  # the gateway repeats it to the new owner unasked
                self.batch.tell(gateway, None, c.NotOwner([(command.ref, command.epoch)]))
            return
        epoch = self.core.epoch_of(user_id)
        match command:
            case c.Attend():
                self.core.presence.attend(gateway, user_id, command.sockets, command.status, now, again=command.again)
                self.batch.tell_each(lender.attended(gateway, command, epoch, now))
            case c.TakeAllowance():
                self.batch.tell_each(lender.asked(gateway, command, epoch, now))
            case c.ReturnAllowance():
                self.batch.tell_each(lender.returned(gateway, command, epoch, now))

    def _handle_room(self, gateway: str, command: c.RoomCommand) -> None:
        room_id = command.room_id
        partition = partition_of(room_id)
        ref = getattr(command, "ref", 0)
        if not self.core.accepts(command):
            if ref:
                self.batch.tell(gateway, None, c.NotOwner([(ref, command.epoch)]))
            return
        room = self.core.rooms.get(room_id)
        if room_id in self._held or not self._claims.free(command) or (room is not None and room.unstored(command)):
            # One statement changes a row once: the second change waits, and what follows keeps its order.
            self._held.add(room_id)
            self.batch.deferred.append((gateway, command))
            return
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

    def _perform(self, gateway: str, partition: int, room: Room, command: c.RoomCommand) -> None:
        match command:
            case c.Post():
                typed = command.sender.id in room.typing
                outcome = room.post(command, self.wall, self.supplies)
                self._durable(gateway, partition, room, command, outcome)
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
                if room.set_typing(command.user_id, command.is_typing, self.now, self.wall):
                    self.typing_changed(room, command.user_id, is_typing=command.is_typing)
                if room.typing:
                    self.core.typing.add(room.id)
                self.batch.tell(gateway, partition, c.Answer(command.ref, b"{}", command.epoch))
            case c.BlocksChanged() | c.Settle():
                self.batch.tell(gateway, partition, c.Answer(command.ref, b"{}", command.epoch))
            case _:
                self._change(gateway, partition, room, command)

    def _change(self, gateway: str, partition: int, room: Room, command: c.DurableCommand) -> None:
        """What changes a room, its members or its messages."""
        outcome = self._outcome(room, command)
        if isinstance(outcome, RoomEvent):
            if outcome.kind is EventKind.MEMBER_LEFT and outcome.subject is not None:
                self._tell_gone(room, outcome.subject.id, outcome.seq)
            elif outcome.kind is EventKind.ROOM_DELETED:
                self._tell_gone(room, None, outcome.seq)
        self._durable(gateway, partition, room, command, outcome)

    def _tell_gone(self, room: Room, user_id: UUID | None, seq: int) -> None:
        """Ahead of the event that says so: a gateway that shows it knows who goes with it, whatever is lost then."""
        self._open.pop(room.id, None)
        self._tell_room(room, c.MemberGone(room.id, user_id, seq))

    def _outcome(  # noqa: PLR0911 - one arm a command reads better than a table of functions
        self, room: Room, command: c.DurableCommand
    ) -> Outcome:
        match command:
            case c.AddMember():
                return room.add_member(command, self.wall)
            case c.RemoveMember():
                return room.remove_member(command, self.wall)
            case c.UpdateRoom():
                return room.update(command, self.wall)
            case c.DeleteRoom():
                return room.delete(command, self.wall)
            case c.EditMessage():
                return room_messages.edit(room, command, self.wall, self.supplies)
            case c.DeleteMessage():
                return room_messages.delete(room, command, self.wall)
            case c.React():
                return room_messages.react(room, command, self.wall)
            case c.Pin():
                return room_messages.pin(room, command, self.wall)
            case c.SetRole():
                return moderation.set_role(room, command, self.wall)
            case c.Sanction():
                return moderation.sanction(room, command, self.wall, self.core.policy)
            case c.Lift():
                return moderation.lift(room, command, self.wall)
            case c.Post():  # pragma: no branch - it is the last there is
                return room.post(command, self.wall, self.supplies)

    def _durable(self, gateway: str, partition: int, room: Room, command: c.DurableCommand, outcome: Outcome) -> None:
        if isinstance(outcome, RoomEvent):
            room_frames = self._open.get(room.id)
            if room_frames is None:
                room_frames = self._open[room.id] = []
                self._tell_room(room, c.Events(room.id, outcome.seq, room_frames))
            self.batch.add(outcome, room_frames)
            self._claims.take(command)
        answer: dict[str, object] = {"seq": outcome.seq}
        if isinstance(command, c.Post) and not isinstance(outcome, Unchanged):
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
