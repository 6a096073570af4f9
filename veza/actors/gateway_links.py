"""A shard's links to the gateways: one outbox each, cut back when a gateway does not keep up."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping

from veza import metrics
from veza.actors.mailbox import Outbox
from veza.actors.refs import ActorGone, ActorUnreachable, CallFailed, GatewayRef
from veza.actors.tasks import TaskSet
from veza.realtime import commands as c
from veza.realtime.batch import Line

log = logging.getLogger(__name__)

RETRY_S = 0.25


class _Link:
    def __init__(self, outbox: Outbox[c.Delivery], task: "asyncio.Task[None]") -> None:
        self.outbox = outbox
        self.task = task


class GatewayLinks:
    """Deliveries to each gateway, in order. `on_gone` is told of a gateway that died.

    A gateway that is behind, or was out of reach, gets `Lagged` in place of its events and reads them from the log.
    Answers are never dropped.
    """

    def __init__(
        self,
        shard: str,
        tasks: TaskSet,
        on_gone: Callable[[str], None],
        connect: Callable[[str], GatewayRef] = GatewayRef,
    ) -> None:
        self._shard = shard
        self._connect = connect
        self._tasks = tasks
        self._on_gone = on_gone
        self._links: dict[str, _Link] = {}
        self._behind: set[str] = set()  # a Lagged waits in their outbox: events before it would be for nothing
        self._since: dict[str, float] = {}  # when the oldest of what waits in their outbox was put there
        self._call_seconds = metrics.OUTBOX_CALL_SECONDS.labels("gateways")

    def introduce(self, gateway: str) -> None:
        """Make sure that this gateway is told what concerns all."""
        if gateway not in self._links:
            self._open(gateway)

    def dispatch(self, script: Mapping[str, list[Line]]) -> None:
        now = time.time()
        for gateway, lines in script.items():
            self.introduce(gateway)
            self._since.setdefault(gateway, now)
            for line in lines:
                self._put(gateway, line.item)

    def broadcast(self, item: c.Delivery) -> None:
        for gateway in self._links:
            self._put(gateway, item)

    def resync(self, gateway: str | None = None) -> None:
        """Followers of rooms may have been forgotten: this gateway, or every one, says anew what it has."""
        for name in self._links if gateway is None else (gateway,):
            self._put(name, c.Lagged())

    def lost(self, gateway: str) -> None:
        """The gateway is dead."""
        link = self._links.pop(gateway, None)
        self._behind.discard(gateway)
        self._since.pop(gateway, None)
        if link is not None:
            link.task.cancel()

    def depth(self) -> tuple[int, int]:
        """How many bytes wait in the outboxes, and how many calls are in flight."""
        outboxes = [link.outbox for link in self._links.values()]
        return sum(outbox.bytes for outbox in outboxes), sum(outbox.calling for outbox in outboxes)

    async def flushed(self) -> None:
        await asyncio.gather(*(link.outbox.flushed() for link in self._links.values()))

    def _put(self, gateway: str, item: c.Delivery) -> None:
        droppable = isinstance(item, c.Events | c.Transient)
        if droppable and gateway in self._behind:
            return
        if not self._links[gateway].outbox.put(item, always=not droppable):
            log.warning("gateway lags", extra={"gateway": gateway})
            metrics.GATEWAY_LAGGED.inc()
            self._cut_back(gateway)

    def _cut_back(self, gateway: str) -> None:
        outbox = self._links[gateway].outbox
        outbox.drop(lambda item: isinstance(item, c.Events | c.Transient | c.Lagged))
        outbox.put(c.Lagged(), always=True)
        self._behind.add(gateway)

    def _open(self, gateway: str) -> None:
        ref = self._connect(gateway)

        async def send(items: list[c.Delivery]) -> None:
            if any(isinstance(item, c.Lagged) for item in items):
                self._behind.discard(gateway)
            since = self._since.pop(gateway, 0.0)
            if len(outbox):
                self._since[gateway] = since
            if not any(isinstance(item, c.Events) for item in items):
                since = 0.0
            began = time.monotonic()
            try:
                await ref.deliver(c.encode(c.DeliveryBatch(self._shard, items, since)))
                self._call_seconds.observe(time.monotonic() - began)
            except ActorUnreachable:
                # Events are read from the log after the Lagged to come; an answer that comes twice is dropped.
                outbox.put_back([item for item in items if not isinstance(item, c.Events | c.Transient | c.Lagged)])
                raise

        outbox: Outbox[c.Delivery] = Outbox(send, weigh=_weight)
        task = self._tasks.start(self._run(gateway, ref, outbox), f"outbox {gateway}")
        self._links[gateway] = _Link(outbox, task)

    async def _run(self, gateway: str, ref: GatewayRef, outbox: Outbox[c.Delivery]) -> None:
        try:
            await self._send_forever(gateway, outbox)
        finally:
            await ref.close()

    async def _send_forever(self, gateway: str, outbox: Outbox[c.Delivery]) -> None:
        while True:
            try:
                await outbox.run()
            except ActorGone:
                self._links.pop(gateway, None)
                self._behind.discard(gateway)
                self._since.pop(gateway, None)
                self._on_gone(gateway)
                return
            except (ActorUnreachable, CallFailed) as error:
                # It may live and have missed a call: it must not miss it silently, nor take this shard down.
                log.warning("delivery failed", extra={"gateway": gateway, "reason": type(error).__name__})
                await asyncio.sleep(RETRY_S)
                if gateway in self._links:
                    self._cut_back(gateway)


def _weight(item: c.Delivery) -> int:
    if isinstance(item, c.Events):
        return sum(map(len, item.frames)) + 64
    return 128
