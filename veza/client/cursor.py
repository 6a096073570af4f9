"""Where a reader stands in a room, or a viewer in a stream: what to hand on, what was seen, when to ask again."""

import enum
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Generic, TypeVar

import msgspec

T = TypeVar("T")


class Verdict(enum.Enum):
    """What to do with one live event."""

    DELIVER = "deliver"
    DUPLICATE = "duplicate"
    WAIT = "wait"  # a page that is on its way brings it
    GAP = "gap"  # something before it is missing: join again


class RoomCursor:
    """Lets every event of a room through once, in order of `seq`, without a gap.

    `last_seq` is the newest event let through, None until the first page when the reader starts at the room's
    end. `live` is true while the next live event continues exactly after `last_seq`. What arrives while it is
    not live is not kept, only remembered as `_head`: the log has it, so memory stays small.
    """

    def __init__(self, last_seq: int | None = None) -> None:
        if last_seq is not None and last_seq < 0:
            raise ValueError("last_seq is at least 0")
        self.last_seq = last_seq
        self.live = False
        self._head = 0

    def suspend(self) -> None:
        """The connection is gone or the reader is too slow: only a page continues from here."""
        self.live = False

    def event(self, seq: int) -> Verdict:
        """Decide on a live event."""
        self._head = max(self._head, seq)
        if self.last_seq is not None and seq <= self.last_seq:
            return Verdict.DUPLICATE
        if not self.live or self.last_seq is None:
            return Verdict.WAIT
        if seq != self.last_seq + 1:
            self.live = False
            return Verdict.GAP
        self.last_seq = seq
        return Verdict.DELIVER

    def missed(self, seq: int) -> None:
        """A live event could not be taken; the log brings it back."""
        self._head = max(self._head, seq)
        self.live = False

    def page(self, events: Iterable[tuple[int, T]], head: int, has_more: bool, first_seq: int = 1) -> list[T | range]:
        """Take a page of `join_room`; return what is new in it, in order.

        `head` is the room's newest seq, by the reply. Afterwards `live` says whether live events follow; when
        false another page must be asked for, after the present `last_seq`. What lies before `first_seq` and is not
        in the page is gone from the log for ever: a range of seqs stands in its place.
        """
        if self.last_seq is None:
            # Joined at the end: what came before is not ours to deliver.
            self.last_seq = head
        fresh: list[T | range] = []
        for seq, event in sorted(events, key=lambda pair: pair[0]):
            self._head = max(self._head, seq)
            # The bound may be younger than the page, and then says of events in it that they are gone.
            self._step_over(min(first_seq, seq), fresh)
            if seq == self.last_seq + 1:
                self.last_seq = seq
                fresh.append(event)
        # Nothing can be gone that never was.
        self._step_over(min(first_seq, max(head, self._head) + 1), fresh)
        if not has_more:
            self._head = max(self._head, head)
        self.live = not has_more and self.last_seq >= self._head
        return fresh

    def _step_over(self, end: int, fresh: list[T | range]) -> None:
        """What comes before `end` and was not let through is gone."""
        gone = range((self.last_seq or 0) + 1, end)
        if gone:
            self.last_seq = gone[-1]
            fresh.append(gone)


# As many as the server shows whoever comes: of older messages it does not say whether they are still there.
_REMEMBERED = 50


class Recent(msgspec.Struct, Generic[T], frozen=True):
    """What the last messages of a stream tell whoever was away: `fresh` are new, in order, after `skipped` others that
    cannot be had here; `deleted` are the ids of those that were shown and are gone.
    """

    skipped: int
    fresh: list[T]
    deleted: list[str]


class StreamCursor:
    """Lets every message of a stream through at most once, in order of `seq`.

    `last_seq` is the newest let through, None until the first answer. `live` is true while the connection watches. Who
    watches is not promised all: gaps between live messages are passed over, and the server counts them.
    """

    def __init__(self, last_seq: int | None = None) -> None:
        if last_seq is not None and last_seq < 0:
            raise ValueError("last_seq is at least 0")
        self.last_seq = last_seq
        self.live = False
        self._shown: OrderedDict[str, int] = OrderedDict()  # ids of the last messages let through, with their seq

    def suspend(self) -> None:
        """The connection is gone: only the last messages continue from here."""
        self.live = False

    def message(self, seq: int, message_id: str) -> bool:
        """Whether to hand on a live message. While not `live`, the answer that is on its way has it."""
        if not self.live or seq <= (self.last_seq or 0):
            return False
        self._show(seq, message_id)
        return True

    def deleted(self, message_id: str) -> None:
        """It is known to be gone."""
        self._shown.pop(message_id, None)

    def recent(self, messages: Sequence[tuple[int, str, T]]) -> Recent[T]:
        """Take the last messages, as `(seq, id, message)`: the connection watches from here on."""
        self.live = True
        ordered = sorted(messages, key=lambda one: one[0])
        # Nothing is known of what came before the oldest; of what follows it, that what is missing is deleted.
        oldest = ordered[0][0] if ordered else None
        still_there = {message_id for _, message_id, _ in ordered}
        deleted = [
            message_id
            for message_id, seq in self._shown.items()
            if oldest is not None and seq >= oldest and message_id not in still_there
        ]
        for message_id in deleted:
            self.deleted(message_id)
        skipped = 0 if self.last_seq is None or oldest is None else max(0, oldest - self.last_seq - 1)
        fresh = []
        for seq, message_id, message in ordered:
            if seq > (self.last_seq or 0):
                self._show(seq, message_id)
                fresh.append(message)
        self.last_seq = self.last_seq or 0
        return Recent(skipped, fresh, deleted)

    def _show(self, seq: int, message_id: str) -> None:
        self.last_seq = seq
        self._shown[message_id] = seq
        if len(self._shown) > _REMEMBERED:
            self._shown.popitem(last=False)
