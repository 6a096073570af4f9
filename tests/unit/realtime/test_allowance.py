"""One bucket a user over all gateways: never more than it gives, whatever comes late, twice or never; nobody waits
for ever.
"""

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from veza.realtime import commands as c
from veza.realtime.allowance import PATIENCE_S, RECALL_AGAIN_S, SETTLE_S, Borrower, Lender, Limits
from veza.realtime.partition import partition_of

USERS = [UUID(int=1), UUID(int=2)]
GATEWAYS = ["g1", "g2", "g3"]
PER_MINUTE, BURST = 60, 5
LIMITS = Limits(PER_MINUTE, BURST)


class Gateway:
    """A borrower, its people, and what it has sent."""

    def __init__(self, name: str, world: "World") -> None:
        self.name = name
        self.world = world
        self.borrower: Borrower[int] = Borrower(LIMITS)
        self.sockets: dict[UUID, int] = {}
        self.alive = True
        self.owner = "s1"  # as the map says that it has

    def write(self, message: int, user: UUID) -> None:
        """Somebody wants to send a message."""
        wait = self.borrower.take(user, self.world.now)
        if wait is None:
            if self.borrower.wait(user, message, self.world.now):
                self.ask(user)
        else:
            self.world.decided(message, user, wait)

    def resume(self, messages: list[int]) -> None:
        for message in messages:
            self.write(message, self.world.author[message])
            assert message in self.world.outcome, "sent back to wait"

    def ask(self, user: UUID) -> None:
        self.world.ref += 1
        self.world.send(self.name, c.TakeAllowance(self.world.ref, user))

    def give_back(self, user: UUID, grant: int, tokens: float | None) -> None:
        self.world.ref += 1
        self.world.send(self.name, c.ReturnAllowance(self.world.ref, user, grant, tokens))

    def attend(self, user: UUID, *, again: bool = False) -> None:
        grant, tokens = self.borrower.held(user, self.world.now) if again else (0, 0.0)
        report = c.Attend(user, self.sockets.get(user, 0), "online", again, grant, tokens)
        self.world.send(self.name, report)

    def attend_again(self) -> None:
        for user in {*self.sockets, *self.borrower.holders()}:
            self.attend(user, again=True)

    def receive(self, shard: str, item: c.Delivery) -> None:
        match item:
            case c.AllowanceLent() if shard != self.owner:
                if self.borrower.strays(shard, item):
                    self.give_back(item.user_id, item.grant, item.tokens)
            case c.AllowanceLent():
                self.resume(self.borrower.lent(shard, item, self.world.now))
            case c.RecallAllowance():
                self.give_back(item.user_id, item.grant, self.borrower.recalled(shard, item, self.world.now))
            case c.Answer():
                user = self.world.asks.pop((self.name, item.ref), None)
                if user is not None and self.borrower.answered(user):
                    self.ask(user)

    def sweep(self) -> None:
        for user, grant, tokens in self.borrower.spare(lambda user: bool(self.sockets.get(user)), self.world.now):
            self.give_back(user, grant, tokens)
        resumed, asks = self.borrower.overdue(self.world.now)
        self.resume(resumed)
        for user in asks:
            self.ask(user)


