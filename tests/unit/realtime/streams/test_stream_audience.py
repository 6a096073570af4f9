"""Who watches, and what they feel: sums over gateways that no order of reports makes wrong."""

from collections import Counter
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from veza.realtime.streams.applause import KINDS, Applause
from veza.realtime.streams.audience import Audience

PEOPLE = [UUID(int=number) for number in range(6)]
gateways = st.sampled_from(["gateway1", "gateway2", "gateway3"])


class Reports(RuleBasedStateMachine):
    """Gateways report what changed, repeat everything, and die; a model holds sets."""

    def __init__(self) -> None:
        super().__init__()
        self.audience = Audience()
        self.people: dict[str, set[UUID]] = {}
        self.anonymous: dict[str, int] = {}
        self.most = 0

    @rule(gateway=gateways, came=st.sets(st.sampled_from(PEOPLE)), left=st.sets(st.sampled_from(PEOPLE)))
    def changes(self, gateway: str, came: set[UUID], left: set[UUID]) -> None:
        self.people[gateway] = (self.people.get(gateway, set()) | came) - left
        self.audience.report(gateway, came, left, self.anonymous.get(gateway, 0))
        self._note()

    @rule(gateway=gateways, people=st.sets(st.sampled_from(PEOPLE)), anonymous=st.integers(0, 5))
    def repeats(self, gateway: str, people: set[UUID], anonymous: int) -> None:
        self.people[gateway], self.anonymous[gateway] = people, anonymous
        self.audience.report(gateway, people, (), anonymous, whole=True)
        self._note()

    @rule(gateway=gateways)
    def dies(self, gateway: str) -> None:
        self.people.pop(gateway, None)
        self.anonymous.pop(gateway, None)
        self.audience.gateway_lost(gateway)

    def _note(self) -> None:
        self.most = max(self.most, self._count())

    def _count(self) -> int:
        everybody: set[UUID] = set()
        return len(everybody.union(*self.people.values())) + sum(self.anonymous.values())

    @invariant()
    def counts_each_once(self) -> None:
        assert self.audience.count == self._count()
        assert self.audience.peak == self.most
        there = {g for g, people in self.people.items() if people} | {g for g, n in self.anonymous.items() if n}
        assert set(self.audience.gateways) == there


TestReports = Reports.TestCase


def test_the_count_is_told_when_it_changed_and_at_most_once_a_second() -> None:
    audience = Audience()
    assert audience.due(0.0) == 0
    audience.report("gateway1", PEOPLE[:1], (), 2)
    assert audience.due(0.5) is None
    assert audience.due(1.0) == 3
    assert audience.due(9.0) is None


@given(st.lists(st.dictionaries(st.text(min_size=1, max_size=2), st.integers(-2, 9), max_size=40), max_size=10))
def test_reactions_are_summed_and_none_is_told_twice(reports: list[dict[str, int]]) -> None:
    applause, told, now = Applause(total=5), Counter[str](), 0.0
    for counts in reports:
        applause.add(counts)
        now += 0.4
        if due := applause.due(now):
            assert len(due) <= KINDS
            told.update(due)
    told.update(applause.due(now + 1) or {})
    given_ = Counter[str]()
    for counts in reports:
        given_.update({emoji: count for emoji, count in counts.items() if count > 0})
    assert applause.total == 5 + given_.total()
    assert told <= given_
    assert applause.due(now + 9) is None
