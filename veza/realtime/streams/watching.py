"""A stream as one gateway has it: what its viewers are told, and what the shard is told of them."""

from collections import Counter, deque
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar
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


class Watched(Generic[S]):
    """`state` is None until the shard has said what it is. `sockets` are who watches, by whom; None is nobody known."""

    def __init__(self, stream_id: UUID) -> None:
        self.id = stream_id
        self.state: s.StreamState | None = None
        self.viewers = 0
        self.head = 0
        self.recent: deque[tuple[int, bytes]] = deque(maxlen=RECENT)
        self.sockets: dict[S, UUID | None] = {}
        self.waiting: list[Callable[[VezaError | None], None]] = []  # for the shard's answer
        self.asking = False
        self.followed_last = True  # False: the shard could not be asked, and must be once more
        self.applause: Counter[str] = Counter()
        self._reported: set[UUID] = set()
        self._reported_anonymous = 0

    # -- viewers ---------------------------------------------------------------------------------------------

    def admit(self, socket: S, user_id: UUID | None) -> bytes:
        """Somebody watches from now on; returns the JSON for them. Raises StreamNotFound, Banned."""
        self._require(user_id)
        self.sockets[socket] = user_id
        return b'{"stream":%b,"viewer_count":%d,"messages":[%b]}' % (
            self._state.shown,
            max(self.viewers, 1),
            b",".join(message for _, message in self.recent),
        )

    def sees_all(self, user_id: UUID | None) -> bool:
        """Whether somebody is told every message: the streamer and the moderators."""
        return user_id is not None and (user_id == self._state.owner_id or user_id in self._state.moderators)

    def unwelcome(self) -> list[tuple[S, str]]:
        """Sockets of those who may not watch any more, and why: `banned` or `private`."""
        found = []
        for socket, user_id in self.sockets.items():
            try:
                self._require(user_id)
            except StreamNotFound:
                found.append((socket, "private"))
            except Banned:
                found.append((socket, "banned"))
        return found

    def _require(self, user_id: UUID | None) -> None:
        state = self._state
        if state.is_private and user_id != state.owner_id:
            raise StreamNotFound
        if user_id in state.banned:
            raise Banned("You are banned from this stream.")

    @property
    def _state(self) -> s.StreamState:
        if self.state is None:
            raise StreamNotFound
        return self.state

    # -- to the shard ----------------------------------------------------------------------------------------

    def follow(self, ref: int) -> s.FollowStream:
        """All who are here."""
        people, anonymous = self._audience()
        self._reported, self._reported_anonymous = people, anonymous
        return s.FollowStream(ref, self.id, sorted(people), anonymous)

    def report(self) -> s.ReportViewers | None:
        """What changed since the last report; None when nothing did."""
        people, anonymous = self._audience()
        if people == self._reported and anonymous == self._reported_anonymous:
            return None
        came, left = sorted(people - self._reported), sorted(self._reported - people)
        self._reported, self._reported_anonymous = people, anonymous
        return s.ReportViewers(self.id, came, left, anonymous)

    def applaud(self) -> s.Applaud | None:
        """The reactions since the last time."""
        if not self.applause:
            return None
        counts, self.applause = dict(self.applause), Counter()
        return s.Applaud(self.id, counts)

    def _audience(self) -> tuple[set[UUID], int]:
        people = {user_id for user_id in self.sockets.values() if user_id is not None}
        return people, sum(user_id is None for user_id in self.sockets.values())

    # -- from the shard --------------------------------------------------------------------------------------

    def followed(self, answer: s.StreamFollowed) -> tuple[list[bytes], int]:
        """The shard knows who is here. Returns what was missed since the last time, as frames, and how many more
        messages there were.
        """
        first, changed = self.state is None, list[bytes]()
        if self.state is not None:
            changed = news.missed(self.state.shown, answer.state.shown)
        self.state, self.viewers = answer.state, answer.viewers
        missed = [] if first else [(seq, data) for seq, data in answer.recent if seq > self.head]
        # Where the oldest that is known comes right behind what was seen, those between were deleted.
        oldest = answer.recent[0][0] if len(answer.recent) == RECENT else 0
        skipped = 0 if first else max(0, oldest - self.head - 1)
        self.recent.clear()
        self.recent.extend(answer.recent)
        self.head = answer.head
        return [*(protocol.frame(msgspec.Raw(data)) for _, data in missed), *changed], skipped

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
