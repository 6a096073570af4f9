"""A shard, its gateways and their viewers in virtual time: one number, the seed, decides everything.

Every process does one thing at a time. A shard's round takes what has come, is stored, and is sent to each gateway
that the shard feeds, one after another, with one batch in flight to each: what comes meanwhile goes with the next. A
gateway writes to its viewers one after another and looks at what else there is between slices of them, so a relay's
batches wait for one slice at most. Viewers are not simulated one by one: between the first and the last of a gateway
they are evenly spread.
"""

import heapq
import math
import random
from collections import deque
from collections.abc import Callable
from functools import partial

import msgspec

from benchmarks.audience.model import Costs, Load, Shape

# As in the gateway: sockets written to before it looks up, and batches that it lets wait.
SLICE_SOCKETS = 256
INBOX_BATCHES = 8
# Where among its gateway's viewers those stand whose delays are counted.
PLACES = tuple((place + 0.5) / 10 for place in range(10))


class Delays:
    """How often each delay occurred, within two in a hundred."""

    _base = math.log(1.02)
    _least = 1e-5

    def __init__(self) -> None:
        self.count = 0
        self._buckets: dict[int, int] = {}

    def add(self, seconds: float) -> None:
        bucket = int(math.log(max(seconds, self._least) / self._least) / self._base)
        self._buckets[bucket] = self._buckets.get(bucket, 0) + 1
        self.count += 1

    def percentile(self, share: float) -> float:
        """Seconds; 0 when nothing was added."""
        left = self.count * share
        for bucket in sorted(self._buckets):
            left -= self._buckets[bucket]
            if left <= 0:
                return self._least * math.exp((bucket + 1) * self._base)
        return 0.0


class Outcome(msgspec.Struct, kw_only=True):
    """`shard` and `gateway` are how much of a core they used, the busiest gateway's. `undelivered` messages were still
    on their way to some gateway when the time was over. `calls` are the batches the shard sent a second.
    """

    p50: float
    p99: float
    shard: float
    gateway: float
    calls: float
    messages: int
    delivered: int
    undelivered: int


class Process:
    """Whatever uses a core: `spend` queues behind what it has to do, and says when it is done."""

    def __init__(self) -> None:
        self.free_at = 0.0
        self.busy = 0.0

    def spend(self, now: float, cost: float) -> float:
        self.free_at = max(self.free_at, now) + cost
        self.busy += cost
        return self.free_at


class Gateway(Process):
    """`urgent` is for what waits for one slice only."""

    def __init__(self, slice_s: float) -> None:
        super().__init__()
        self.inbox: deque[float] = deque()  # when what it has taken will be written
        self.pending: list[float] = []  # messages that wait for the window, by when they were said
        self.pending_frames = 0
        self.flushing = False
        self._slice_s = slice_s
        self._urgent_at = 0.0

    def urgent(self, now: float, cost: float) -> float:
        start = max(now, self._urgent_at)
        if self.free_at > start:
            # On average half of a slice is left.
            start += self._slice_s / 2
        self._urgent_at = start + cost
        self.free_at = max(self.free_at, start) + cost
        self.busy += cost
        return self._urgent_at


class Link:
    """To one gateway, with one batch in flight."""

    def __init__(self, to: int) -> None:
        self.to = to
        self.waiting: list[list[float]] = []  # items, each with the times at which its messages were said
        self.calling = False


