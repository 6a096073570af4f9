"""Where a reader stands in a room: which events to hand on, which were seen, when to ask the server again."""

import enum
from collections.abc import Iterable
from typing import TypeVar

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
