"""Links of a shard or an Ingest to the gateways: one outbox each, cut back when a gateway does not keep up."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping

from veza import metrics
from veza.actors.mailbox import Outbox
from veza.actors.refs import ActorGone, ActorUnreachable, CallFailed, GatewayRef
from veza.actors.tasks import TaskSet
from veza.realtime import commands as c
from veza.realtime import stream_commands as s
from veza.realtime.batch import Line

log = logging.getLogger(__name__)

RETRY_S = 0.25
# A drain waits so long for what is still to be delivered.
FLUSH_S = 1.0

# The gateway reads them from the log after a `Lagged`, or asks for what there is by then; transient ones are of no use.
_RECOVERED = (c.Events, c.Transient, s.PlaylistShown, s.MediaFile)
# For nothing where a `Lagged` waits already.
_MOOT = (*_RECOVERED, c.Lagged)
# Not kept beyond the limit. Presence that was missed is told by `get_members`, notifications by REST.
_DROPPED = (*_RECOVERED, c.PresenceChanged, c.UserFrame)
# Not kept beyond twice the limit: the gateway gives up waiting for them. The rest is small, and nothing of it is for a
# gateway whose lease has ended.
_REPLIES = (c.Answer, c.Refusal, c.Subscribed, c.NotOwner, s.StreamFollowed)


class _Link:
    def __init__(self, outbox: Outbox[c.Wire], task: "asyncio.Task[None]") -> None:
        self.outbox = outbox
        self.task = task


class GatewayLinks:
    """Deliveries to each gateway, in order. `on_gone` is told of a gateway that died.

    A gateway that is behind, or was out of reach, gets `Lagged` in place of its events and reads them from the log.
    Of answers twice as many bytes may wait; no gateway waits long enough for those that come after.
    """

    def __init__(
        self,
        shard: str,
        tasks: TaskSet,
        on_gone: Callable[[str], None],
        connect: Callable[[str], GatewayRef] = GatewayRef,
        on_behind: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`on_behind` is told of a gateway that is sent `Lagged`."""
        self._shard = shard
        self._connect = connect
        self._tasks = tasks
        self._on_gone = on_gone
        self._on_behind = on_behind
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

    def tell(self, gateway: str, item: c.Wire) -> None:
        self.introduce(gateway)
        self._since.setdefault(gateway, time.time())
        self._put(gateway, item)

    async def flushed_to(self, gateway: str) -> None:
        """Wait until everything put so far for this gateway was delivered, or never will be."""
        if (link := self._links.get(gateway)) is not None:
            await link.outbox.flushed()

    def broadcast(self, item: c.Wire) -> None:
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

    async def flushed(self, seconds: float = FLUSH_S) -> None:
        """Wait until everything put so far was delivered, but no longer than this for who cannot be reached."""
        waits = [asyncio.ensure_future(link.outbox.flushed()) for link in self._links.values()]
        if not waits:
            return
        try:
            _, late = await asyncio.wait(waits, timeout=seconds)
        finally:
            for wait in waits:
                wait.cancel()
        if late:
            log.warning("not all was delivered", extra={"gateways": len(late)})

    def _put(self, gateway: str, item: c.Wire) -> None:
        if gateway in self._behind and isinstance(item, _MOOT):
            return
        outbox = self._links[gateway].outbox
        if outbox.put(item):
            return
        given_up = isinstance(item, _REPLIES) and outbox.bytes >= 2 * outbox.limit
        if not given_up and not isinstance(item, _DROPPED):
            outbox.put(item, always=True)
        elif gateway not in self._behind:
            log.warning("gateway lags", extra={"gateway": gateway})
            metrics.GATEWAY_LAGGED.inc()
            self._cut_back(gateway)

    def _cut_back(self, gateway: str) -> None:
        outbox = self._links[gateway].outbox
        outbox.drop(lambda item: isinstance(item, _MOOT))
        outbox.put(c.Lagged(), always=True)
        self._behind.add(gateway)
        self._on_behind(gateway)

    def _open(self, gateway: str) -> None:
        ref = self._connect(gateway)

        async def send(items: list[c.Wire]) -> None:
            if any(isinstance(item, c.Lagged) for item in items):
                self._behind.discard(gateway)
            since = self._since.pop(gateway, 0.0)
            if len(outbox):
                self._since[gateway] = since
            if not any(isinstance(item, c.Events) for item in items):
                since = 0.0
            began = time.monotonic()
            try:
                await ref.deliver(c.encode_deliveries(self._shard, items, since))
                self._call_seconds.observe(time.monotonic() - began)
            except ActorUnreachable:
                # Events are read from the log after the Lagged to come; an answer that comes twice is dropped.
                outbox.put_back([item for item in items if not isinstance(item, _MOOT)])
                raise

        outbox: Outbox[c.Wire] = Outbox(send, weigh=_weight)
        task = self._tasks.start(self._run(gateway, ref, outbox), f"outbox {gateway}")
        self._links[gateway] = _Link(outbox, task)

    async def _run(self, gateway: str, ref: GatewayRef, outbox: Outbox[c.Wire]) -> None:
        try:
            await self._send_forever(gateway, outbox)
        finally:
            await ref.close()

    async def _send_forever(self, gateway: str, outbox: Outbox[c.Wire]) -> None:
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


def _weight(item: c.Wire) -> int:
    """About its bytes, rather more than less."""
    match item:
        case c.Events(frames=frames):
            return sum(map(len, frames)) + 64
        case c.Answer(data=data):
            size = len(data)
        case c.Transient(frame=frame) | c.UserFrame(frame=frame):
            size = len(frame)
        case c.PresenceChanged(room_ids=room_ids):
            size = 18 * len(room_ids)
        case s.StreamFollowed(recent=recent, older=older, state=state):
            size = sum(len(data) + 16 for _, data in (*older, *recent)) + _state_weight(state)
        case s.StreamChanged(frames=frames, state=state):
            size = sum(map(len, frames)) + _state_weight(state)
        case s.MediaFile(data=data):
            size = len(data or b"") + 64
        case s.PlaylistShown(view=view):
            size = len(view.low_latency) + len(view.delta) + len(view.plain) + len(view.multivariant)
        case _:
            size = 64
    return size + 64


def _state_weight(state: s.StreamState | None) -> int:
    return 0 if state is None else len(state.shown) + 18 * (len(state.banned) + len(state.moderators))
