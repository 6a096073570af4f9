"""Units of limits: what they cost, where they go, and what becomes of those that nobody uses."""

from collections.abc import Iterator

import pytest
from rate_world import LIMIT, MINUTE, SECOND, ask, borrower, lender, made, messages

from veza.realtime import rate_window_messages as m
from veza.realtime.rate_window import Limiters, Policy, window_of
from veza.realtime.rate_window_book import Book, Held
from veza.realtime.rate_window_borrower import CHUNK, IDLE_S
from veza.realtime.rate_window_lender import MOST_KEYS
from veza.realtime.rate_window_link import BATCH_ITEMS, Incoming, Outgoing

# -- windows and owners ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("now", "period", "told", "window"),
    [
        (59.9, 60, 0, 0),
        (60.0, 60, 0, 1),
        (10.5, 1, 10, 10),
        (10.9, 1, 11, 11),  # another clock is a little ahead
        (10.9, 1, 3600, 11),  # another clock is wrong
        (10.9, 1, 9, 10),
    ],
)
def test_a_window_is_that_of_ones_own_clock_or_the_next(now: float, period: int, told: int, window: int) -> None:
    assert window_of(now, period, told) == window


def test_a_key_changes_its_owner_only_when_that_owner_comes_or_goes() -> None:
    subjects = [str(number) for number in range(1000)]
    three = Limiters(1, 1, ("a", "b", "c"), ())
    two = Limiters(2, 2, ("a", "c"), ())
    before = {subject: three.owner("address", subject) for subject in subjects}
    assert all(250 < list(before.values()).count(name) < 420 for name in three.limiters)
    for subject, owner in before.items():
        if owner != "b":
            assert two.owner("address", subject) == owner
    assert Limiters(0, 0, (), ()).owner("address", "x") is None


@pytest.mark.parametrize(("limit", "gateways", "part"), [(100, 2, 50), (100, 3, 33), (1, 4, 1), (7, 0, 7)])
def test_the_part_of_a_gateway(limit: int, gateways: int, part: int) -> None:
    assert Policy("p", limit, 1).share(gateways) == part


# -- what it costs -----------------------------------------------------------------------------------------------


def test_a_gateway_that_has_all_asks_nobody_in_any_window() -> None:
    world = made()
    here, _ = world.gateways
    assert ask(world, here, 1) == 1
    for _ in range(5):
        world.next_window()
        for _ in range(LIMIT):
            world.request(here, "a")
        assert messages(world) == 0
        assert world.admitted["a", world.window(here)] == LIMIT


def test_beyond_the_limit_one_question_closes_the_window() -> None:
    world = made()
    here, _ = world.gateways
    assert ask(world, here, LIMIT) == LIMIT
    assert ask(world, here, 1) == 0
    for _ in range(100):
        world.request(here, "a")
    assert messages(world) == 0
    assert borrower(here).book(SECOND).refuses("a", world.window(here))
    world.next_window()
    assert not borrower(here).book(SECOND).refuses("a", world.window(here))
    assert ask(world, here, 1) == 1


def test_one_question_is_for_all_who_wait() -> None:
    world = made()
    here, _ = world.gateways
    for _ in range(LIMIT):
        world.request(here, "a")
    assert messages(world) == 1
    assert world.waiting[here.name] == LIMIT


def test_more_than_can_pass_do_not_even_wait() -> None:
    world = made()
    here, _ = world.gateways
    for _ in range(3 * LIMIT):
        world.request(here, "a")
    assert world.waiting[here.name] == LIMIT
    assert world.refused.total() == 2 * LIMIT


# -- where units go ----------------------------------------------------------------------------------------------


def test_whoever_did_not_use_it_in_this_window_gives_all() -> None:
    world = made()
    here, there = world.gateways
    ask(world, here, LIMIT)
    world.next_window()
    assert ask(world, there, 2 * LIMIT) == LIMIT
    assert len(borrower(here)) == 0