class World:
    """Gateways and one owner at a time. `up` and `down` are what is on its way, in the order in which it was sent."""

    def __init__(self) -> None:
        self.now = 0.0
        self.epoch = 1
        self.shard = "s1"
        self.lender = self.owner(settled_at=0.0)
        self.gateways = {name: Gateway(name, self) for name in GATEWAYS}
        self.up: dict[str, list[c.UserCommand]] = {name: [] for name in GATEWAYS}
        self.down: dict[str, list[tuple[str, c.Delivery]]] = {name: [] for name in GATEWAYS}
        self.asks: dict[tuple[str, int], UUID] = {}
        self.unanswered: dict[tuple[str, int], c.UserCommand] = {}
        self.ref = 0
        self.author: dict[int, UUID] = {}
        self.outcome: dict[int, float] = {}
        self.passed: dict[UUID, list[float]] = {user: [] for user in USERS}

    def owner(self, settled_at: float) -> Lender:
        lender = Lender(LIMITS)
        for user in USERS:
            lender.granted(partition_of(user), self.epoch, settled_at)
        return lender

    def write(self, gateway: str, user: UUID) -> None:
        message = len(self.author)
        self.author[message] = user
        self.gateways[gateway].write(message, user)

    def decided(self, message: int, user: UUID, wait: float) -> None:
        assert message not in self.outcome, "answered twice"
        self.outcome[message] = wait
        if not wait:
            self.passed[user].append(self.now)

    def send(self, gateway: str, command: c.UserCommand) -> None:
        if isinstance(command, c.TakeAllowance):
            self.asks[gateway, command.ref] = command.user_id
        if not isinstance(command, c.Attend | c.GetPresence):
            self.unanswered[gateway, command.ref] = command
        self.up[gateway].append(command)

    def tell(self, tells: list[tuple[str, c.Delivery]]) -> None:
        for gateway, item in tells:
            self.down[gateway].append((self.shard, item))

    def handle(self, gateway: str, index: int = 0) -> None:
        """The owner takes a command."""
        command = self.up[gateway].pop(index)
        match command:
            case c.Attend():
                self.tell(self.lender.attended(gateway, command, self.epoch, self.now))
            case c.TakeAllowance():
                self.tell(self.lender.asked(gateway, command, self.epoch, self.now))
            case c.ReturnAllowance():
                self.tell(self.lender.returned(gateway, command, self.epoch, self.now))

    def receive(self, gateway: str, index: int = 0, *, keep: bool = False) -> None:
        """A gateway takes a delivery; `keep` leaves another of it on the way."""
        shard, item = self.down[gateway][index] if keep else self.down[gateway].pop(index)
        if isinstance(item, c.Answer):
            self.unanswered.pop((gateway, item.ref), None)
        self.gateways[gateway].receive(shard, item)

    def tick(self) -> None:
        self.tell(self.lender.tick(lambda _: self.epoch, self.now))

    def replace(self, settled_at: float = 0.0) -> None:
        """Another shard is the owner."""
        self.epoch += 1
        self.shard = f"s{self.epoch}"
        self.lender = self.owner(settled_at)
        for gateway in self.gateways.values():
            gateway.owner = self.shard

    def move(self) -> None:
        """Another shard is the owner. What is on its way to the old one is refused; what wants an answer goes to the
        new one, as the router does it, behind what gateways report.
        """
        self.replace(self.now + SETTLE_S)
        for name, gateway in self.gateways.items():
            self.up[name] = []
            if gateway.alive:
                gateway.attend_again()
            self.up[name] += [command for (owner, _), command in self.unanswered.items() if owner == name]

    def crash(self, name: str) -> None:
        """A gateway dies; another of the same name is a new one to everybody, so nothing of the old one stays."""
        self.gateways[name].alive = False
        self.up[name].clear()
        self.down[name].clear()
        self.unanswered = {key: command for key, command in self.unanswered.items() if key[0] != name}
        self.tell(self.lender.gateway_lost(name, lambda _: self.epoch, self.now))

    def living(self) -> Iterator[str]:
        return (name for name, gateway in self.gateways.items() if gateway.alive)

    def run_out(self) -> None:
        """Everything that is on its way arrives, and time passes until nobody waits."""
        for _ in range(40):
            for _ in range(20):
                for name in self.living():
                    while self.up[name]:
                        self.handle(name)
                    while self.down[name]:
                        self.receive(name)
            self.now += 0.25
            self.tick()
            for name in self.living():
                self.gateways[name].sweep()


def most_in_any_interval(times: list[float]) -> float:
    """How far `burst + rate * t` was exceeded at worst; at most 0 when the limit held."""
    worst = float("-inf")
    for i, start in enumerate(times):
        for j in range(i, len(times)):
            worst = max(worst, (j - i + 1) - (BURST + (times[j] - start) * PER_MINUTE / 60))
    return worst


gateways = st.sampled_from(GATEWAYS)
users = st.sampled_from(USERS)


