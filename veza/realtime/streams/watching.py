"""A stream as one gateway has it: what its viewers are told, and what the shard is told of them."""

from collections import Counter, deque
from collections.abc import Callable, Iterable
from typing import Generic, NamedTuple, TypeVar
from uuid import UUID

import msgspec

from veza.errors import Banned, StreamNotFound, VezaError
from veza.realtime import commands as c
from veza.realtime import protocol
from veza.realtime import stream_commands as s
from veza.realtime.frames import payload_of
from veza.realtime.streams import news
from veza.realtime.streams.chat import RECENT

S = TypeVar("S")


class Missed(NamedTuple):
    """Frames of what a gateway could not hear. Those who see all are told what is `older` as well, and that `untold`
    messages are missing; others that `skipped` are.
    """

    older: list[bytes]
    frames: list[bytes]
    skipped: int
    untold: int


class Watched(Generic[S]):
    """`state` is None until the shard has said what it is. `sockets` are who watches, by whom; None is nobody known."""

    def __init__(self, stream_id: UUID) -> None:
        self.id = stream_id
        self.state: s.StreamState | None = None
        self.viewers = 0
        self.head = 0
        self.recent: deque[tuple[int, bytes]] = deque(maxlen=RECENT)
        self.sockets: dict[S, UUID | None] = {}
        self.waiting: list[tuple[S, Callable[[VezaError | None], None]]] = []  # for the shard's answer
        self.asking = False
        self.follow_again = False  # when the answer is there: what it says may be out of date
        self.followed_last = True  # False: the shard could not be asked, and must be once more
        self.applause: Counter[str] = Counter()
        self._people: Counter[UUID] = Counter()  # how many sockets each has
        self._anonymous = 0
        self._changed: set[UUID] = set()  # who may have come or left since the last report
        self._reported: set[UUID] = set()
        self._reported_anonymous = 0
        self._restrictions: tuple[bool, frozenset[UUID]] = (False, frozenset())
        self._banned_of: s.StreamState | None = None
        self._banned_set: frozenset[UUID] = frozenset()

    # -- viewers ---------------------------------------------------------------------------------------------

    def admit(self, socket: S, user_id: UUID | None) -> bytes:
        """Somebody watches from now on; returns the JSON for them. Raises StreamNotFound, Banned."""
        self._require(user_id)
        self.leave(socket)
        self.join(socket, user_id)
        return b'{"stream":%b,"viewer_count":%d,"messages":[%b]}' % (
            self._state.shown,
            max(self.viewers, 1),
            b",".join(message for _, message in self.recent),
        )

    def join(self, socket: S, user_id: UUID | None) -> None:
        self.sockets[socket] = user_id
        if user_id is None:
            self._anonymous += 1
        else:
            self._people[user_id] += 1
            self._changed.add(user_id)

    def leave(self, socket: S) -> None:
        """Without effect for one that does not watch."""
        if socket not in self.sockets:
            return
        user_id = self.sockets.pop(socket)
        if user_id is None:
            self._anonymous -= 1
            return
        self._changed.add(user_id)
        self._people[user_id] -= 1
        if not self._people[user_id]:
            del self._people[user_id]

    def restricted_anew(self) -> bool:
        """Whether others may watch than when this was asked last: only then is everybody looked at."""
        before, self._restrictions = self._restrictions, (self._state.is_private, self._banned)
        return self._restrictions != before

    def sees_all(self, user_id: UUID | None) -> bool:
        """Whether somebody is told every message: the streamer and the moderators."""
        state = self.state
        return state is not None and user_id is not None and (user_id == state.owner_id or user_id in state.moderators)

    def unwelcome(self) -> list[tuple[S, str]]:
        """Sockets of those who may not watch any more, and why: `banned` or `private`."""
        found = []
        for socket in self.sockets:
            reason = self.unwelcome_because(socket)
            if reason is not None:
                found.append((socket, reason))
        return found

    def unwelcome_because(self, socket: S) -> str | None:
        """Why this socket may not watch any more; None when it may."""
        try:
            self._require(self.sockets[socket])
        except StreamNotFound:
            return "private"
        except Banned:
            return "banned"
        return None

    def _require(self, user_id: UUID | None) -> None:
        state = self._state
        if state.is_private and user_id != state.owner_id:
            raise StreamNotFound
        if user_id in self._banned:
            raise Banned("You are banned from this stream.")

    @property
    def _banned(self) -> frozenset[UUID]:
        """As a set, made once for a state."""
        state = self._state
        if self._banned_of is not state:
            self._banned_of, self._banned_set = state, frozenset(state.banned)
        return self._banned_set

    @property
    def _state(self) -> s.StreamState:
        if self.state is None:
            raise StreamNotFound
        return self.state

    # -- to the shard ----------------------------------------------------------------------------------------

    def follow(self, ref: int) -> s.FollowStream:
        """All who are here."""
        people = set(self._people)
        self._changed.clear()
        self._reported, self._reported_anonymous = people, self._anonymous
        # Before the first answer nothing was told to anybody.
        told = self.head if self.state is not None and any(map(self.sees_all, people)) else None
        return s.FollowStream(ref, self.id, sorted(people), self._anonymous, told)

    def report(self) -> s.ReportViewers | None:
        """What changed since the last report; None when nothing did."""
        changed, self._changed = self._changed, set()
        came = sorted(each for each in changed if each in self._people and each not in self._reported)
        left = sorted(each for each in changed if each not in self._people and each in self._reported)
        if not came and not left and self._anonymous == self._reported_anonymous:
            return None
        self._reported.update(came)
        self._reported.difference_update(left)
        self._reported_anonymous = self._anonymous
        return s.ReportViewers(self.id, came, left, self._anonymous)

    def applaud(self) -> s.Applaud | None:
        """The reactions since the last time."""
        if not self.applause:
            return None
        counts, self.applause = dict(self.applause), Counter()
        return s.Applaud(self.id, counts)

    # -- from the shard --------------------------------------------------------------------------------------

    def followed(self, answer: s.StreamFollowed) -> Missed:
        """The shard knows who is here. Returns what was missed since the last time."""
        first, changed = self.state is None, list[bytes]()
        if self.state is not None:
            changed = news.missed(self.state.shown, answer.state.shown)
        self.state, self.viewers = answer.state, answer.viewers
        older = [] if first else [(seq, data) for seq, data in answer.older if seq > self.head]
        recent = [] if first else [(seq, data) for seq, data in answer.recent if seq > self.head]
        skipped = 0 if first else max(0, answer.recent_from - self.head - 1)
        untold = 0 if first else max(0, answer.recent_from - max(self.head, answer.older_to) - 1)
        self.recent.clear()
        self.recent.extend(answer.recent)
        self.head = answer.head
        return Missed(_framed(older), [*_framed(recent), *changed], skipped, untold)

    def missed(self, events: c.Events) -> bool:
        """Whether messages before these never came: what a shard sends has no gaps."""
        return events.first_seq > self.head + 1

    def said(self, events: c.Events) -> list[bytes]:
        """Frames of messages that are new here."""
        new = events.frames[max(0, self.head + 1 - events.first_seq) :]
        seq = events.first_seq + len(events.frames) - len(new)
        self.recent.extend((seq + n, payload_of(frame)) for n, frame in enumerate(new))
        self.head = max(self.head, seq + len(new) - 1)
        return new

    def changed(self, change: s.StreamChanged) -> None:
        """`state` is not None."""
        self.state = change.state
        deleted = set(_deleted(change.frames))
        if deleted:
            kept = [(seq, data) for seq, data in self.recent if msgspec.json.decode(data)["id"] not in deleted]
            self.recent.clear()
            self.recent.extend(kept)

    def transient(self, frame: bytes) -> None:
        found = msgspec.json.decode(payload_of(frame), type=_Count)
        if found.count is not None:
            self.viewers = found.count


class _Count(msgspec.Struct):
    count: int | None = None


def _deleted(frames: Iterable[bytes]) -> Iterable[str]:
    for frame in frames:
        found = msgspec.json.decode(payload_of(frame))
        if found["type"] == "stream_message_deleted":
            yield found["message_id"]


def _framed(messages: Iterable[tuple[int, bytes]]) -> list[bytes]:
    return [protocol.frame(msgspec.Raw(data)) for _, data in messages]
