"""Partitions taken over: looked at once, when the gateways have had their time."""

from uuid import UUID

from veza.realtime.presence import PresenceBook
from veza.realtime.takeover import SETTLE_S, Takeovers


def test_each_is_due_once_when_it_has_settled() -> None:
    takeovers = Takeovers()
    takeovers.note((), [1, 2], 100.0)
    takeovers.note([1, 2], [1, 2, 3], 103.0)
    assert takeovers.due(100.0 + SETTLE_S - 0.1) == []
    assert takeovers.due(100.0 + SETTLE_S) == [1, 2]
    assert takeovers.due(103.0 + SETTLE_S) == [3]
    assert takeovers.due(1000.0) == []


def test_what_was_given_away_is_not_looked_at() -> None:
    takeovers = Takeovers()
    takeovers.note((), [1, 2], 100.0)
    takeovers.note([1, 2], [2], 101.0)
    assert takeovers.due(200.0) == [2]
    # And what comes back is, from then on.
    takeovers.note([2], [1, 2], 300.0)
    assert takeovers.due(300.0 + SETTLE_S) == [1]


def test_what_could_not_be_looked_at_is_due_again() -> None:
    takeovers = Takeovers()
    takeovers.note((), [7], 0.0)
    due = takeovers.due(SETTLE_S)
    takeovers.again(due, SETTLE_S)
    assert takeovers.due(SETTLE_S) == [7]


def test_whoever_was_said_to_have_left_and_reports_late_is_news() -> None:
    ada, bob = UUID(int=1), UUID(int=2)
    book = PresenceBook()
    book.absent([ada])
    for user in (ada, bob):
        book.attend("gateway", user, 1, "online", 0.0, again=True)
    assert book.changes(0.0) == [(ada, "online")]
    # Once only.
    book.attend("gateway", ada, 0, "online", 1.0)
    assert book.changes(10.0) == [(ada, "offline")]
    book.attend("gateway", ada, 1, "online", 11.0, again=True)
    assert book.changes(11.0) == []
