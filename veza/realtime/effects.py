"""What the core of a gateway wants done. The shell around it does it, each in its order; whatever a `then` returns
is done next.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, Protocol, TypeVar
from uuid import UUID

import msgspec

from veza.errors import VezaError
from veza.realtime import commands as c
from veza.realtime.events import RoomEvent

if TYPE_CHECKING:
    from veza.realtime.followed import RoomEntry
    from veza.realtime.joins import Join


class Peer(Protocol):
    """A socket, as far as the core looks at it."""

    @property
    def closing(self) -> bool: ...


S = TypeVar("S", bound=Peer)
ShardReply = c.Answer | c.Subscribed | VezaError


class LogPage(NamedTuple):
    """Events of a room after some seq, oldest first. `first_seq`, the lowest that the log has kept, is told when it
    may explain why they do not begin with the very next.
    """

    events: Sequence[RoomEvent]
    first_seq: int | None = None


class JoinPage(NamedTuple):
    """Events for a `join_room` as a JSON list: everything up to `last_seq` that the log has kept."""

    events: msgspec.Raw
    last_seq: int
    first_seq: int


class Write(Generic[S]):
    """Durable frames for every socket in the room that does not leave while they are written: the same bytes, one
    write a socket. Nothing that puts a socket into a room may be handled before it is done.
    """

    __slots__ = ("entry", "frames")

    def __init__(self, entry: "RoomEntry[S]", frames: Sequence[bytes]) -> None:
        self.entry = entry
        self.frames = frames


class Tell(Generic[S]):
    """A frame that may be dropped, for all in the room but the sockets of one user."""

    __slots__ = ("but", "entry", "frame")

    def __init__(self, entry: "RoomEntry[S]", frame: bytes, but: UUID | None) -> None:
        self.entry = entry
        self.frame = frame
        self.but = but


class Say(Generic[S]):
    """Finished frames for one socket."""

    __slots__ = ("data", "socket")

    def __init__(self, socket: S, data: bytes) -> None:
        self.socket = socket
        self.data = data


class Refuse(Say[S]):
    """The frame that answers a command with an error, which has this `code`."""

    __slots__ = ("code",)

    def __init__(self, socket: S, data: bytes, code: str) -> None:
        super().__init__(socket, data)
        self.code = code


class Close(Generic[S]):
    """The socket must go and may come back at once."""

    __slots__ = ("socket",)

    def __init__(self, socket: S) -> None:
        self.socket = socket


class Entered(Generic[S]):
    """The socket is in this room from now on: when it closes, it must leave it."""

    __slots__ = ("room_id", "socket")

    def __init__(self, socket: S, room_id: UUID) -> None:
        self.socket = socket
        self.room_id = room_id


class Send(NamedTuple):
    """A command that wants no answer, for the shard of `subject`."""

    command: c.ShardCommand
    subject: UUID


class Request(NamedTuple):
    """A command for the shard of `subject`; `then` is called once, with its answer."""

    make: Callable[[int], c.ShardCommand]
    subject: UUID
    then: Callable[[ShardReply], "list[Effect]"]


class Answers(NamedTuple):
    """What shards said to requests, of the core and of others."""

    items: list[c.Answer | c.Refusal | c.Subscribed]


class Other(NamedTuple):
    """A delivery that is not about a room, or not about rooms alone."""

    shard: str
    item: c.Delivery


class ReadLog(NamedTuple):
    """Read at most `limit` events after `after`. `then` gets None when that failed, and is handled as a delivery is:
    when nothing else is being written.
    """

    room_id: UUID
    after: int
    limit: int
    then: Callable[[LogPage | None], "Iterable[Effect]"]


class ReadPage(Generic[S]):
    """Read the page of a join, `after` < seq <= `upto`; then call `Joins.page_read` or `Joins.page_failed`. When both
    are the same, only `first_seq` is asked for.
    """

    __slots__ = ("after", "join", "upto")

    def __init__(self, join: "Join[S]", after: int, upto: int) -> None:
        self.join = join
        self.after = after
        self.upto = upto


class Later(NamedTuple):
    """Call `then` after some time between `least` and `most` seconds."""

    least: float
    most: float
    then: Callable[[], "list[Effect]"]


Effect = (
    Write[Any]
    | Tell[Any]
    | Say[Any]
    | Close[Any]
    | Entered[Any]
    | Send
    | Request
    | Answers
    | Other
    | ReadLog
    | ReadPage[Any]
    | Later
)
