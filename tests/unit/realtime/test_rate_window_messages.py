"""Units of limits when messages cross, come late, or tell of a wrong time."""

import pytest
from rate_world import LIMIT, SECOND, START, ask, made

from veza.realtime import rate_window_messages as m
from veza.realtime.rate_window import Limiters, Now, window_of
from veza.realtime.rate_window_book import ASK, Book
from veza.realtime.rate_window_borrower import Borrower
from veza.realtime.rate_window_lender import Lender

# -- messages that cross -----------------------------------------------------------------------------------------


def one_gateway(left: int = LIMIT) -> tuple[Borrower, Book, Now, int]:
    """One that the limiter lent a key to, under number 1."""
    keeps = Borrower(1)
    book = keeps.book(SECOND)
    now, window = Now(START, 0.0), window_of(START, 1)
    keeps.set_limiters(Limiters(1, 1, ("limiter",), ("gateway",)))
    list(keeps.rehome(now))
    keeps.wait(book, "a", lambda *_: None, now)
    keeps.take("limiter", m.Lent("second", "a", 1, window, LIMIT, left), now)
    return keeps, book, now, window


def test_what_is_lent_under_a_number_that_is_over_goes_back() -> None:
    keeps, _, now, window = one_gateway()
    [(limiter, gave)] = keeps.take("limiter", m.Lent("second", "a", 9, window, 5, 4), now)
    assert (limiter, gave) == ("limiter", m.Gave("second", "a", 9, window, 5, 4, more=False))
    assert keeps.take("limiter", m.Recall("unknown", "a", 1, window), now)[0][1] == m.Gave(
        "unknown", "a", 1, window, 0, 0, more=False
    )
    assert keeps.take("limiter", m.Dry("second", "b", 1, window), now) == []
    assert keeps.take("stranger", m.Void("second", "a", 1), now) == []
    assert len(keeps) == 1


def test_what_is_void_is_gone_and_asked_for_anew() -> None:
    keeps, book, now, window = one_gateway()
    assert keeps.take("limiter", m.Void("second", "a", 1), now) == []
    assert book.take("a", window) == ASK
    passed: list[int] = []
    [(_, asked)] = keeps.wait(book, "a", lambda left, _: passed.append(left), now)
    assert isinstance(asked, m.Ask)
    [(_, again)] = keeps.take("limiter", m.Void("second", "a", asked.number), now)
    assert isinstance(again, m.Ask)
    assert again.number > asked.number
    keeps.take("limiter", m.Lent("second", "a", again.number, window, 1, 1), now)
    assert passed == [0]


def test_an_answer_about_a_window_that_is_over_is_no_answer() -> None:
    keeps, book, now, window = one_gateway(left=1)
    asks = keeps.wait(book, "a", lambda *_: None, now)
    assert len(asks) == 1
    later = Now(START + 1, 1.0)
    for item in (m.Dry("second", "a", 1, window), m.Alone("second", "a", 1, window)):
        assert keeps.take("limiter", item, later) == []
        assert book.take("a", window + 1) >= 0


def test_units_that_come_late_are_unspent_again() -> None:
    keeps, book, _, window = one_gateway()
    later = Now(START + 1, 1.0)
    keeps.take("limiter", m.Lent("second", "a", 1, window + 1, 1, 1), later)
    keeps.take("limiter", m.Lent("second", "a", 1, window, 3, 0), later)
    assert book.take("a", window + 1) == LIMIT + 1 + 3 - 1


def test_a_new_number_ends_the_one_before() -> None:
    keeps = Lender("limiter")
    known = Limiters(1, 1, ("limiter",), ("one",))
    now, window = Now(START, 0.0), window_of(START, 1)
    keeps.take("one", m.Hello(known, anew=True), now)
    keeps.take("one", m.Reported(1, fresh=True), now)
    [(_, lent)] = keeps.take("one", m.Ask("second", "a", 1, LIMIT, 1, window), now)
    assert isinstance(lent, m.Lent)
    # Nobody knows what was spent of it: not in this window.
    assert keeps.take("one", m.Ask("second", "a", 2, LIMIT, 1, window), now) == [
        ("one", m.Dry("second", "a", 2, window))
    ]
    gave = m.Gave("second", "a", 1, window, LIMIT, LIMIT, more=False)
    assert keeps.take("one", gave, now) == [("one", m.Void("second", "a", 1))]
    [(_, again)] = keeps.take("one", m.Ask("second", "a", 2, LIMIT, 1, window + 1), Now(START + 1, 1.0))
    assert again == m.Lent("second", "a", 2, window + 1, LIMIT, LIMIT)


# -- clocks ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ahead", [True, False])
def test_a_clock_that_is_an_hour_off_for_a_while_keeps_nobody_out_afterwards(ahead: bool) -> None:
    world = made()
    here, there = world.gateways
    for node in (here, *world.limiters):
        node.skew = 3600.0 if ahead else -3600.0
        ask(world, here, LIMIT)
        ask(world, there, LIMIT)
        node.skew = 0.0
        world.next_window()
        # Here it is noticed.
        ask(world, here, 1)
        ask(world, there, 1)
        world.next_window()
        assert ask(world, here, LIMIT) + ask(world, there, LIMIT) == LIMIT
        world.next_window()
        assert ask(world, there, LIMIT) + ask(world, here, LIMIT) == LIMIT


def test_a_clock_that_is_set_back_makes_no_units() -> None:
    _, book, _, window = one_gateway()
    assert [book.take("a", window) for _ in range(LIMIT - 1)] == list(reversed(range(LIMIT - 1)))
    assert book.take("a", window - 10) == ASK
    assert book.take("a", window - 9) == LIMIT - 1
