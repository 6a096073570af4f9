"""Partitions taken over: looked at once, when the gateways have had their time."""

from uuid import UUID

import pytest

from veza.realtime.presence import PresenceBook
from veza.realtime.takeover import SETTLE_S, Takeovers


def test_each_is_due_once_when_it_has_settled() -> None:
    takeovers = Takeovers()
    assert takeovers.note({}, {1: 1, 2: 1}, 100.0) == {1, 2}
    assert takeovers.note({1: 1, 2: 1}, {1: 1, 2: 1, 3: 1}, 103.0) == {3}
    assert takeovers.due(100.0 + SETTLE_S - 0.1) == []
    assert takeovers.due(100.0 + SETTLE_S) == [1, 2]
    assert takeovers.due(103.0 + SETTLE_S) == [3]
    assert takeovers.due(1000.0) == []


def test_what_was_given_away_is_not_looked_at() -> None:
    takeovers = Takeovers()
    takeovers.note({}, {1: 1, 2: 1}, 100.0)
    takeovers.note({1: 1, 2: 1}, {2: 1}, 101.0)
    assert 1 not in takeovers
    assert 2 in takeovers
    assert takeovers.due(200.0) == [2]
    # And what comes back is, from then on.
    takeovers.note({2: 1}, {1: 3, 2: 1}, 300.0)
    assert takeovers.due(300.0 + SETTLE_S) == [1]


def test_what_could_not_be_looked_at_is_due_again() -> None:
    takeovers = Takeovers()
    takeovers.note({}, {7: 1}, 0.0)
    due = takeovers.due(SETTLE_S)
    takeovers.again(due, SETTLE_S)
    assert takeovers.due(SETTLE_S) == [7]


def test_what_was_somebody_elses_in_between_is_looked_at() -> None:
    """Also when this shard slept, and never heard of it."""
    takeovers = Takeovers()
    takeovers.note({}, {1: 1, 2: 1}, 0.0)
    assert takeovers.due(SETTLE_S) == [1, 2]
    assert takeovers.note({1: 1, 2: 4}, {1: 3, 2: 4}, 10.0) == {1}
    assert takeovers.due(10.0 + SETTLE_S) == [1]
    # An epoch that this shard has raised itself since is nothing new.
    assert takeovers.note({1: 5, 2: 4}, {1: 3, 2: 4}, 20.0) == set()


ADA, BOB, CEM, DAN, EVE = (UUID(int=256 * n + 7) for n in range(1, 6))


@pytest.fixture
def book() -> PresenceBook:
    """It has just taken partition 7 over, and the gateways repeat who is there."""
    made = PresenceBook()
    made.took_over([7])
    for user_id, status in ((ADA, "busy"), (BOB, "online"), (CEM, "invisible")):
        made.attend("gateway", user_id, 1, status, 0.0, again=True)
    assert made.changes(0.0) == []
    return made


def test_who_came_or_went_while_nobody_owned_them_is_told(book: PresenceBook) -> None:
    elsewhere = UUID(int=8)
    told = book.settled([7], {BOB, CEM, DAN, elsewhere})
    assert told == {ADA: "busy", CEM: "offline", DAN: "offline"}


def test_who_is_shown_as_they_are_is_no_news(book: PresenceBook) -> None:
    book.attend("gateway", EVE, 1, "online", 0.0)
    assert book.changes(0.0) == [(EVE, "online")]
    assert book.settled([7], {ADA, BOB, EVE}) == {}


def test_who_reports_after_that_for_the_first_time_is_news(book: PresenceBook) -> None:
    """They were said to have left, or never said to have come."""
    book.settled([7], {ADA, BOB, DAN})
    for user_id in (DAN, EVE):
        book.attend("gateway", user_id, 1, "online", 4.0, again=True)
    assert sorted(book.changes(4.0)) == [(DAN, "online"), (EVE, "online")]
    # Whoever is known is not.
    book.attend("gateway", BOB, 1, "online", 5.0, again=True)
    assert book.changes(5.0) == []
    # When the partition has been somebody else's, all begins anew.
    book.forget({DAN})
    book.took_over([7])
    book.attend("gateway", DAN, 1, "online", 6.0, again=True)
    assert book.changes(6.0) == []