def test_whoever_did_gives_half_of_what_is_left() -> None:
    world = made()
    here, there = world.gateways
    ask(world, here, 4)
    assert ask(world, there, 1) == 1
    held = [borrower(node).book(SECOND).find("a") for node in (here, there)]
    assert [(unit.share, unit.left) for unit in held if unit is not None] == [(7, 3), (3, 2)]


def test_all_that_is_left_anywhere_is_found_before_anybody_is_refused() -> None:
    world = made(gateways=4)
    one, two, three, four = world.gateways
    assert [ask(world, node, count) for node, count in ((one, 1), (two, 2), (three, 2))] == [1, 2, 2]
    assert ask(world, four, LIMIT) == LIMIT - 5
    assert [ask(world, node, 1) for node in world.gateways] == [0, 0, 0, 0]


def test_what_was_put_back_can_be_spent() -> None:
    world = made()
    here, _ = world.gateways
    ask(world, here, LIMIT)
    book = borrower(here).book(SECOND)
    book.put_back("a", world.window(here))
    book.put_back("nobody", world.window(here))
    book.put_back("a", world.window(here) - 1)
    assert ask(world, here, 2) == 1


def test_nothing_is_put_back_beyond_what_is_here() -> None:
    world = made()
    here, _ = world.gateways
    ask(world, here, 1)
    book = borrower(here).book(SECOND)
    for _ in range(3):
        book.put_back("a", world.window(here))
    assert ask(world, here, 2 * LIMIT) == LIMIT


# -- what is not used --------------------------------------------------------------------------------------------


def test_what_is_not_used_goes_back_and_is_forgotten() -> None:
    world = made()
    here, _ = world.gateways
    [limiter] = world.limiters
    for number in range(2 * CHUNK):
        world.request(here, str(number))
    world.settle()
    assert (len(borrower(here)), len(lender(limiter))) == (2 * CHUNK, 2 * CHUNK)
    assert not borrower(here).busy
    for _ in range(int(2 * IDLE_S) + 1):
        ask(world, here, 1, "0")
        world.pass_time(1.0)
    world.settle()
    assert (len(borrower(here)), len(lender(limiter))) == (1, 1)


def test_what_is_spent_is_remembered_until_the_window_ends() -> None:
    world = made(MINUTE)
    world.next_window()
    here, there = world.gateways
    [limiter] = world.limiters
    assert ask(world, here, LIMIT - 1) == LIMIT - 1
    world.pass_time(2 * IDLE_S + 1)
    world.settle()
    assert (len(borrower(here)), len(lender(limiter))) == (0, 1)
    assert ask(world, there, 2) == 1
    world.pass_time(2 * IDLE_S + 1)
    assert ask(world, here, 1) == 0
    world.next_window()
    world.pass_time(2 * IDLE_S + 1)
    world.settle()
    assert len(lender(limiter)) == 0


def test_what_is_wanted_again_is_not_forgotten_with_its_window() -> None:
    world = made(MINUTE)
    world.next_window()
    here, _ = world.gateways
    [limiter] = world.limiters
    ask(world, here, 1)
    world.pass_time(2 * IDLE_S + 1)
    # Once at home, and now lent again, for as long as it is used.
    window = world.window(here)
    while world.window(here) == window:
        ask(world, here, 1)
        world.pass_time(1.0)
    world.settle()
    assert (len(borrower(here)), len(lender(limiter))) == (1, 1)
    assert ask(world, here, 2 * LIMIT) == LIMIT


def test_nothing_is_lost_when_layers_turn_too_soon() -> None:
    book = Book(SECOND)
    for number in range(4):
        book.open(str(number), Held(number, 0, None))
        book.turn()
    assert sorted(book) == ["0", "1", "2", "3"]
    assert len(book) == 4


