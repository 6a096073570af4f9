"""A limit holds, to the request, whatever the network does to what gateways and limiters say to each other."""

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from rate_world import START, World

from veza.realtime.rate_window import Policy

LIMIT = 5
SUBJECTS = ("a", "b", "c")
# After a death: until its limiter is replaced and heard of by all, and the windows that begin before end.
MENDED_S = 3.0

which = st.integers(0, 1000)
subjects = st.sampled_from(SUBJECTS)


class Machine(RuleBasedStateMachine):
    """Nobody dies."""

    def __init__(self) -> None:
        super().__init__()
        self.exempt: set[int] = set()

    @initialize(
        gateways=st.integers(1, 3),
        limiters=st.integers(1, 2),
        period=st.sampled_from([1, 3]),
        options=st.tuples(st.booleans(), st.booleans()),
        skews=st.lists(st.floats(-0.4, 0.4), min_size=5, max_size=5),
    )
    def begin(self, gateways: int, limiters: int, period: int, options: tuple[bool, bool], skews: list[float]) -> None:
        self.policy = Policy("test", LIMIT, period)
        room, known = options
        # Without room for all keys a gateway forgets what it spent while nobody could be asked.
        crowded = not room and limiters == 1
        self.world = World(self.policy, gateways=gateways, limiters=limiters, most_keys=2 if crowded else 1000)
        for node, skew in zip(self.world.nodes.values(), skews, strict=False):
            node.skew = skew
        # Who has asked before anybody could be asked has their own part in the next window, too.
        self.begun = self.world.window(self.world.gateways[0])
        if known:
            self.world.settle()
            self.begun -= 1

    @rule(gateway=which, subject=subjects, count=st.integers(1, 2 * LIMIT))
    def requests(self, gateway: int, subject: str, count: int) -> None:
        gateways = self.world.gateways
        for _ in range(count):
            self.world.request(gateways[gateway % len(gateways)], subject)

    @rule(link=which, told=st.booleans())
    def arrives(self, link: int, told: bool) -> None:
        links = sorted(self.world.under_way())
        if links:
            self.world.deliver(*links[link % len(links)], told=told)

    @rule(batch=which)
    def arrives_again(self, batch: int) -> None:
        self.world.again(batch)

    @rule(seconds=st.floats(0.01, 1.2))
    def time_passes(self, seconds: float) -> None:
        self.world.pass_time(seconds)

    @rule()
    def all_arrives(self) -> None:
        self.world.settle()

    @rule(gateways=st.lists(which, min_size=LIMIT, max_size=3 * LIMIT), subject=subjects, hurry=st.booleans())
    def a_window_full_of_requests(self, gateways: list[int], subject: str, hurry: bool) -> None:
        """Exactly as many pass as may, whichever gateways they come to."""
        world = self.world
        if not self.calm() or any(node.skew for node in world.nodes.values()):
            return
        world.next_window()
        key = subject, world.window(world.gateways[0])
        before = world.refused[key]
        for gateway in gateways:
            world.request(world.gateways[gateway % len(world.gateways)], subject)
            if not hurry:
                world.settle()
        world.settle()
        assert world.admitted[key] == LIMIT
        assert world.refused[key] - before == len(gateways) - LIMIT

    @rule(gateway=which, subject=subjects)
    def one_gateway_has_all(self, gateway: int, subject: str) -> None:
        self.a_window_full_of_requests([gateway] * (LIMIT + 1), subject, hurry=False)

    def calm(self) -> bool:
        """Whether somebody can be asked, and all have heard of whoever died."""
        window = self.world.window(self.world.gateways[0])
        return bool(self.world.limiters) and window > self.begun and window - 1 not in self.exempt

    @invariant()
    def no_more_than_the_limit_passes(self) -> None:
        if not hasattr(self, "world"):
            return
        over = {key: count for key, count in self.world.admitted.items() if count > LIMIT and key[1] not in self.exempt}
        assert not over, over

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.world.settle()
            assert not self.world.waiting.total()


class Mortal(Machine):
    """Gateways and limiters die and come. For a moment afterwards each gateway has its own part, and nobody waits."""

    def wound(self) -> None:
        now, period = self.world.time, self.policy.period_s
        first = int(now - 1) // period
        last = int(now + MENDED_S) // period + 1
        self.exempt |= set(range(first, last + 1))

    @rule(victim=which)
    def a_limiter_dies(self, victim: int) -> None:
        limiters = self.world.limiters
        if limiters:
            self.world.kill(limiters[victim % len(limiters)].name)
            self.wound()
            assert not self.world.waiting.total() or self.world.limiters

    @precondition(lambda self: hasattr(self, "world") and len(self.world.limiters) < 3)
    @rule(skew=st.floats(-0.4, 0.4))
    def a_limiter_comes(self, skew: float) -> None:
        # What was spent in the window of a key that it takes over is not known to all.
        self.wound()
        self.world.add_limiter(skew)
        self.world.settle()

    @precondition(lambda self: hasattr(self, "world") and len(self.world.gateways) > 1)
    @rule(victim=which)
    def a_gateway_dies(self, victim: int) -> None:
        gateways = self.world.gateways
        self.world.kill(gateways[victim % len(gateways)].name)
        self.wound()

    @precondition(lambda self: hasattr(self, "world") and len(self.world.gateways) < 4)
    @rule()
    def a_gateway_comes(self) -> None:
        if not self.world.limiters:
            # The part of each becomes smaller, but what the others have spent of theirs is spent.
            self.wound()
        self.world.add_gateway()
        self.world.settle()

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        self.world.pass_time(1.0)
        self.world.settle()
        assert not self.world.waiting.total()


TestNobodyDies = Machine.TestCase
TestSomeDie = Mortal.TestCase

assert START % 3 == 1  # windows of both periods begin apart
