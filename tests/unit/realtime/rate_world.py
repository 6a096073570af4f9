"""Gateways and limiters with clocks of their own, on a network that loses, doubles and delays batches."""

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator

from veza.realtime.rate_window import Limiters, Now, Policy
from veza.realtime.rate_window_book import ASK, REFUSED
from veza.realtime.rate_window_borrower import Borrower
from veza.realtime.rate_window_lender import Lender
from veza.realtime.rate_window_link import Incoming, Outgoing

START = 1_000_000.0
# A batch is not longer under way while all live, and a tick. Whoever waits is answered after at most four: asked,
# recalled, given, lent. Each may wait for another of its link first, and all that is less than anybody's patience.
SLOWEST_S = 0.03
TICK_S = 0.02
MOST_ROUNDS = 1000


class Node:
    """A gateway or a limiter: what it keeps, its clock, and what it has to say to others."""

    def __init__(self, name: str, keeps: Borrower | Lender, skew: float) -> None:
        self.name = name
        self.keeps = keeps
        self.skew = skew
        self.incoming = Incoming()
        self.links: dict[str, Outgoing[object]] = {}
        self._numbers = itertools.count(1)

    def say(self, tells: Iterable[tuple[str, object]]) -> None:
        for peer, item in tells:
            self.links.setdefault(peer, Outgoing(self._numbers)).put(item)

    def hear(self, sender: str, items: Iterable[object], now: Now) -> None:
        for item in items:
            self.say(self.keeps.take(sender, item, now))  # type: ignore[arg-type]


