"""What is simulated: the load, how gateways are fed, and what each step takes. All times are seconds, of one core."""

import math

import msgspec


class Costs(msgspec.Struct, frozen=True, kw_only=True):
    """Processor time of the steps, but for `commit` and `hop`, which are waits."""

    round: float  # of a shard, whatever it decides, the database's side not included
    message: float  # of a shard, each message of a round
    commit: float  # until what a round decided is stored
    call: float  # of a shard or a relay: a batch to one gateway, with its acknowledgement
    report: float  # of a shard: one gateway's report
    report_gateway: float  # the same, for each gateway that the stream is on
    batch: float  # of a gateway: whatever is in it
    write: float  # to one socket
    frame: float  # each further message of the same write
    notice: float  # of a gateway, for each viewer: finding out who came and left
    ping: float  # of a gateway: one socket asked for a sign of life, and its answer
    hop: float  # from process to process, over the network
    gateway_bytes: float  # memory for a viewer
    gateway_base: float  # of a gateway without any
    shard_bytes: float
    frame_bytes: float  # a message on the wire


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """One stream. Sums are what is told about once a second: reactions, and how many watch."""

    viewers: int = 1_000_000
    messages: float = 50.0
    sums: float = 2.0
    report_every: float = 0.25
    ping_every: float = 6.0


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """How many gateways there are. The shard feeds all of them, or the first `degree`, which feed as many each, and so
    on. A gateway writes each batch at once, or what has come in `window` seconds in one piece.
    """

    gateways: int
    degree: int = 0
    window: float = 0.0

    @property
    def fed(self) -> int:
        """By the shard itself."""
        return min(self.degree, self.gateways) if self.degree else self.gateways

    def children(self, gateway: int) -> range:
        """Whom a gateway feeds."""
        if not self.degree:
            return range(0)
        first = self.degree * (gateway + 1)
        return range(min(first, self.gateways), min(first + self.degree, self.gateways))

    @property
    def depth(self) -> int:
        """Calls from the shard to the gateway that is farthest from it."""
        if not self.degree:
            return 1
        depth, reached, level = 1, self.degree, self.degree
        while reached < self.gateways:
            level *= self.degree
            reached += level
            depth += 1
        return depth


def written(load: Load, shape: Shape) -> float:
    """Writes a second to one socket: messages that come within one window share one, and so do sums."""
    if not shape.window:
        return load.messages + load.sums
    # Messages come at random; a window in which none does is not written.
    some = 1 - math.exp(-(load.messages + load.sums) * shape.window)
    return some / shape.window


def gateway_load(costs: Costs, load: Load, shape: Shape) -> float:
    """What a gateway has to do in a second, relaying left aside; above 1 it falls behind."""
    viewers = load.viewers / shape.gateways
    writes = written(load, shape)
    frames = load.messages + load.sums
    of_each = (
        writes * costs.write
        + max(frames - writes, 0.0) * costs.frame
        + costs.notice / load.report_every
        + costs.ping / load.ping_every
    )
    return viewers * of_each + frames * costs.batch


def gateways_needed(costs: Costs, load: Load, share: float, window: float = 0.0) -> int:
    """The fewest gateways of which none has to work more than this share of a core."""
    low, high = 1, load.viewers
    while low < high:
        middle = (low + high) // 2
        if gateway_load(costs, load, Shape(gateways=middle, window=window)) <= share:
            high = middle
        else:
            low = middle + 1
    return low