@pytest.mark.parametrize("spent", [1, LIMIT])
def test_a_gateway_holds_so_many_keys_and_none_is_let_pass_more_for_it(spent: int) -> None:
    world = made(most_keys=5)
    here, _ = world.gateways
    for number in range(50):
        assert ask(world, here, spent, str(number)) == spent
        assert len(borrower(here)) <= 5
    assert sum(ask(world, here, LIMIT, str(number)) for number in range(50)) == 50 * (LIMIT - spent)


def test_room_is_made_by_what_other_limits_hold_too() -> None:
    world = made(most_keys=3)
    here, _ = world.gateways
    keeps = borrower(here)
    for policy, count in ((SECOND, 3), (MINUTE, 3)):
        for number in range(count):
            here.say(keeps.wait(keeps.book(policy), str(number), lambda *_: None, world.now(here)))
            world.settle()
    assert len(keeps) == 3


def test_for_whom_somebody_waits_stays() -> None:
    world = made(most_keys=2)
    here, _ = world.gateways
    for number in range(4):
        world.request(here, str(number))
    assert len(borrower(here)) == 4
    world.settle()
    assert world.admitted.total() == 4


def test_a_limiter_that_is_full_lends_no_more() -> None:
    world = made()
    [limiter] = world.limiters
    lender(limiter)._most_keys = 2
    here, there = world.gateways
    assert [ask(world, here, LIMIT, str(number)) for number in range(3)] == [LIMIT, LIMIT, LIMIT // 2]
    assert ask(world, there, LIMIT, "2") == LIMIT // 2
    world.add_limiter()
    world.kill(limiter.name)
    [other] = world.limiters
    lender(other)._most_keys = 1
    world.settle()
    assert len(lender(other)) == 1
    assert MOST_KEYS == 262_144


# -- links -------------------------------------------------------------------------------------------------------


@pytest.fixture
def numbers() -> Iterator[int]:
    return iter(range(1, 100))


def test_a_batch_stays_the_same_until_it_has_arrived(numbers: Iterator[int]) -> None:
    link: Outgoing[str] = Outgoing(numbers)
    assert link.batch() is None
    link.put("a")
    assert link.batch() == (1, ["a"])
    link.put("b")
    assert (link.batch(), len(link)) == ((1, ["a"]), 1)
    link.arrived(7)
    assert link.batch() == (1, ["a"])
    link.arrived(1)
    assert link.batch() == (2, ["b"])


def test_a_batch_is_not_longer_than_it_may_be(numbers: Iterator[int]) -> None:
    link: Outgoing[int] = Outgoing(numbers)
    for item in range(BATCH_ITEMS + 1):
        link.put(item)
    batch = link.batch()
    assert batch is not None
    assert (len(batch[1]), len(link)) == (BATCH_ITEMS, 1)


def test_what_came_before_is_not_taken_again() -> None:
    incoming = Incoming()
    assert [incoming.news("a", number) for number in (1, 1, 3, 2, 4)] == [True, False, True, False, True]
    assert incoming.news("b", 1)
    incoming.forget("a")
    assert incoming.news("a", 1)


def test_messages_survive_the_wire() -> None:
    known = Limiters(1, 1, ("limiter",), ("gateway",))
    up: list[m.ToLimiter] = [
        m.Hello(known, anew=True),
        m.Held("p", "s", 1, 100, 60, 5, 3, 2),
        m.Reported(1, fresh=False),
        m.Ask("p", "s", 1, 100, 60, 5),
        m.Gave("p", "s", 1, 5, 3, 2, more=True),
    ]
    down: list[m.ToGateway] = [
        m.Lent("p", "s", 1, 5, 3, 2),
        m.Dry("p", "s", 1, 5),
        m.Recall("p", "s", 1, 5),
        m.Void("p", "s", 1),
        m.Alone("p", "s", 1, 5),
    ]
    assert m.decode_to_limiter(m.encode(m.LimiterBatch("gateway", 7, up))) == m.LimiterBatch("gateway", 7, up)
    assert m.decode_to_gateway(m.encode(m.GatewayBatch("limiter", 8, down))) == m.GatewayBatch("limiter", 8, down)