class World:
    """`admitted` counts what passed, by key and window; a gateway holds `most_keys`."""

    def __init__(self, policy: Policy, *, gateways: int, limiters: int, most_keys: int = 1000) -> None:
        self.policy = policy
        self.time = START
        self.nodes: dict[str, Node] = {}
        self.admitted: Counter[tuple[str, int]] = Counter()
        self.refused: Counter[tuple[str, int]] = Counter()
        self.waiting: Counter[str] = Counter()  # requests, by gateway
        self._most_keys = most_keys
        self._names = itertools.count(1)
        self._since: dict[tuple[str, str], float] = {}
        self._past: list[tuple[str, str, int, list[object]]] = []
        self._known = Limiters(0, 0, (), ())
        for _ in range(gateways):
            self.add_gateway(0.0, gateways)
        for _ in range(limiters):
            self.add_limiter(0.0)

    # -- who there is ----------------------------------------------------------------------------------------

    @property
    def gateways(self) -> list[Node]:
        return [node for node in self.nodes.values() if isinstance(node.keeps, Borrower)]

    @property
    def limiters(self) -> list[Node]:
        return [node for node in self.nodes.values() if isinstance(node.keeps, Lender)]

    def add_gateway(self, skew: float = 0.0, others: int = 0) -> None:
        name = f"Gateway {next(self._names)}"
        self.nodes[name] = Node(name, Borrower(others or len(self.gateways) + 1, self._most_keys), skew)
        self.tell()

    def add_limiter(self, skew: float = 0.0) -> None:
        name = f"RateLimiter {next(self._names)}"
        self.nodes[name] = Node(name, Lender(name), skew)
        self.tell()

    def kill(self, name: str) -> None:
        gone = self.nodes.pop(name)
        del self.waiting[name]
        for node in self.nodes.values():
            node.links.pop(name, None)
            if isinstance(gone.keeps, Borrower) and isinstance(node.keeps, Lender):
                node.say(node.keeps.gateway_lost(name, self.now(node)))
        self.tell()

    def tell(self) -> None:
        """What the Supervisor tells all gateways."""
        limiters = tuple(node.name for node in self.limiters)
        gateways = tuple(node.name for node in self.gateways)
        version = self._known.version + 1
        since = self._known.since if limiters == self._known.limiters else version
        self._known = Limiters(version, since, limiters, gateways)
        for node in self.gateways:
            assert isinstance(node.keeps, Borrower)
            for gone in node.links.keys() - set(limiters):
                del node.links[gone]
            greetings = node.keeps.set_limiters(self._known)
            node.say(greetings)
            if greetings or not limiters:
                for tells in node.keeps.rehome(self.now(node)):
                    node.say(tells)

    def owner(self, subject: str) -> str | None:
        return self._known.owner(self.policy.name, subject)

    # -- time ------------------------------------------------------------------------------------------------

    def now(self, node: Node) -> Now:
        return Now(self.time + node.skew, self.time)

    def window(self, node: Node) -> int:
        return int(self.time + node.skew) // self.policy.period_s

    def pass_time(self, seconds: float) -> None:
        """A tick after the other; nothing is under way for longer than SLOWEST_S."""
        until = self.time + seconds
        while self.time < until:
            list(self.under_way())
            self.time = min(until, self.time + TICK_S)
            for (sender, receiver), since in list(self._since.items()):
                if self.time - since > SLOWEST_S:
                    self.deliver(sender, receiver)
            self.tick()

    def tick(self) -> None:
        for node in list(self.nodes.values()):
            now = self.now(node)
            if isinstance(node.keeps, Borrower):
                node.keeps.overdue(now)
                node.say(node.keeps.give_back(now))
            else:
                node.say(node.keeps.tick(now))

    def next_window(self) -> None:
        """Shortly after all clocks have come to a window, with nothing under way."""
        self.settle()
        late = max(-node.skew for node in self.nodes.values())
        period = self.policy.period_s
        self.pass_time((int(self.time - late) // period + 1) * period + late + 0.01 - self.time)
        self.settle()

    # -- the network -----------------------------------------------------------------------------------------

    def under_way(self) -> Iterator[tuple[str, str]]:
        for node in list(self.nodes.values()):
            for peer, link in list(node.links.items()):
                if peer in self.nodes and link.batch() is not None:
                    self._since.setdefault((node.name, peer), self.time)
                    yield node.name, peer

    def deliver(self, sender: str, receiver: str, *, told: bool = True) -> None:
        """Have the batch under way arrive; unless the sender is `told` so, it sends it again."""
        if told:
            self._since.pop((sender, receiver), None)
        if sender not in self.nodes or receiver not in self.nodes:
            return
        link = self.nodes[sender].links.get(receiver)
        batch = None if link is None else link.batch()
        if link is None or batch is None:
            return
        number, items = batch
        self._past.append((sender, receiver, number, list(items)))
        self._arrive(sender, receiver, number, items)
        if told:
            link.arrived(number)
            heard = self.nodes[sender].keeps
            if isinstance(heard, Borrower):
                heard.heard(receiver, self.now(self.nodes[sender]))

    def again(self, which: int) -> None:
        """A batch of old arrives once more."""
        if self._past:
            self._arrive(*self._past[which % len(self._past)])

    def _arrive(self, sender: str, receiver: str, number: int, items: list[object]) -> None:
        node = self.nodes.get(receiver)
        if node is not None and node.incoming.news(sender, number):
            node.hear(sender, items, self.now(node))

    def settle(self) -> None:
        """Until nothing is under way."""
        for _ in range(MOST_ROUNDS):
            links = list(self.under_way())
            if not links:
                return
            for sender, receiver in links:
                self.deliver(sender, receiver)
        raise AssertionError("they do not come to an end")

    # -- requests --------------------------------------------------------------------------------------------

    def request(self, gateway: Node, subject: str) -> None:
        keeps = gateway.keeps
        assert isinstance(keeps, Borrower)
        book = keeps.book(self.policy)
        here = self.window(gateway)

        def decided(left: int, window: int) -> None:
            (self.refused if left == REFUSED else self.admitted)[subject, window] += 1

        left = book.take(subject, here)
        if left != ASK:
            held = book.find(subject)
            decided(left, here if held is None else held.window)
            return

        self.waiting[gateway.name] += 1

        def later(left: int, window: int) -> None:
            self.waiting[gateway.name] -= 1
            decided(left, window)

        gateway.say(keeps.wait(book, subject, later, self.now(gateway)))


# -- as tests use it -------------------------------------------------------------------------------------------

LIMIT = 10
SECOND, MINUTE = Policy("second", LIMIT, 1), Policy("minute", LIMIT, 60)


def made(policy: Policy = SECOND, gateways: int = 2, limiters: int = 1, most_keys: int = 1000) -> World:
    """A world in which everybody knows everybody."""
    world = World(policy, gateways=gateways, limiters=limiters, most_keys=most_keys)
    world.settle()
    return world


def ask(world: World, gateway: Node, count: int, subject: str = "a") -> int:
    """How many of so many requests pass, once all is said."""
    key = subject, world.window(gateway)
    before = world.admitted[key]
    for _ in range(count):
        world.request(gateway, subject)
    world.settle()
    return world.admitted[key] - before


def borrower(node: Node) -> Borrower:
    assert isinstance(node.keeps, Borrower)
    return node.keeps


def lender(node: Node) -> Lender:
    assert isinstance(node.keeps, Lender)
    return node.keeps


def messages(world: World) -> int:
    """How many items are on their way now."""
    return sum(len(link.batch()[1]) for node in world.nodes.values() for link in node.links.values() if link.batch())
