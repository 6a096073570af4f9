"""Presence beside a model: what others see is what the gateways reported, after its grace, once a change."""

from uuid import UUID

from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from veza.realtime.presence import AWAKE_S, BEAT_S, GRACE_S, LEASE_S, OFFLINE, Leases, PresenceBook

USERS = [UUID(int=1), UUID(int=2)]
users = st.sampled_from(USERS)
gateways = st.sampled_from(["gateway1", "gateway2", "gateway3"])
statuses = st.sampled_from(["online", "away", "busy", "invisible"])


def strongest(given: set[str]) -> str:
    for status, shown in (("invisible", OFFLINE), ("busy", "busy"), ("online", "online"), ("away", "away")):
        if status in given:
            return shown
    return OFFLINE


class Presence(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.book = PresenceBook()
        self.now = 0.0
        self.reports: dict[UUID, dict[str, str]] = {user: {} for user in USERS}
        self.told: dict[UUID, str] = dict.fromkeys(USERS, OFFLINE)
        self.left_at: dict[UUID, float | None] = dict.fromkeys(USERS)
        self.taken_over: set[int] = set()

    @rule(gateway=gateways, user=users, status=statuses, sockets=st.integers(0, 2), again=st.booleans())
    def attend(self, gateway: str, user: UUID, status: str, sockets: int, again: bool) -> None:
        known = user in self.book.users()
        self.book.attend(gateway, user, sockets, status, self.now, again=again)
        if sockets:
            self.reports[user][gateway] = status
            self.left_at[user] = None
            if again and not known and user.int in self.taken_over:
                self.told[user] = OFFLINE if status == "invisible" else status
        else:
            there = self.reports[user].pop(gateway, None)
            if known and there and not self.reports[user]:
                self.left_at[user] = self.now

    @rule(gateway=gateways)
    def lose(self, gateway: str) -> None:
        for user in USERS:
            if self.reports[user].pop(gateway, None) is not None and not self.reports[user]:
                self.left_at[user] = self.now
        self.book.gateway_lost(gateway, self.now)

    @rule(user=users)
    def forget(self, user: UUID) -> None:
        """The partition went elsewhere and came back; whoever comes back starts from nothing."""
        self.book.forget({user})
        self.book.took_over([user.int])
        self.taken_over.add(user.int)
        self.reports[user] = {}
        self.told[user] = OFFLINE
        self.left_at[user] = None

    @rule(user=users, present=st.booleans())
    def settle(self, user: UUID, present: bool) -> None:
        """What the owner before has told is known now."""
        told = self.book.settled([user.int], {user} if present else set())
        self.taken_over.discard(user.int)
        as_told = self.told[user] if user in self.book.users() else OFFLINE
        assert told == ({} if (as_told != OFFLINE) == present else {user: as_told})

    @rule(seconds=st.sampled_from([0.5, 1.0, GRACE_S]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def changes(self) -> None:
        expected: dict[UUID, str] = {}
        for user in USERS:
            left_at = self.left_at[user]
            if self.reports[user]:
                expected[user] = strongest(set(self.reports[user].values()))
            elif left_at is not None and self.now >= left_at + GRACE_S:
                expected[user] = OFFLINE
                self.left_at[user] = None
        changed = {user: status for user, status in expected.items() if status != self.told[user]}
        found = self.book.changes(self.now)
        assert dict(found) == changed
        assert len(found) == len(changed)
        self.told.update(changed)
        assert self.book.changes(self.now) == []

    @invariant()
    def status_is_shown(self) -> None:
        for user in USERS:
            if self.reports[user]:
                assert self.book.status(user) == strongest(set(self.reports[user].values()))
            elif self.left_at[user] is not None:
                assert self.book.status(user) == self.told[user]
            else:
                assert self.book.status(user) == OFFLINE


TestPresence = Presence.TestCase


def test_a_reconnect_within_the_grace_is_no_news() -> None:
    book = PresenceBook()
    book.attend("gateway1", USERS[0], 1, "online", 0.0)
    assert book.changes(0.0) == [(USERS[0], "online")]
    book.attend("gateway1", USERS[0], 0, "online", 1.0)
    assert book.changes(2.0) == []
    assert book.status(USERS[0]) == "online"
    book.attend("gateway2", USERS[0], 1, "online", 3.0)
    assert book.changes(9.0) == []


def test_an_unknown_status_counts_as_online() -> None:
    book = PresenceBook()
    book.attend("gateway1", USERS[0], 1, "dancing", 0.0)
    assert book.changes(0.0) == [(USERS[0], "online")]


def test_one_without_sockets_is_not_remembered() -> None:
    book = PresenceBook()
    book.attend("gateway1", USERS[0], 0, "online", 0.0)
    assert book.users() == set()


def test_a_gateway_that_is_lost_takes_its_reports_along() -> None:
    book = PresenceBook()
    book.attend("gateway1", USERS[0], 1, "away", 0.0)
    book.attend("gateway2", USERS[0], 1, "busy", 0.0)
    book.attend("gateway1", USERS[1], 2, "invisible", 0.0)
    assert book.changes(0.0) == [(USERS[0], "busy")]
    book.gateway_lost("gateway2", 1.0)
    assert book.changes(1.0) == [(USERS[0], "away")]
    book.gateway_lost("gateway1", 1.0)
    assert book.changes(1.0 + GRACE_S / 2) == []
    assert book.changes(1.0 + GRACE_S) == [(USERS[0], OFFLINE)]
    assert book.users() == set()


def test_a_storm_is_told_in_parts_and_only_what_is_still_true() -> None:
    book = PresenceBook()
    users = [UUID(int=number) for number in range(1, 101)]
    for user in users:
        book.attend("gateway1", user, 1, "online", 0.0)
    told = book.changes(0.0, 60)
    assert len(told) == 60
    for user in users:
        book.attend("gateway1", user, 0, "online", 1.0)
        book.attend("gateway2", user, 1, "online", 2.0)
    told += book.changes(5.0, 60)
    assert sorted(told) == sorted((user, "online") for user in users)
    assert book.changes(60.0) == []


# -- how many sockets --------------------------------------------------------------------------------------------


def test_the_gateway_that_added_last_closes_what_is_too_much() -> None:
    book = PresenceBook(max_sockets=5)
    book.attend("gateway1", USERS[0], 3, "online", 0.0)
    book.attend("gateway2", USERS[0], 2, "online", 0.0)
    assert book.crowds() == []
    book.attend("gateway2", USERS[0], 3, "online", 0.0)
    book.attend("gateway1", USERS[0], 5, "online", 0.0)
    assert book.crowds() == [("gateway1", USERS[0], 2), ("gateway2", USERS[0], 1)]
    assert book.crowds() == []
    # A word about the status is no new socket.
    book.attend("gateway1", USERS[0], 5, "busy", 0.0)
    assert book.crowds() == []


def test_a_socket_that_moves_is_not_too_much() -> None:
    book = PresenceBook(max_sockets=2)
    book.attend("gateway1", USERS[0], 2, "online", 0.0)
    book.attend("gateway2", USERS[0], 1, "online", 0.1)
    book.attend("gateway1", USERS[0], 1, "online", 0.1)
    assert book.crowds() == []


@given(st.integers(1, 6), st.lists(st.tuples(gateways, st.integers(0, 6)), max_size=20), st.booleans())
@example(1, [("gateway1", 1), ("gateway1", 2), ("gateway1", 0), ("gateway1", 1), ("gateway1", 2)], False)
def test_whoever_heeds_it_is_within_the_limit(limit: int, reports: list[tuple[str, int]], at_once: bool) -> None:
    book = PresenceBook(limit)
    there: dict[str, int] = {}

    def heed() -> None:
        for gateway, _, excess in book.crowds():
            assert 0 < excess <= there[gateway]
            there[gateway] -= excess
            book.attend(gateway, USERS[0], there[gateway], "online", 0.0)

    for gateway, sockets in reports:
        there[gateway] = sockets
        book.attend(gateway, USERS[0], sockets, "online", 0.0)
        if at_once:
            heed()
    before = sum(there.values())
    heed()
    assert sum(there.values()) <= limit
    assert sum(there.values()) == min(limit, before)


# -- leases ------------------------------------------------------------------------------------------------------


def test_a_silent_gateway_is_lost_and_told_so_when_it_is_back() -> None:
    leases = Leases()
    assert not leases.heard("gateway1", 0.0)
    now = 0.0
    while now < LEASE_S:
        assert leases.ended(now) == []
        now += AWAKE_S / 2
    leases.heard("gateway2", now)
    assert leases.ended(now + AWAKE_S / 2) == ["gateway1"]
    assert leases.ended(now + AWAKE_S) == []
    assert leases.heard("gateway1", now + AWAKE_S)
    assert not leases.heard("gateway1", now + AWAKE_S)


def test_whoever_slept_blames_nobody() -> None:
    leases = Leases()
    leases.heard("gateway1", 0.0)
    leases.ended(0.0)
    assert leases.ended(60.0) == []
    assert not leases.heard("gateway1", 61.0)


def test_a_dead_gateway_is_not_waited_for() -> None:
    leases = Leases()
    leases.heard("gateway1", 0.0)
    leases.lost("gateway1")
    assert [leases.ended(now / 2) for now in range(40)] == [[]] * 40
    assert not leases.heard("gateway1", 60.0)


@given(st.lists(st.floats(0.0, BEAT_S), min_size=1, max_size=50))
def test_whoever_beats_is_never_lost(pauses: list[float]) -> None:
    leases = Leases()
    now = 0.0
    for pause in pauses:
        assert not leases.heard("gateway1", now)
        for part in range(5):
            assert leases.ended(now + pause * part / 5) == []
        now += pause


@given(st.floats(0.0, 100.0), st.floats(0.05, AWAKE_S))
def test_a_ghost_is_gone_within_fifteen_seconds(last: float, tick: float) -> None:
    """From the last sign of a gateway until others are told that its people are gone."""
    book, leases = PresenceBook(), Leases()
    book.attend("gateway1", USERS[0], 1, "online", last)
    leases.heard("gateway1", last)
    now = last
    while not (told := [change for change in book.changes(now) if change[1] == OFFLINE]):
        for gateway in leases.ended(now):
            book.gateway_lost(gateway, now)
        now += tick
    assert told == [(USERS[0], OFFLINE)]
    assert now - last < 15
