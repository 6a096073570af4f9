"""What a gateway shows of its work."""

import time
from collections.abc import Iterable, Iterator, Sized
from typing import Protocol

from veza import metrics
from veza.actors.shard_links import ShardLinks
from veza.http.websocket import CUT
from veza.metrics import Tally
from veza.realtime import commands as c
from veza.realtime.frames import CloseCode

commands = Tally(metrics.COMMANDS)
refusals = Tally(metrics.REFUSALS)
delivered = Tally(metrics.DELIVERED_FRAMES, known=(None,))


class Pool(Protocol):
    """What asyncpg says of a pool of connections."""

    def get_size(self) -> int: ...
    def get_idle_size(self) -> int: ...


class Followed(Protocol):
    """A Hub, as far as it is counted."""

    links: ShardLinks

    @property
    def rooms(self) -> Sized: ...
    @property
    def users(self) -> Sized: ...


class Sampled(Protocol):
    """What counts for itself."""

    def sample(self) -> None: ...


class FanoutMeter:
    """Measures what a gateway handles at once: some deliveries, whose events then go to sockets."""

    def __init__(self) -> None:
        self._committed: list[float] = []
        self._events = 0

    def decode(self, deliveries: Iterable[bytes]) -> Iterator[c.DeliveryBatch]:
        """The batches, each decoded when it is wanted."""
        self._events = 0
        for data in deliveries:
            batch = c.decode_deliveries(data)
            if batch.committed_at:
                self._committed.append(batch.committed_at)
            yield batch

    def wrote(self, frames: int, sockets: int) -> None:
        """Frames of a room went to its sockets."""
        self._events += frames
        delivered.add(amount=frames * sockets)

    def done(self) -> None:
        """All of it is written."""
        if self._events:
            metrics.DELIVERY_EVENTS.observe(self._events)
        now = time.time()
        for committed_at in self._committed:
            # Not below 0 when another machine's clock is ahead.
            metrics.FANOUT_LAG.observe(max(0.0, now - committed_at))
        self._committed.clear()


class GatewayMeter:
    """The gauges of one gateway, set each second; its tallies are flushed with them."""

    def __init__(self, name: str, hub: Followed, pool: Pool, limits: Sampled) -> None:
        self._hub = hub
        self._pool = pool
        self._limits = limits
        self._users = metrics.USERS.labels(name)
        self._rooms = metrics.ROOMS_FOLLOWED.labels(name)
        self._waiting = metrics.COMMANDS_WAITING.labels(name)
        self._outbox_bytes = metrics.OUTBOX_BYTES.labels(name, "shards")
        self._outbox_calls = metrics.OUTBOX_CALLS.labels(name, "shards")
        self._used = metrics.POSTGRES_CONNECTIONS.labels(name, "used")
        self._idle = metrics.POSTGRES_CONNECTIONS.labels(name, "idle")
        # An alert on an increase must see the series before its first one.
        for code in (*CloseCode, CUT):
            metrics.SOCKETS_CLOSED.labels(str(int(code)))
        for reason in ("no_answer", "outbox_full"):
            metrics.COMMANDS_GIVEN_UP.labels(reason)

    def sample(self) -> None:
        self._limits.sample()
        for tally in (commands, refusals, delivered):
            tally.flush()
        hub = self._hub
        self._users.set(len(hub.users))
        self._rooms.set(len(hub.rooms))
        self._waiting.set(hub.links.router.waiting)
        size, calls = hub.links.depth()
        self._outbox_bytes.set(size)
        self._outbox_calls.set(calls)
        idle = self._pool.get_idle_size()
        self._idle.set(idle)
        self._used.set(self._pool.get_size() - idle)