class Ordered(RuleBasedStateMachine):
    """Links keep their order, partitions move, no process dies: the limit is exact, and everybody is answered."""

    @initialize()
    def begin(self) -> None:
        self.world = World()

    @rule(gateway=gateways, user=users)
    def write(self, gateway: str, user: UUID) -> None:
        if self.world.gateways[gateway].alive:
            self.world.write(gateway, user)

    @rule(gateway=gateways, user=users, sockets=st.integers(0, 2))
    def attend(self, gateway: str, user: UUID, sockets: int) -> None:
        found = self.world.gateways[gateway]
        if found.alive:
            found.sockets[user] = sockets
            if not sockets:
                found.borrower.left(user)
            found.attend(user)

    @rule(gateway=gateways, count=st.integers(1, 4))
    def handle(self, gateway: str, count: int) -> None:
        for _ in range(min(count, len(self.world.up[gateway]))):
            self.world.handle(gateway)

    @rule(gateway=gateways, count=st.integers(1, 4))
    def receive(self, gateway: str, count: int) -> None:
        for _ in range(min(count, len(self.world.down[gateway]))):
            self.world.receive(gateway)

    @rule(seconds=st.sampled_from([0.01, 0.2, 0.7, 3.0]))
    def wait(self, seconds: float) -> None:
        """Time passes; no longer than a gateway is patient while something is on its way."""
        if self.world.unanswered or any(self.world.up.values()) or any(self.world.down.values()):
            seconds = 0.01
        self.world.now += seconds
        self.world.tick()
        for name in self.world.living():
            self.world.gateways[name].sweep()

    @precondition(lambda self: self.world.epoch < 4)
    @rule()
    def move(self) -> None:
        """Gateways report before a new owner is settled, which is what it waits for."""
        self.world.move()
        for name in self.world.living():
            while self.world.up[name]:
                self.world.handle(name)

    @invariant()
    def limit_holds(self) -> None:
        if hasattr(self, "world"):
            for times in self.world.passed.values():
                assert most_in_any_interval(times) <= 1e-6

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        self.world.run_out()
        assert self.world.outcome.keys() == self.world.author.keys(), "somebody waits for ever"
        self.limit_holds()
        # What is full again is nowhere remembered but where people are.
        for name in self.world.living():
            for user in self.world.gateways[name].borrower.holders():
                assert self.world.gateways[name].sockets.get(user)


TestOrdered = Ordered.TestCase


class Unruly(Ordered):
    """Deliveries and commands overtake each other, come twice or never. No share is given while nobody is impatient."""

    @rule(gateway=gateways, data=st.data())
    def overtake(self, gateway: str, data: Any) -> None:
        if up := self.world.up[gateway]:
            self.world.handle(gateway, data.draw(st.integers(0, len(up) - 1)))

    @rule(gateway=gateways, data=st.data(), keep=st.booleans())
    def receive_any(self, gateway: str, data: Any, keep: bool) -> None:
        if down := self.world.down[gateway]:
            self.world.receive(gateway, data.draw(st.integers(0, len(down) - 1)), keep=keep)

    @rule(gateway=gateways, data=st.data(), upward=st.booleans())
    def lose(self, gateway: str, data: Any, upward: bool) -> None:
        way: list[Any] = self.world.up[gateway] if upward else self.world.down[gateway]
        if way:
            way.pop(data.draw(st.integers(0, len(way) - 1)))

    def move(self) -> None:
        """Not here: without order a new owner cannot know."""

    def teardown(self) -> None:
        """What is lost for good is asked again after a while; the router says when."""
        if not hasattr(self, "world"):
            return
        self.world.run_out()
        assert self.world.outcome.keys() == self.world.author.keys(), "somebody waits for ever"


TestUnruly = Unruly.TestCase


class Crashes(Ordered):
    """Gateways die: what one held is lent anew, which is one more burst a death, and nobody waits for ever."""

    deaths = 0

    @precondition(lambda self: sum(g.alive for g in self.world.gateways.values()) > 1)
    @rule(gateway=gateways)
    def crash(self, gateway: str) -> None:
        world = self.world
        if world.gateways[gateway].alive:
            waiting = {m for m in world.author if m not in world.outcome}
            world.crash(gateway)
            # Whoever waited there is gone with it.
            for message in waiting:
                if all(message not in _waiting(world.gateways[name], world.author[message]) for name in world.living()):
                    world.outcome[message] = -1.0
            self.deaths += 1

    @invariant()
    def limit_holds(self) -> None:
        if hasattr(self, "world"):
            for times in self.world.passed.values():
                assert most_in_any_interval(times) <= BURST * self.deaths + 1e-6


def _waiting(gateway: Gateway, user: UUID) -> list[int]:
    wish = gateway.borrower._wishes.get(user)
    return [] if wish is None else wish.waiting


TestCrashes = Crashes.TestCase


# -- examples ----------------------------------------------------------------------------------------------------


def flow(world: World) -> None:
    """Everything on its way arrives."""
    while any(world.up.values()) or any(world.down.values()):
        for name in GATEWAYS:
            while world.up[name]:
                world.handle(name)
            while world.down[name]:
                world.receive(name)


def arrive(world: World, name: str, user: UUID = USERS[0], sockets: int = 1) -> None:
    world.gateways[name].sockets[user] = sockets
    world.gateways[name].attend(user)


