"""The parts of the client that do no I/O."""

import pickle
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from veza.client.backoff import Backoff
from veza.client.cursor import RoomCursor, Verdict
from veza.client.errors import (
    Abuse,
    Banned,
    ClientError,
    MessageNotFound,
    Muted,
    NotAMember,
    PermissionDenied,
    RateLimited,
    RoomNotFound,
    ServerError,
    SessionEnded,
    Unavailable,
    UserBlocked,
    fatal_close,
    refusal,
)
from veza.client.pending import PendingCommands, TooManyPendingError


class CursorMachine(RuleBasedStateMachine):
    """A room that grows, a network that drops, repeats and reorders: the reader gets 1, 2, 3 … all the same."""

    @initialize(written=st.integers(0, 20), data=st.data())
    def start(self, written: int, data: st.DataObject) -> None:
        self.head = written
        self.from_seq = data.draw(st.none() | st.integers(0, written))
        self.cursor = RoomCursor(self.from_seq)
        self.delivered: list[int] = []
        self.first = 1
        if self.from_seq is None:
            self.from_seq = written
            assert self.cursor.page([], written, has_more=False) == []

    @rule(count=st.integers(1, 5))
    def write(self, count: int) -> None:
        self.head += count

    @rule(data=st.data())
    def retention(self, data: st.DataObject) -> None:
        self.first = data.draw(st.integers(self.first, self.head + 1))

    @rule(data=st.data())
    def live_event(self, data: st.DataObject) -> None:
        if self.head:
            seq = data.draw(st.integers(max(1, self.head - 3), self.head))
            if self.cursor.event(seq) is Verdict.DELIVER:
                self.delivered.append(seq)

    @rule()
    def next_event_in_order(self) -> None:
        seq = (self.cursor.last_seq or 0) + 1
        was_live = self.cursor.live
        if seq <= self.head:
            verdict = self.cursor.event(seq)
            assert (verdict is Verdict.DELIVER) == was_live
            if was_live:
                self.delivered.append(seq)

    @rule(seqs_behind=st.integers(0, 3))
    def fell_behind(self, seqs_behind: int) -> None:
        if self.head:
            self.cursor.missed(max(1, self.head - seqs_behind))

    @rule()
    def cut(self) -> None:
        self.cursor.suspend()

    @rule(
        size=st.integers(0, 6),
        shuffle=st.randoms(use_true_random=False),
        repeat=st.booleans(),
        retained=st.integers(0, 4),
    )
    def page(self, size: int, shuffle: random.Random, repeat: bool, retained: int) -> None:
        after = self.cursor.last_seq or 0
        seqs = list(range(max(after + 1, self.first), self.head + 1))
        has_more = len(seqs) > size
        seqs = seqs[:size]
        if repeat:
            seqs += list(range(max(1, after - 2), after + 1)) + seqs[:2]
        shuffle.shuffle(seqs)
        if retained:
            # Some of the page was read before retention took it.
            self.first = min(self.first + retained, self.head + 1)
        for item in self.cursor.page([(seq, seq) for seq in seqs], self.head, has_more, self.first):
            if isinstance(item, range):
                assert item[-1] < self.first
                assert not set(item) & set(seqs)
                self.delivered += item
            else:
                self.delivered.append(item)
        assert self.cursor.live == (not has_more)
        if not has_more:
            assert self.cursor.last_seq == self.head

    @invariant()
    def in_order_without_gap(self) -> None:
        if hasattr(self, "cursor"):
            assert self.from_seq is not None
            assert self.delivered == list(range(self.from_seq + 1, self.from_seq + 1 + len(self.delivered)))
            assert self.cursor.last_seq == self.from_seq + len(self.delivered)


TestCursor = CursorMachine.TestCase


def test_a_hole_in_a_page_is_never_jumped() -> None:
    cursor = RoomCursor(3)
    assert cursor.page([(4, 4), (6, 6)], 6, has_more=False) == [4]
    assert not cursor.live
    assert cursor.page([(5, 5), (6, 6)], 6, has_more=False) == [5, 6]
    assert cursor.live