class Simulation:
    """`seconds` of one stream, all of them counted."""

    def __init__(self, costs: Costs, load: Load, shape: Shape, seed: int = 1) -> None:
        self._costs, self._load, self._shape = costs, load, shape
        self._random = random.Random(seed)  # noqa: S311 - a simulation
        self._events: list[tuple[float, int, Callable[[float], None]]] = []
        self._number = 0
        self._viewers = load.viewers / shape.gateways
        self._shard = Process()
        self._gateways = [Gateway(SLICE_SOCKETS * costs.write) for _ in range(shape.gateways)]
        self._links = [Link(to) for to in range(shape.gateways)]
        self._said: list[float] = []
        self._deciding = False
        self._delays = Delays()
        self._delivered = self._calls = 0
        self._end = 0.0
        # Pings are spread evenly: everything else takes that much longer.
        self._pace = 1 / max(1e-9, 1 - self._viewers * costs.ping / load.ping_every)

    def run(self, seconds: float) -> Outcome:
        self._end = seconds
        said = self._schedule()
        while self._events and self._events[0][0] <= seconds:
            at, _, what = heapq.heappop(self._events)
            what(at)
        every = said * self._shape.gateways
        busiest = max(gateway.busy for gateway in self._gateways)
        pings = self._viewers * self._costs.ping / self._load.ping_every
        return Outcome(
            p50=self._delays.percentile(0.5),
            p99=self._delays.percentile(0.99),
            shard=min(self._shard.busy / seconds, 1.0),
            gateway=busiest / seconds + pings,
            calls=self._calls / seconds,
            messages=said,
            delivered=self._delivered,
            undelivered=every - self._delivered,
        )

    def _at(self, when: float, what: Callable[[float], None]) -> None:
        self._number += 1
        heapq.heappush(self._events, (when, self._number, what))

    def _schedule(self) -> int:
        """Everything that does not depend on what else happens; how many messages are said."""
        said, at = 0, 0.0
        while (at := at + self._random.expovariate(self._load.messages)) < self._end:
            said += 1
            self._at(at, self._say)
        for number in range(int(self._end * self._load.sums)):
            self._at((number + self._random.random()) / self._load.sums, lambda now: self._fan_out(now, []))
        for gateway in range(self._shape.gateways):
            self._at(self._random.random() * self._load.report_every, partial(self._report, who=gateway))
        return said

    # -- the shard ---------------------------------------------------------------------------------------

    def _say(self, now: float) -> None:
        self._said.append(now)
        if not self._deciding:
            self._deciding = True
            self._at(max(now, self._shard.free_at), self._decide)

    def _decide(self, now: float) -> None:
        said, self._said = self._said, []
        done = self._shard.spend(now, self._costs.round + self._costs.message * len(said))
        self._at(done + self._costs.commit, lambda at: self._stored(at, said))

    def _stored(self, now: float, said: list[float]) -> None:
        self._fan_out(now, said)
        if self._said:
            self._at(max(now, self._shard.free_at), self._decide)
        else:
            self._deciding = False

    def _fan_out(self, now: float, said: list[float]) -> None:
        for to in range(self._shape.fed):
            self._put(now, self._shard.spend, to, said)

    # -- links -------------------------------------------------------------------------------------------

    def _put(self, now: float, spend: Callable[[float, float], float], to: int, said: list[float]) -> None:
        link = self._links[to]
        link.waiting.append(said)
        if not link.calling:
            link.calling = True
            self._call(now, spend, link)

    def _call(self, now: float, spend: Callable[[float, float], float], link: Link) -> None:
        items, link.waiting = link.waiting, []
        sent = spend(now, self._costs.call)
        self._calls += link.to < self._shape.fed

        def acknowledged(at: float) -> None:
            if link.waiting:
                self._call(at, spend, link)
            else:
                link.calling = False

        self._at(sent + self._costs.hop, lambda at: self._arrive(at, link.to, items, acknowledged))

    def _arrive(self, now: float, to: int, items: list[list[float]], acknowledged: Callable[[float], None]) -> None:
        gateway = self._gateways[to]
        taken = gateway.urgent(now, self._costs.batch)
        for child in self._shape.children(to):
            for said in items:
                self._put(taken, gateway.urgent, child, said)
        while gateway.inbox and gateway.inbox[0] <= taken:
            gateway.inbox.popleft()
        # A gateway that is behind lets the next batch wait.
        full = len(gateway.inbox) >= INBOX_BATCHES
        answered = max(taken, gateway.inbox[-INBOX_BATCHES]) if full else taken
        for said in items:
            self._take(taken, gateway, said)
        self._at(answered + self._costs.hop, acknowledged)

    # -- gateways ----------------------------------------------------------------------------------------

    def _take(self, now: float, gateway: Gateway, said: list[float]) -> None:
        if not self._shape.window:
            gateway.inbox.append(self._write(now, gateway, said, max(len(said), 1)))
            return
        gateway.pending += said
        gateway.pending_frames += max(len(said), 1)
        if not gateway.flushing:
            gateway.flushing = True
            self._at(now + self._shape.window, lambda at: self._flush(at, gateway))

    def _flush(self, now: float, gateway: Gateway) -> None:
        if gateway.free_at > now:
            # Still at the last one: what comes until it is done goes too.
            self._at(gateway.free_at, lambda at: self._flush(at, gateway))
            return
        said, frames = gateway.pending, gateway.pending_frames
        gateway.pending, gateway.pending_frames, gateway.flushing = [], 0, False
        gateway.inbox.append(self._write(now, gateway, said, frames))

    def _write(self, now: float, gateway: Gateway, said: list[float], frames: int) -> float:
        """Write so many frames as one piece to each viewer; when the last has it."""
        each = (self._costs.write + self._costs.frame * (frames - 1)) * self._pace
        start = max(now, gateway.free_at)
        done = gateway.spend(now, self._viewers * each)
        # Pings are counted by themselves.
        gateway.busy -= self._viewers * each * (1 - 1 / self._pace)
        for at in said:
            if done <= self._end:
                self._delivered += 1
            for place in PLACES:
                self._delays.add(start + place * (done - start) - at)
        return done

    def _report(self, now: float, who: int) -> None:
        gateway = self._gateways[who]
        found = gateway.spend(now, self._viewers * self._costs.notice)
        if who < self._shape.fed:
            # In a tree those below have added theirs.
            cost = self._costs.report + self._costs.report_gateway * self._shape.fed
            self._at(found + self._costs.hop, lambda at: self._hear(at, cost))
        else:
            parent = self._gateways[who // self._shape.degree - 1]
            self._at(found + self._costs.hop, lambda at: self._relay_report(at, parent))
        self._at(now + self._load.report_every, lambda at: self._report(at, who))

    def _hear(self, now: float, cost: float) -> None:
        self._shard.spend(now, cost)

    def _relay_report(self, now: float, parent: Gateway) -> None:
        parent.urgent(now, self._costs.report)


def simulate(costs: Costs, load: Load, shape: Shape, seconds: float = 10.0, seed: int = 1) -> Outcome:
    """What becomes of a load."""
    return Simulation(costs, load, shape, seed).run(seconds)
