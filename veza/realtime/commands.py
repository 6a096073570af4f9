"""What gateways and room shards say to each other: msgpack, many in one actor call.

`ref` is the gateway's own number for a command that wants an answer; 0 wants none. A durable command also carries
`id`, which is stored with the event, so that sending it again after a failover is harmless; `again` says that it
may have been sent before and must be looked up.
"""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import msgspec

from veza.realtime.events import Person


class Wire(msgspec.Struct, array_like=True):
    pass


# -- gateway → shard ---------------------------------------------------------------------------------------------


class Routed(Wire, kw_only=True):
    """`epoch` is the one under which the router knew the owner it sent to: a shard that lost the partition since and
    got it back takes nothing that was sent before, for that was sent again to whoever owned it between.

    `trace` names the frame or request it came from, in logs.
    """

    epoch: int = 0
    trace: str = ""


class Join(Routed, tag=1):
    """May this person see the room, and from which seq on do live events follow? Also subscribes the gateway."""

    ref: int
    room_id: UUID
    user_id: UUID


class Subscribe(Routed, tag=2):
    """The gateway follows this room (again): after a failover, or after it was cut back."""

    ref: int
    room_id: UUID


class Unsubscribe(Routed, tag=3):
    room_id: UUID


class Post(Routed, tag=4):
    ref: int
    room_id: UUID
    id: UUID
    sender: Person
    content: str
    client_msg_id: str | None = None
    parent_id: UUID | None = None
    attachments: list[UUID] = []
    again: bool = False


class AddMember(Routed, tag=5):
    """`by` is the member who adds, or the person themself who joins a public room."""

    ref: int
    room_id: UUID
    id: UUID
    by: Person
    user: Person
    role: str = "member"
    again: bool = False


class RemoveMember(Routed, tag=6):
    """Leaving (`by` is `user`) or being removed by someone above."""

    ref: int
    room_id: UUID
    id: UUID
    by: Person
    user: Person
    again: bool = False


class UpdateRoom(Routed, tag=7):
    """What is None stays as it is; `retention_days` 0 keeps everything."""

    ref: int
    room_id: UUID
    id: UUID
    by: Person
    name: str | None = None
    retention_days: int | None = None
    again: bool = False


class DeleteRoom(Routed, tag=8):
    ref: int
    room_id: UUID
    id: UUID
    by: Person
    by_admin: bool = False
    again: bool = False


class MarkRead(Routed, tag=9):
    ref: int
    room_id: UUID
    user_id: UUID
    seq: int


class Typing(Routed, tag=10):
    ref: int
    room_id: UUID
    user_id: UUID
    is_typing: bool


class Attend(Routed, tag=11):
    """The state of one user on this gateway: how many sockets, and the status they chose.

    `again` when it repeats to a new owner what the old one had been told; then `grant` is the loan of the user's
    message allowance that this gateway holds (0 for none), and `tokens` what is left of it.
    """

    user_id: UUID
    sockets: int
    status: str
    again: bool = False
    grant: int = 0
    tokens: float = 0.0


class GetPresence(Routed, tag=12):
    """Answered with a list of statuses in the order of `user_ids`, null of whom this shard cannot know (yet)."""

    ref: int
    user_ids: list[UUID]


class EditMessage(Routed, tag=13):
    ref: int
    room_id: UUID
    id: UUID
    by: Person
    message_id: UUID
    content: str
    again: bool = False


class DeleteMessage(Routed, tag=14):
    ref: int
    room_id: UUID
    id: UUID
    by: Person
    message_id: UUID
    by_admin: bool = False
    again: bool = False


class React(Routed, tag=15):
    """`on` adds the emoji, else it is taken back."""

    ref: int
    room_id: UUID
    id: UUID
    by: Person
    message_id: UUID
    emoji: str
    on: bool
    again: bool = False


class Pin(Routed, tag=16):
    """`on` pins the message, else it is unpinned."""

    ref: int
    room_id: UUID
    id: UUID
    by: Person
    message_id: UUID
    on: bool
    again: bool = False


class SetRole(Routed, tag=17):
    ref: int
    room_id: UUID
    id: UUID
    by: Person
    user: Person
    role: str
    again: bool = False


class Sanction(Routed, tag=18):
    """`action` is warn, mute, kick or ban; `duration_s` None lasts until lifted. The sanction's id is the command's."""

    ref: int
    room_id: UUID
    id: UUID
    by: Person
    user: Person
    action: str
    duration_s: int | None = None
    reason: str = ""
    by_admin: bool = False
    again: bool = False


class Lift(Routed, tag=19):
    """Ends what lasts of one action (mute or ban) for a user."""

    ref: int
    room_id: UUID
    id: UUID
    by: Person
    user: Person
    action: str
    by_admin: bool = False
    again: bool = False


class BlocksChanged(Routed, tag=20):
    """Somebody blocked or unblocked the other of this direct room: who may write is read anew. Answered with `{}`."""

    ref: int
    room_id: UUID


class TakeAllowance(Routed, tag=21):
    """Somebody wants to write here. Answered with `{}` behind the `AllowanceLent`, which may take a recall."""

    ref: int
    user_id: UUID