def test_what_is_gone_is_told_where_it_was() -> None:
    cursor = RoomCursor(3)
    assert cursor.page([(6, 6), (7, 7)], 9, has_more=True, first_seq=6) == [range(4, 6), 6, 7]
    # The bound rose after the page was read: what is in it was not lost.
    assert cursor.page([(8, 8), (9, 9)], 12, has_more=True, first_seq=12) == [8, 9, range(10, 12)]
    assert cursor.page([(13, 13)], 13, has_more=False, first_seq=12) == []
    assert not cursor.live
    assert cursor.page([(12, 12), (13, 13)], 13, has_more=False, first_seq=99) == [12, 13]
    assert cursor.live


def test_an_event_ahead_of_the_page_makes_the_cursor_ask_again() -> None:
    cursor = RoomCursor(0)
    assert cursor.event(2) is Verdict.WAIT
    assert cursor.page([(1, 1)], 1, has_more=False) == [1]
    assert not cursor.live


def test_a_cursor_starts_at_zero_or_later() -> None:
    with pytest.raises(ValueError, match="at least 0"):
        RoomCursor(-1)


@given(st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=40), st.floats(0.01, 5), st.floats(1, 10))
def test_backoff_is_full_jitter_below_a_growing_ceiling(chances: list[float], base: float, factor: float) -> None:
    cap = base * factor
    feed = iter(chances)
    backoff = Backoff(lambda: next(feed), base, cap)
    for attempt, chance in enumerate(chances):
        assert backoff.next() == pytest.approx(chance * min(cap, base * 2**attempt))


def test_backoff_starts_over_after_a_reset() -> None:
    backoff = Backoff(lambda: 0.999, base=1.0, cap=8.0)
    assert [round(backoff.next()) for _ in range(5)] == [1, 2, 4, 8, 8]
    backoff.reset()
    assert round(backoff.next()) == 1
    with pytest.raises(ValueError, match="cap"):
        Backoff(random.random, base=2, cap=1)


class PendingMachine(RuleBasedStateMachine):
    """Beside a plain model: each command is found once, whatever is answered late, twice or never."""

    def __init__(self) -> None:
        super().__init__()
        self.table: PendingCommands[int] = PendingCommands(limit=5)
        self.model: dict[str, int] = {}
        self.used: set[str] = set()
        self.count = 0

    @rule()
    def open(self) -> None:
        if len(self.model) == 5:
            with pytest.raises(TooManyPendingError):
                self.table.open(0)
            return
        self.count += 1
        command_id = self.table.open(self.count)
        assert command_id not in self.used
        assert len(command_id) <= 64
        self.used.add(command_id)
        self.model[command_id] = self.count

    @rule(data=st.data())
    def settle(self, data: st.DataObject) -> None:
        command_id = data.draw(st.sampled_from(sorted(self.used) or ["none"]))
        assert self.table.settle(command_id) == self.model.pop(command_id, None)

    @rule()
    def drain(self) -> None:
        assert self.table.drain() == list(self.model.values())
        self.model.clear()

    @invariant()
    def same_size(self) -> None:
        assert len(self.table) == len(self.model)


TestPending = PendingMachine.TestCase


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("RATE_LIMITED", None, RateLimited),
        ("not_a_member", 403, NotAMember),
        ("permission_denied", 403, PermissionDenied),
        ("MUTED", None, Muted),
        ("banned", 403, Banned),
        ("USER_BLOCKED", None, UserBlocked),
        ("MESSAGE_NOT_FOUND", None, MessageNotFound),
        ("room_not_found", 404, RoomNotFound),
        (None, 503, Unavailable),
        ("maintenance", 503, Unavailable),
        ("something_new", 500, ServerError),
        ("SOMETHING_NEW", None, ServerError),
    ],
)
def test_a_refusal_is_told_by_its_code_then_by_its_status(
    code: str | None, status: int | None, kind: type[ClientError]
) -> None:
    error = refusal("no", code, status=status, retry_after=2.5, request_id="r-1")
    assert type(error) is kind
    assert error.retry_after == 2.5
    if code is not None:
        assert error.code == code.lower()
    again = pickle.loads(pickle.dumps(error))  # noqa: S301  our own bytes
    assert (type(again), again.code, again.status, again.retry_after) == (kind, error.code, status, 2.5)
    assert str(again) == "no"


def test_only_some_close_codes_are_final() -> None:
    assert isinstance(fatal_close(4003, "revoked"), SessionEnded)
    assert isinstance(fatal_close(4029, ""), Abuse)
    assert [fatal_close(code, "") for code in (1000, 1001, 1006, 1011, 4001, 4008)] == [None] * 6
