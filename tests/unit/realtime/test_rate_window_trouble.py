"""Units of limits when somebody hangs, dies, comes late, or has the wrong time."""

from rate_world import LIMIT, MINUTE, SECOND, START, Node, World, ask, borrower, lender, made, messages

from veza.realtime import rate_window_messages as m
from veza.realtime.rate_window import Limiters, Now, window_of
from veza.realtime.rate_window_book import REFUSED
from veza.realtime.rate_window_borrower import CHUNK, IDLE_S, PATIENCE_S, Borrower
from veza.realtime.rate_window_lender import APART_S, GIVE_UP_S, SETTLE_S, Lender

# -- who hangs ---------------------------------------------------------------------------------------------------


def hang(world: World, node: Node) -> None:
    """Nothing reaches it any more, and it says nothing."""
    del world.nodes[node.name]


def test_the_units_of_a_gateway_that_hangs_come_home_with_the_next_window() -> None:
    world = made()
    here, there = world.gateways
    ask(world, here, 1)
    hang(world, here)
    assert len([world.request(there, "a") for _ in range(LIMIT)]) == LIMIT
    world.pass_time(PATIENCE_S + 0.1)
    assert not world.waiting[there.name]
    # Its own part, meanwhile.
    assert world.admitted.total() == 1 + LIMIT // 2
    world.pass_time(GIVE_UP_S)
    world.next_window()
    assert ask(world, there, 2 * LIMIT) == LIMIT


def test_what_it_says_later_does_not_count() -> None:
    world = made()
    here, there = world.gateways
    ask(world, here, 1)
    hang(world, here)
    world.request(there, "a")
    world.pass_time(GIVE_UP_S + 0.3)
    world.next_window()
    ask(world, there, 1)
    world.nodes[here.name] = here
    world.settle()
    assert len(borrower(here)) == 0
    world.next_window()
    assert ask(world, here, LIMIT) + ask(world, there, LIMIT) == LIMIT


def test_a_limiter_that_hangs_is_not_waited_for_twice() -> None:
    world = made()
    here, _ = world.gateways
    [limiter] = world.limiters
    hang(world, limiter)
    world.request(here, "a")
    assert borrower(here).busy
    world.pass_time(PATIENCE_S + 0.1)
    assert world.admitted.total() == 1
    for number in range(LIMIT):
        world.request(here, f"another {number}")
    assert not world.waiting[here.name]
    assert world.admitted.total() == LIMIT + 1
    assert borrower(here).alone == LIMIT + 1


def test_whoever_waits_for_another_limiter_goes_on_waiting() -> None:
    world = made(limiters=2)
    here, _ = world.gateways
    for subject in "abcdefgh":
        world.request(here, subject)
    dead, living = world.limiters
    borrower(here).limiter_down(dead.name, world.now(here))
    asked = len([s for s in "abcdefgh" if world.owner(s) == living.name])
    assert 0 < asked < 8
    assert world.waiting[here.name] == asked


def test_it_is_asked_again_once_it_is_heard() -> None:
    world = made()
    here, there = world.gateways
    [limiter] = world.limiters
    hang(world, limiter)
    world.request(here, "a")
    world.pass_time(PATIENCE_S + 0.1)
    world.nodes[limiter.name] = limiter
    world.settle()
    world.next_window()
    assert ask(world, here, 2 * LIMIT, "b") == LIMIT
    assert ask(world, here, LIMIT) + ask(world, there, LIMIT) == LIMIT


def test_a_limiter_that_was_away_has_everything_told_anew() -> None:
    world = made()
    here, there = world.gateways
    [limiter] = world.limiters
    ask(world, here, 1)
    hang(world, limiter)
    world.tell()
    assert ask(world, here, LIMIT) == LIMIT // 2 - 1
    assert ask(world, there, LIMIT) == LIMIT // 2
    world.next_window()
    world.nodes[limiter.name] = limiter
    world.tell()
    world.settle()
    world.pass_time(SETTLE_S + 0.1)
    world.next_window()
    assert ask(world, here, LIMIT) + ask(world, there, LIMIT) == LIMIT


# -- who dies ----------------------------------------------------------------------------------------------------


