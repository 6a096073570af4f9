"""A feed makes one gapless order out of whatever arrives: early, late, twice, in pieces, or not at all."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from veza.realtime import feed as feeds
from veza.realtime.feed import RoomFeed


def frames(first: int, last: int) -> list[bytes]:
    return [str(seq).encode() for seq in range(first, last + 1)]


class Follow(RuleBasedStateMachine):
    """`log` is the number of stored events; whatever part of it arrives, what is passed on is 1, 2, 3 …"""

    @initialize(seq=st.integers(0, 3))
    def begin(self, seq: int) -> None:
        self.feed = RoomFeed()
        self.log = seq
        assert list(self.feed.accept(1, frames(1, 2))) == []
        assert not self.feed.subscribed(seq)
        self.passed = seq

    def _pass(self, given: Sequence[bytes]) -> None:
        assert list(given) == frames(self.passed + 1, self.passed + len(given))
        self.passed += len(given)

    @rule(count=st.integers(1, 4), arrives=st.booleans())
    def store(self, count: int, arrives: bool) -> None:
        self.log += count
        if arrives:
            self._pass(self.feed.accept(self.log - count + 1, frames(self.log - count + 1, self.log)))

    @rule(data=st.data())
    def arrive_some_time(self, data: st.DataObject) -> None:
        if self.log:
            first = data.draw(st.integers(1, self.log))
            last = data.draw(st.integers(first, self.log))
            self._pass(self.feed.accept(first, frames(first, last)))

    @rule(data=st.data())
    def subscribe(self, data: st.DataObject) -> None:
        seq = data.draw(st.integers(0, self.log))
        was_wanting = self.feed.wanted is not None
        assert self.feed.subscribed(seq) == (seq > self.passed and not was_wanting)

    @rule(limit=st.integers(0, 3), skew=st.sampled_from([0, 0, 0, 0, -1, 1]))
    def read(self, limit: int, skew: int) -> None:
        """A page of the log; a page that begins elsewhere is of no use, and harmless."""
        start = self.passed + 1 + skew
        before = self.feed.wanted
        given = self.feed.caught_up(start, frames(start, min(self.log, start + limit - 1)))
        assert before is not None or not given
        self._pass(given)

    @invariant()
    def wants_what_it_lacks(self) -> None:
        assert self.feed.last_seq == self.passed
        assert self.feed.wanted is None or self.passed < self.feed.wanted <= self.log

    def teardown(self) -> None:
        if hasattr(self, "feed"):
            self.feed.subscribed(self.log)
            while self.feed.wanted is not None:
                self._pass(
                    self.feed.caught_up(self.passed + 1, frames(self.passed + 1, min(self.log, self.passed + 2)))
                )
            assert self.passed == self.log


TestFollow = Follow.TestCase


def test_nothing_is_passed_on_before_the_first_subscription() -> None:
    feed = RoomFeed()
    assert list(feed.accept(1, frames(1, 1))) == []
    assert list(feed.caught_up(1, frames(1, 1))) == []
    assert feed.last_seq is None
    assert feed.wanted is None


def test_early_frames_are_held_and_follow_the_missing_ones() -> None:
    feed = RoomFeed()
    feed.subscribed(2)
    assert list(feed.accept(5, frames(5, 6))) == []
    assert feed.wanted == 4
    assert list(feed.accept(7, frames(7, 7))) == []
    assert list(feed.caught_up(3, frames(3, 4))) == frames(3, 7)
    assert feed.wanted is None


def test_a_hole_in_what_is_held_is_read_as_well() -> None:
    feed = RoomFeed()
    feed.subscribed(0)
    feed.accept(2, frames(2, 2))
    feed.accept(5, frames(5, 5))
    assert feed.wanted == 5
    assert list(feed.caught_up(1, frames(1, 5))) == frames(1, 5)


@pytest.mark.parametrize("more", [0, 1])
def test_what_is_held_is_bounded(more: int) -> None:
    feed = RoomFeed()
    feed.subscribed(0)
    last = feeds.HELD_FRAMES + 1 + more
    feed.accept(2, frames(2, last))
    assert feed.wanted == (last if more else 1)
    passed = list(feed.caught_up(1, frames(1, feed.wanted)))
    assert passed == frames(1, last)


@given(st.integers(1, 20), st.lists(st.tuples(st.integers(1, 20), st.integers(1, 20)), max_size=20))
def test_held_frames_never_repeat(wanted: int, spans: list[tuple[int, int]]) -> None:
    feed = RoomFeed()
    feed.subscribed(0)
    feed.subscribed(wanted)
    for first, length in spans:
        feed.accept(first, frames(first, first + length - 1))
    passed: list[bytes] = []
    while feed.wanted is not None:
        start = (feed.last_seq or 0) + 1
        passed += feed.caught_up(start, frames(start, start + 4))
    assert passed == frames(1, len(passed))
    assert len(passed) >= wanted


def test_the_rest_of_a_room_that_has_ended() -> None:
    feed = RoomFeed()
    feed.subscribed(2)
    feed.want_rest()
    feed.accept(5, frames(5, 5))
    assert list(feed.caught_up(3, frames(3, 4))) == frames(3, 5)
    feed.want_rest()
    feed.accept(8, frames(8, 8))
    feed.stop()
    assert feed.wanted is None
    assert feed.last_seq == 5


def test_what_the_log_has_not_kept_is_stepped_over() -> None:
    feed = RoomFeed()
    assert not feed.skip(5)
    assert feed.last_seq is None  # nothing is followed yet
    feed.subscribed(2)
    feed.accept(9, frames(9, 10))
    assert not feed.skip(2)
    assert feed.skip(6)
    assert list(feed.caught_up(7, frames(7, 8))) == frames(7, 10)
    feed.subscribed(12)
    feed.skip(12)
    assert list(feed.caught_up(13, [])) == []
    assert feed.wanted is None
    assert feed.last_seq == 12