class ReturnAllowance(Routed, tag=22):
    """The loan `grant` ends with so many `tokens`; None when this gateway does not hold it. Answered with `{}`."""

    ref: int
    user_id: UUID
    grant: int
    tokens: float | None


class Settle(Routed, tag=23):
    """Answered with `{}` once all that was sent about this room before is decided and stored."""

    ref: int
    room_id: UUID


RoomCommand = (
    Join
    | Subscribe
    | Unsubscribe
    | Post
    | AddMember
    | RemoveMember
    | UpdateRoom
    | DeleteRoom
    | MarkRead
    | Typing
    | EditMessage
    | DeleteMessage
    | React
    | Pin
    | SetRole
    | Sanction
    | Lift
    | BlocksChanged
    | Settle
)
AllowanceCommand = TakeAllowance | ReturnAllowance
UserCommand = Attend | GetPresence | AllowanceCommand
ShardCommand = RoomCommand | UserCommand
# What touches one message that is stored already.
MessageCommand = EditMessage | DeleteMessage | React | Pin
DurableCommand = Post | AddMember | RemoveMember | UpdateRoom | DeleteRoom | MessageCommand | SetRole | Sanction | Lift


class CommandBatch(Wire):
    """`gateway` is the name of the actor that wants the answers."""

    gateway: str
    commands: list[ShardCommand]


# -- shard → gateway ---------------------------------------------------------------------------------------------


class Events(Wire, tag=1):
    """Committed events of one room as finished frames: `frames[i]` has seq `first_seq + i`."""

    room_id: UUID
    first_seq: int
    frames: list[bytes]


class Transient(Wire, tag=2):
    """A frame without a seq; `but` is a user who need not get it."""

    room_id: UUID
    frame: bytes
    but: UUID | None = None


class Answer(Wire, tag=3):
    """`data` is the JSON of the reply. `epoch`, here and below, is that of the command it answers."""

    ref: int
    data: bytes
    epoch: int = 0


class Refusal(Wire, tag=4):
    """An error of `veza.errors` by its class name and arguments."""

    ref: int
    error: str
    args: list[Any]
    epoch: int = 0


class Subscribed(Wire, tag=5):
    """Everything up to `seq` is committed; what is later follows in this same stream."""

    ref: int
    room_id: UUID
    seq: int
    epoch: int = 0


class NotOwner(Wire, tag=6):
    """The shard does not own the partitions of these commands, `(ref, epoch)`, any more: find the owner, send again."""

    refs: list[tuple[int, int]]


class Lagged(Wire, tag=7):
    """Events were dropped because this gateway is behind: resync every room of this shard."""


class MemberGone(Wire, tag=8):
    """Sockets of this user (all of them when None) are no longer in the room once the event `seq`, which says so, has
    been passed on; sent ahead of that event.
    """

    room_id: UUID
    user_id: UUID | None
    seq: int


class PresenceChanged(Wire, tag=9):
    user_id: UUID
    status: str
    room_ids: list[UUID]


class UserFrame(Wire, tag=10):
    """A frame for every socket of a user, such as a notification."""

    user_id: UUID
    frame: bytes


class AllowanceLent(Wire, tag=11):
    """The message allowance of this user, all of it, is with this gateway until it is recalled."""

    user_id: UUID
    grant: int
    tokens: float


class RecallAllowance(Wire, tag=12):
    """Somebody else needs it: `ReturnAllowance`, whether it is held or not. `own` when this shard lent it."""

    user_id: UUID
    grant: int
    own: bool


class TooManySockets(Wire, tag=13):
    """The user has too many over all gateways: this one closes its newest `excess`."""

    user_id: UUID
    excess: int


UserDelivery = AllowanceLent | RecallAllowance | TooManySockets
Delivery = (
    Events
    | Transient
    | Answer
    | Refusal
    | Subscribed
    | NotOwner
    | Lagged
    | MemberGone
    | PresenceChanged
    | UserFrame
    | UserDelivery
)


class DeliveryBatch(Wire):
    """`committed_at` is when the oldest of its events was stored, in seconds since 1970; 0 without events."""

    shard: str
    items: list[Delivery]
    committed_at: float = 0.0


_encoder = msgspec.msgpack.Encoder(uuid_format="bytes")
_commands = msgspec.msgpack.Decoder(CommandBatch)
_deliveries = msgspec.msgpack.Decoder(DeliveryBatch)


def encode(batch: CommandBatch | DeliveryBatch) -> bytes:
    return _encoder.encode(batch)


def encode_commands(gateway: str, commands: Sequence[Routed]) -> bytes:
    """A CommandBatch of any kind of shard."""
    return _encoder.encode((gateway, commands))


def encode_deliveries(shard: str, items: Sequence[Wire], committed_at: float) -> bytes:
    """A DeliveryBatch of any kind of shard."""
    return _encoder.encode((shard, items, committed_at))


def decode_commands(data: bytes) -> CommandBatch:
    return _commands.decode(data)


def decode_deliveries(data: bytes) -> DeliveryBatch:
    return _deliveries.decode(data)