def test_without_a_limiter_each_gateway_lets_its_part_pass() -> None:
    world = made(limiters=0, gateways=3)
    for _ in range(2):
        assert [ask(world, node, LIMIT) for node in world.gateways] == [LIMIT // 3] * 3
        assert not messages(world)
        world.next_window()


def test_before_it_knows_of_others_a_gateway_goes_by_the_number_that_is_configured() -> None:
    alone = Borrower(2)
    passed: list[int] = []
    book = alone.book(MINUTE)
    for _ in range(LIMIT):
        assert alone.wait(book, "a", lambda left, _: passed.append(left), Now(START, 0.0)) == []
        book.take("a", window_of(START, 60))
    assert [left for left in passed if left != REFUSED] == [LIMIT // 2 - 1]


def test_its_part_of_a_minute_is_not_had_twice_after_a_pause() -> None:
    world = made(MINUTE, limiters=0)
    here, _ = world.gateways
    assert ask(world, here, LIMIT) == LIMIT // 2
    world.pass_time(3 * IDLE_S)
    assert ask(world, here, LIMIT) == 0


def test_a_new_limiter_lends_nothing_of_windows_that_had_begun() -> None:
    world = made(MINUTE)
    here, there = world.gateways
    [limiter] = world.limiters
    assert ask(world, here, LIMIT) == LIMIT
    world.kill(limiter.name)
    world.add_limiter()
    world.settle()
    world.pass_time(SETTLE_S + 0.1)
    assert ask(world, there, LIMIT) == LIMIT // 2
    world.next_window()
    assert ask(world, there, LIMIT) == LIMIT


def test_a_gateway_that_does_not_report_is_not_waited_for() -> None:
    keeps = Lender("limiter")
    known = Limiters(1, 1, ("limiter",), ("one", "two"))
    keeps.take("one", m.Hello(known, anew=True), Now(START, 0.0))
    keeps.take("one", m.Reported(1, fresh=True), Now(START, 0.0))
    answers = []
    for seconds in (0.1, SETTLE_S, SETTLE_S + APART_S + 1.0):
        now = Now(START + seconds, seconds)
        keeps.tick(now)
        asked = m.Ask("second", "a", 1, LIMIT, 1, window_of(now.wall, 1))
        answers += [type(item) for _, item in keeps.take("one", asked, now)]
    assert answers == [m.Alone, m.Alone, m.Lent]


def test_who_reports_late_what_was_lent_since_has_it_no_more() -> None:
    keeps = Lender("limiter")
    known = Limiters(1, 1, ("limiter",), ("one", "two"))
    for gateway in known.gateways:
        keeps.take(gateway, m.Hello(known, anew=True), Now(START, 0.0))
    keeps.tick(Now(START + SETTLE_S, SETTLE_S))
    now = Now(START + 2.0, 2.0)
    window = window_of(now.wall, 1)
    [(_, lent)] = keeps.take("one", m.Ask("second", "a", 1, LIMIT, 1, window), now)
    assert lent == m.Lent("second", "a", 1, window, LIMIT, LIMIT)
    late = m.Held("second", "a", 7, LIMIT, 1, window, 5, 5)
    assert keeps.take("two", late, now) == [("two", m.Void("second", "a", 7))]


def test_who_reports_late_what_nobody_else_has_keeps_it() -> None:
    keeps = Lender("limiter")
    known = Limiters(1, 1, ("limiter",), ("one", "two"))
    keeps.take("one", m.Hello(known, anew=True), Now(START, 0.0))
    now, window = Now(START + 2.0, 2.0), window_of(START + 2.0, 1)
    keeps.tick(now)
    assert keeps.take("two", m.Held("second", "a", 7, LIMIT, 1, window, 5, 5), now) == []
    [(_, alone)] = keeps.take("one", m.Ask("second", "a", 1, LIMIT, 1, window), now)
    assert alone == m.Alone("second", "a", 1, window)
    later = Now(START + 4.0, 4.0)
    [(_, lent)] = keeps.take("one", m.Ask("second", "a", 1, LIMIT, 1, window + 2), later)
    assert lent == m.Lent("second", "a", 1, window + 2, LIMIT - 5, LIMIT - 5)


def test_a_report_replaces_what_was_known_of_who_makes_it() -> None:
    keeps = Lender("limiter")
    known = Limiters(1, 1, ("limiter",), ("one", "two"))
    keeps.take("one", m.Hello(known, anew=True), Now(START, 0.0))
    now, window = Now(START, 0.1), window_of(START, 1)
    for number, share in ((1, 5), (2, 3)):
        assert keeps.take("one", m.Held("second", "a", number, LIMIT, 1, window, share, share), now) == []
    keeps.tick(Now(START + 0.6, 0.6))
    later = Now(START + 2, 2.0)
    [(_, lent)] = keeps.take("two", m.Ask("second", "a", 1, LIMIT, 1, window + 2), later)
    assert isinstance(lent, m.Lent)
    assert lent.share == LIMIT - 3


def test_what_is_another_limiters_is_not_answered() -> None:
    keeps = Lender("limiter")
    known = Limiters(1, 1, ("other",), ("one",))
    now, window = Now(START, 0.0), window_of(START, 1)
    keeps.take("one", m.Hello(known, anew=True), now)
    assert keeps.take("one", m.Ask("second", "a", 1, LIMIT, 1, window), now) == []
    assert keeps.take("one", m.Held("second", "a", 1, LIMIT, 1, window, 1, 1), now) == []


def test_the_units_of_a_dead_gateway_are_at_home_and_unspent() -> None:
    world = made(gateways=3)
    here, there, witness = world.gateways
    ask(world, here, 2)
    ask(world, witness, 1, "not its own")
    world.kill(here.name)
    assert ask(world, there, 2 * LIMIT) == LIMIT
    world.next_window()
    assert ask(world, there, LIMIT) + ask(world, witness, LIMIT) == LIMIT


def test_whoever_waits_for_a_gateway_that_dies_is_answered_then() -> None:
    world = made()
    here, there = world.gateways
    ask(world, here, 1)
    world.request(there, "a")
    # The limiter has asked; the answer will not come.
    [limiter] = world.limiters
    world.deliver(there.name, limiter.name)
    assert world.waiting[there.name] == 1
    world.kill(here.name)
    world.settle()
    assert not world.waiting[there.name]


def test_keys_go_over_to_a_limiter_that_comes_a_chunk_at_a_time() -> None:
    world = made(most_keys=10 * CHUNK)
    here, there = world.gateways
    subjects = [str(number) for number in range(CHUNK + 10)]
    for subject in subjects:
        world.request(here, subject)
    world.settle()
    world.add_limiter()
    world.settle()
    world.next_window()
    kept = sum(len(lender(node)) for node in world.limiters)
    assert kept == len(subjects)
    for subject in subjects[:50]:
        assert ask(world, here, LIMIT, subject) + ask(world, there, LIMIT, subject) == LIMIT


def test_what_rests_is_not_carried_over() -> None:
    world = made()
    here, _ = world.gateways
    ask(world, here, 1, "long ago")
    world.pass_time(3.0)
    ask(world, here, 1, "now")
    world.kill(world.limiters[0].name)
    assert list(borrower(here).book(SECOND)) == ["now"]


def test_a_report_that_is_overtaken_by_another_change_ends() -> None:
    keeps = Borrower(2)
    book = keeps.book(SECOND)
    now = Now(START, 0.0)
    for number in range(CHUNK + 1):
        keeps.wait(book, str(number), lambda *_: None, now)
    keeps.set_limiters(Limiters(1, 1, ("one",), ("gateway",)))
    first = keeps.rehome(now)
    next(first)
    keeps.set_limiters(Limiters(2, 2, ("two",), ("gateway",)))
    assert list(first) == []
    [*_, last] = keeps.rehome(now)
    assert [limiter for limiter, _ in last] == ["two"]


def test_who_waits_while_the_owner_changes_asks_the_new_one() -> None:
    world = made()
    here, _ = world.gateways
    [limiter] = world.limiters
    hang(world, limiter)
    world.request(here, "a")
    world.add_limiter()
    world.settle()
    assert world.admitted.total() == 1
    assert not world.waiting[here.name]


def test_a_gateway_more_is_no_reason_to_settle_again() -> None:
    world = made()
    here, there = world.gateways
    assert ask(world, here, 3) == 3
    world.add_gateway()
    world.settle()
    new = world.gateways[-1]
    # Also under a map whose maker knew nothing of the one before.
    [limiter] = world.limiters
    known = Limiters(99, 99, (limiter.name,), ("another",))
    lender(limiter).take("another", m.Hello(known, anew=True), world.now(limiter))
    lender(limiter).take(here.name, m.Reported(1, fresh=False), world.now(limiter))
    assert ask(world, new, 1) + ask(world, there, 1) == 2
    assert ask(world, here, LIMIT) == LIMIT - 5


def test_several_report_of_one_key() -> None:
    world = made(gateways=3)
    one, two, three = world.gateways
    assert [ask(world, node, 2) for node in world.gateways] == [2, 2, 2]
    world.kill(world.limiters[0].name)
    world.add_limiter()
    world.settle()
    world.pass_time(APART_S)
    world.next_window()
    [limiter] = world.limiters
    assert len(lender(limiter)) == 1
    assert ask(world, one, 1) + ask(world, two, 1) + ask(world, three, LIMIT) == LIMIT


def test_whoever_waits_is_forgotten_with_its_gateway() -> None:
    world = made(gateways=4)
    here, *others = world.gateways
    ask(world, here, 1)
    [limiter] = world.limiters
    for node in others:
        world.request(node, "a")
        world.deliver(node.name, limiter.name)
    # One of those who wait dies, who has nothing of the key.
    world.kill(others[0].name)
    world.settle()
    assert not world.waiting.total()
    assert world.admitted.total() == 3


def test_fewer_units_than_gateways_that_wait_for_them() -> None:
    world = made(gateways=5)
    here, *others = world.gateways
    ask(world, here, LIMIT - 2)
    [limiter] = world.limiters
    for node in others:
        world.request(node, "a")
        world.deliver(node.name, limiter.name)
    world.settle()
    assert (world.admitted.total(), world.refused.total()) == (LIMIT, 2)