def test_the_first_gateway_needs_to_ask_nobody() -> None:
    world = World()
    arrive(world, "g1")
    flow(world)
    for _ in range(BURST + 1):
        world.write("g1", USERS[0])
    assert list(world.outcome.values()) == [0.0] * BURST + [pytest.approx(60 / PER_MINUTE)]
    assert not any(world.up.values())


def test_the_bucket_goes_to_whoever_writes() -> None:
    world = World()
    arrive(world, "g1")
    arrive(world, "g2")
    flow(world)
    for gateway in ("g1", "g2", "g1", "g2", "g1", "g2"):
        world.write(gateway, USERS[0])
        flow(world)
    assert [wait == 0 for wait in world.outcome.values()] == [True] * 5 + [False]


def test_a_gateway_that_asks_as_it_is_lent_is_served_once() -> None:
    """The usual case: the first message comes before the loan has."""
    world = World()
    arrive(world, "g1")
    world.write("g1", USERS[0])
    flow(world)
    assert world.outcome == {0: 0.0}
    for _ in range(BURST):
        world.write("g1", USERS[0])
    assert sum(wait == 0 for wait in world.outcome.values()) == BURST


def test_a_new_owner_learns_who_holds_what() -> None:
    world = World()
    arrive(world, "g1")
    flow(world)
    for _ in range(3):
        world.write("g1", USERS[0])
    world.move()
    world.write("g2", USERS[0])
    flow(world)
    for _ in range(3):
        world.write("g2", USERS[0])
    flow(world)
    assert sum(wait == 0 for wait in world.outcome.values()) == BURST


def test_who_asks_a_new_owner_waits_until_it_is_settled() -> None:
    world = World()
    world.move()
    world.write("g2", USERS[0])
    flow(world)
    world.tick()
    flow(world)
    assert not world.outcome
    world.now += SETTLE_S
    world.tick()
    flow(world)
    assert world.outcome == {0: 0.0}


def test_nobody_waits_longer_than_the_patience_and_a_share_is_small() -> None:
    world = World()
    for _ in range(4):
        world.write("g1", USERS[0])
    world.gateways["g1"].sweep()
    assert not world.outcome
    world.now += PATIENCE_S
    world.gateways["g1"].sweep()
    assert sum(wait == 0 for wait in world.outcome.values()) == 1
    world.write("g1", USERS[0])
    assert len(world.outcome) == 5
    flow(world)
    world.write("g1", USERS[0])
    assert world.outcome[5] == 0.0


@pytest.mark.parametrize("later", [0.0, 0.1])
def test_who_goes_on_with_a_share_has_it_though_the_ask_was_refused(later: float) -> None:
    world = World()
    gateway = world.gateways["g1"]
    world.write("g1", USERS[0])
    gateway.borrower.refused(USERS[0])
    world.now += PATIENCE_S + later
    gateway.sweep()
    assert world.outcome == {0: 0.0}


def test_a_recall_that_is_not_answered_is_repeated() -> None:
    world = World()
    arrive(world, "g1")
    flow(world)
    world.write("g2", USERS[0])
    world.handle("g2")
    assert [type(item) for _, item in world.down["g1"]] == [c.RecallAllowance]
    world.down["g1"].clear()
    world.now += RECALL_AGAIN_S
    world.tick()
    flow(world)
    assert world.outcome == {0: 0.0}


def test_a_loan_that_was_lost_is_made_again_empty() -> None:
    world = World()
    arrive(world, "g1")
    world.write("g1", USERS[0])
    world.handle("g1")
    world.handle("g1")
    world.down["g1"].pop(0)
    flow(world)
    [wait] = world.outcome.values()
    assert wait == pytest.approx(60 / PER_MINUTE)


def test_what_a_dead_gateway_held_is_lent_anew() -> None:
    world = World()
    arrive(world, "g1")
    flow(world)
    for _ in range(BURST):
        world.write("g1", USERS[0])
    world.write("g2", USERS[0])
    world.handle("g2")
    world.crash("g1")
    flow(world)
    assert [wait == 0 for wait in world.outcome.values()] == [True] * (BURST + 1)


def test_a_gateway_that_was_cut_off_gives_back_what_is_lent_elsewhere() -> None:
    world = World()
    arrive(world, "g1")
    flow(world)
    world.tell(world.lender.gateway_lost("g1", lambda _: 1, world.now))
    world.write("g2", USERS[0])
    flow(world)
    world.gateways["g1"].attend_again()
    flow(world)
    assert list(world.gateways["g1"].borrower.holders()) == []
    assert list(world.gateways["g2"].borrower.holders()) == [USERS[0]]


