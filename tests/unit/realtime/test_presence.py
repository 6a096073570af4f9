"""Presence beside a model: what others see is what the gateways reported, after its grace, once a change."""

from uuid import UUID

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from veza.realtime.presence import GRACE_S, OFFLINE, PresenceBook

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

    @rule(gateway=gateways, user=users, status=statuses, sockets=st.integers(0, 2), again=st.booleans())
    def attend(self, gateway: str, user: UUID, status: str, sockets: int, again: bool) -> None:
        known = user in self.book.users()
        self.book.attend(gateway, user, sockets, status, self.now, again=again)
        if sockets:
            self.reports[user][gateway] = status
            self.left_at[user] = None
            if again and not known:
                self.told[user] = OFFLINE if status == "invisible" else status
        else:
            self.reports[user].pop(gateway, None)
            if known and not self.reports[user]:
                self.left_at[user] = self.now

    @rule(gateway=gateways)
    def lose(self, gateway: str) -> None:
        for user in USERS:
            if self.reports[user].pop(gateway, None) is not None and not self.reports[user]:
                self.left_at[user] = self.now
        self.book.gateway_lost(gateway, self.now)

    @rule(user=users)
    def forget(self, user: UUID) -> None:
        """The partition went elsewhere; whoever comes back starts from nothing."""
        self.book.forget({user})
        self.reports[user] = {}
        self.told[user] = OFFLINE
        self.left_at[user] = None

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
