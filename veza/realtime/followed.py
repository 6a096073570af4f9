"""One room that a gateway follows: its feed, and who is in it or on the way."""

from typing import TYPE_CHECKING, Generic, NamedTuple
from uuid import UUID

from veza.realtime.effects import S
from veza.realtime.feed import RoomFeed

if TYPE_CHECKING:
    from veza.realtime.joins import Asking, Join


class Member(NamedTuple):
    """Whose socket it is, and up to which seq the shard had decided when it let it in: a removal up to there was
    before, and is not meant for it.
    """

    user_id: UUID
    since: int


class RoomEntry(Generic[S]):
    """A followed room. `sockets` get everything; `joiners` will; `pending` joins wait for the shard or the feed.
    `readers` are the latest joins for which a page is read; those whose page is the last are joiners.
    """

    __slots__ = (
        "again",
        "asking",
        "catching_up",
        "ended",
        "feed",
        "first_seq",
        "id",
        "joiners",
        "pending",
        "readers",
        "refused",
        "removals",
        "sockets",
        "waiting",
    )

    def __init__(self, room_id: UUID) -> None:
        self.id = room_id
        self.feed = RoomFeed()
        self.first_seq: int | None = None  # the lowest that the log has kept, when last looked
        self.sockets: dict[S, Member] = {}
        self.joiners: dict[S, Join[S]] = {}
        self.readers: dict[S, Join[S]] = {}
        self.pending: dict[S, Asking] = {}
        self.waiting: dict[Join[S], int] = {}  # joins that wait until the feed has caught up, with the shard's seq
        # Who goes when the event of this seq has been passed on; None is everybody.
        self.removals: list[tuple[int, UUID | None]] = []
        self.catching_up = False
        self.ended = False  # the room is no more, though the log may have what was not passed on
        self.asking = False  # a subscription is on its way, or will be tried again
        self.again = False  # its answer may be out of date when it comes
        self.refused = 0  # subscriptions in a row that were refused for now

    @property
    def deserted(self) -> bool:
        return not (self.sockets or self.joiners or self.readers or self.waiting or self.pending)