def test_nothing_is_kept_for_who_is_away() -> None:
    world = World()
    for gateway in ("g1", "g2"):
        world.write(gateway, USERS[0])
        flow(world)
    world.run_out()
    assert len(world.lender) == 0
    assert all(not list(gateway.borrower.holders()) for gateway in world.gateways.values())


def test_a_partition_that_goes_elsewhere_is_forgotten() -> None:
    world = World()
    arrive(world, "g1")
    flow(world)
    assert len(world.lender) == 1
    world.lender.forget({partition_of(USERS[0])})
    assert len(world.lender) == 0


@settings(max_examples=50)
@given(st.lists(st.tuples(gateways, st.floats(0, 2)), max_size=60))
def test_over_time_it_is_the_rate(story: list[tuple[str, float]]) -> None:
    world = World()
    for name in GATEWAYS:
        arrive(world, name)
    flow(world)
    for gateway, pause in story:
        world.now += pause
        world.write(gateway, USERS[0])
        flow(world)
    assert len(world.outcome) == len(story)
    assert most_in_any_interval(world.passed[USERS[0]]) <= 1e-6


# -- what comes late, twice or out of order ----------------------------------------------------------------------


def spent(world: World, user: UUID = USERS[0]) -> int:
    return len(world.passed[user])


def test_a_loan_that_comes_again_after_its_return_is_not_accepted() -> None:
    world = World()
    arrive(world, "g1")
    world.handle("g1")
    world.receive("g1", keep=True)
    [late] = world.down["g1"]
    world.down["g1"].clear()
    for _ in range(BURST):
        world.write("g2", USERS[0])
    flow(world)
    assert spent(world) == BURST
    world.down["g1"].append(late)
    world.receive("g1")
    assert list(world.gateways["g1"].borrower.holders()) == []


def test_a_loan_that_its_recall_overtakes_is_not_accepted() -> None:
    world = World()
    arrive(world, "g1")
    world.handle("g1")
    world.write("g2", USERS[0])
    world.handle("g2")
    world.receive("g1", 1)
    world.receive("g1", 0)
    assert list(world.gateways["g1"].borrower.holders()) == []


def test_a_return_that_was_lost_gives_an_empty_bucket() -> None:
    world = World()
    arrive(world, "g1")
    flow(world)
    world.write("g2", USERS[0])
    world.handle("g2")
    world.receive("g1")
    world.up["g1"].clear()
    world.now += RECALL_AGAIN_S
    world.tick()
    flow(world)
    assert spent(world) == 0


def test_a_return_of_an_older_loan_is_not_counted() -> None:
    world = World()
    arrive(world, "g1")
    flow(world)
    [(old, _)] = [world.gateways["g1"].borrower.held(USERS[0], world.now)]
    for gateway in ("g2", "g1"):
        for _ in range(2):
            world.write(gateway, USERS[0])
        flow(world)
    world.gateways["g1"].give_back(USERS[0], old, float(BURST))
    for _ in range(BURST):
        world.write("g2", USERS[0])
    flow(world)
    assert spent(world) == BURST


def test_a_loan_beside_an_older_one_has_the_lesser_tokens() -> None:
    """A new owner that was not told in time lends what is held already."""
    world = World()
    arrive(world, "g1")
    flow(world)
    for _ in range(BURST):
        world.write("g1", USERS[0])
    world.replace()
    arrive(world, "g1")
    flow(world)
    world.write("g1", USERS[0])
    assert spent(world) == BURST


def test_of_two_loans_the_newer_one_counts() -> None:
    world = World()
    arrive(world, "g1")
    flow(world)
    world.replace()
    arrive(world, "g2")
    flow(world)
    world.gateways["g1"].attend_again()
    flow(world)
    assert list(world.gateways["g1"].borrower.holders()) == []
    # The recall was of another shard's loan, whose number says nothing of this one's.
    arrive(world, "g1", USERS[1])
    flow(world)
    assert list(world.gateways["g1"].borrower.holders()) == [USERS[1]]


def test_a_partition_that_comes_back_under_the_same_epoch_is_asked_for_anew() -> None:
    """A move that failed: the old owner gave up what it lent, and is the owner again."""
    world = World()
    arrive(world, "g1")
    flow(world)
    for _ in range(BURST):
        world.write("g1", USERS[0])
    partition = partition_of(USERS[0])
    world.lender.forget({partition})
    world.lender.granted(partition, world.epoch, world.now + SETTLE_S)
    world.gateways["g1"].attend_again()
    world.write("g2", USERS[0])
    flow(world)
    assert spent(world) == BURST
