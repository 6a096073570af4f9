"""Which users have sockets on this gateway, and what others may see of them."""

from collections.abc import Iterable, Sequence
from typing import Generic, Protocol
from uuid import UUID

from veza.realtime import commands as c
from veza.realtime.effects import Effect, S, Send
from veza.realtime.partition import partition_of
from veza.realtime.presence import strongest
from veza.realtime.routing import Router

# So many of those who left last are repeated, too: more than leave while a link to a shard breaks and is replaced.
MAX_LEFT = 10_000


class Loans(Protocol):
    """The message allowances that this gateway holds (`realtime.allowance`), which a new owner must be told of, too."""

    def held(self, user_id: UUID) -> tuple[int, float]:
        """`(grant, tokens)`, zeros for none."""
        ...

    def holders(self) -> Iterable[UUID]: ...


class NoLoans:
    """A gateway on which nobody writes."""

    def held(self, user_id: UUID) -> tuple[int, float]:  # noqa: ARG002 - the same for everybody
        return 0, 0.0

    def holders(self) -> Sequence[UUID]:
        return ()


class Attendance(Generic[S]):
    """The users of one gateway. The owner of a user's partition is told every change."""

    def __init__(self, router: Router) -> None:
        self.users: dict[UUID, dict[S, str]] = {}  # user → socket, the newest at the end → status it chose
        self.loans: Loans = NoLoans()  # set by whoever lets people write
        self._left: dict[UUID, None] = {}  # who left, the last at the end: a report is not answered, and may be lost
        self._router = router

    def arrive(self, socket: S, user_id: UUID) -> list[Effect]:
        self._left.pop(user_id, None)
        sockets = self.users.setdefault(user_id, {})
        sockets[socket] = "online"
        return [self._attend(user_id)]

    def depart(self, socket: S, user_id: UUID) -> list[Effect]:
        sockets = self.users.get(user_id)
        if sockets is None or sockets.pop(socket, None) is None:
            return []
        if not sockets:
            del self.users[user_id]
            self._left[user_id] = None
            if len(self._left) > MAX_LEFT:
                del self._left[next(iter(self._left))]
        return [self._attend(user_id)]

    def choose_status(self, socket: S, user_id: UUID, status: str) -> list[Effect]:
        """The status a socket chose; idle ones are `away`."""
        sockets = self.users.get(user_id)
        if sockets is None or sockets.get(socket) in (None, status):
            return []
        sockets[socket] = status
        return [self._attend(user_id)]

    def moved(self, partitions: set[int]) -> list[Effect]:
        """These partitions have another owner, who must be told of their users."""
        return self._repeat(user_id for user_id in self._known() if partition_of(user_id) in partitions)

    def lagged(self, shard: str) -> list[Effect]:
        """A shard may have missed something, or forgotten it."""
        return self._repeat(user_id for user_id in self._known() if self._router.owner(user_id) == shard)

    def newest(self, user_id: UUID, count: int) -> list[S]:
        """The sockets of a user that came last and are not closing."""
        return [socket for socket in reversed(self.users.get(user_id, {})) if not socket.closing][:count]

    def _known(self) -> list[UUID]:
        """Who has sockets here, had some, or has an allowance here."""
        return list({**self.users, **self._left, **dict.fromkeys(self.loans.holders())})

    def _repeat(self, user_ids: Iterable[UUID]) -> list[Effect]:
        return [self._attend(user_id, again=True) for user_id in user_ids]

    def _attend(self, user_id: UUID, *, again: bool = False) -> Send:
        statuses = self.users.get(user_id, {}).values()
        grant, tokens = self.loans.held(user_id) if again else (0, 0.0)
        return Send(c.Attend(user_id, len(statuses), strongest(set(statuses)), again, grant, tokens), user_id)
