"""Where encoders connect: an RTMP server that hands what they publish to feeds."""

import asyncio
import ipaddress
import logging
import os
import socket
from collections import Counter
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import UUID

from veza.actors.ingest.frames import TAKEN
from veza.actors.tasks import TaskSet
from veza.errors import PermissionDenied, Unauthenticated, Unavailable, VezaError
from veza.ids import new_id
from veza.realtime.rtmp.events import Event, Failed, Media, Metadata, PublishAsked, Unpublished
from veza.realtime.rtmp.handshake import RANDOM_BYTES
from veza.realtime.rtmp.session import MAX_TO_SEND, Session
from veza.realtime.rtmp.tags import Codecs

log = logging.getLogger(__name__)

APP = "live"
DENIED, BAD_NAME = "NetStream.Publish.Denied", "NetStream.Publish.BadName"
# Answers that the peer does not read, beyond what the kernel holds. An encoder is sent some hundred bytes a minute.
UNSENT_BYTES = 2 * MAX_TO_SEND
# The kernel asks an idle peer after this whether it is still there, and then as often.
KEEPALIVE_S = 10


class Line(Protocol):
    """A source's connection, for its feed."""

    def resume(self) -> None:
        """There is room again: go on reading. Without effect on a line that is read."""

    def drop(self, reason: str) -> None:
        """Close it at once. `ended(clean=False)` is called before this returns, unless it was before."""


class Feed(Protocol):
    """Takes the media of one source. All calls come from the event loop, in the order of what they tell."""

    def opened(self, line: Line) -> None:
        """The first call, unless the publisher has gone while it was admitted: then `ended` is the only one."""

    def media(self, event: Media) -> None:
        """The body of a tag; its payload stays as it is."""

    def metadata(self, event: Metadata) -> None:
        """What the encoder says of the stream."""

    def ended(self, clean: bool) -> None:
        """The last call, exactly once. `clean`: the encoder said that it stops; otherwise it may return."""

    @property
    def full(self) -> bool:
        """No more, please. It is asked after each piece of data; once true, nothing is read until `line.resume()`.
        What had been read, some hundred kilobytes, is still handed over.
        """


class Desk(Protocol):
    """Decides who may publish."""

    async def admit(self, key: str, source_id: UUID) -> Feed:
        """Where media of the holder of this key goes. Raises a VezaError, whose message the encoder is told.

        The listener calls the feed's `ended` in any case, also when the peer has gone meanwhile.
        """


@dataclass(frozen=True, slots=True)
class Limits:
    """`unpublished_s`: until a connection publishes. `silent_s`: without a byte of one that does. `closing_s`: until
    the last answers are read. `sweep_s`: how often all this is looked at.
    """

    unpublished_s: float = 10.0
    silent_s: float = 15.0
    closing_s: float = 3.0
    sweep_s: float = 0.5
    connections: int = 1000
    unpublished_per_address: int = 64


class Listener:
    """An RTMP server for publishers."""

    def __init__(self, desk: Desk, tasks: TaskSet, *, limits: Limits | None = None, codecs: Codecs = TAKEN) -> None:
        """`codecs` are announced to encoders that ask."""
        self.limits = limits or Limits()
        self.codecs = codecs
        self._desk = desk
        self._tasks = tasks
        self._server: asyncio.Server | None = None
        self._port: int | None = None
        self._sweep: asyncio.Task[None] | None = None
        self._closed = False
        self._connections: set[_Connection] = set()
        self._unpublished: Counter[str] = Counter()  # by address
        self._sources: dict[UUID, _Connection] = {}  # also those that are being admitted

    async def start(self, host: str, port: int, *, shared: bool = False) -> None:
        """Listen; `shared` with others on this machine that share it too. OSError if that cannot be."""
        loop = asyncio.get_running_loop()
        # All who may come can come at once: beyond the backlog the kernel has them try again, seconds later.
        self._server = await loop.create_server(
            lambda: _Connection(self), host, port, reuse_port=shared or None, backlog=self.limits.connections
        )
        self._port = self._server.sockets[0].getsockname()[1]
        self._sweep = self._tasks.start(self._watch(), "rtmp deadlines")

    @property
    def port(self) -> int:
        """Where it listens. Unavailable before `start`."""
        if self._port is None:
            raise Unavailable("Streams are not taken yet.")
        return self._port

    @property
    def connections(self) -> int:
        return len(self._connections)

    @property
    def sources(self) -> int:
        """How many of them publish."""
        return sum(connection.publishes for connection in self._sources.values())

    def cut(self, source_id: UUID, reason: str) -> bool:
        """Close this source's connection at once, with `ended(clean=False)`; False if there is none."""
        connection = self._sources.get(source_id)
        if connection is None:
            return False
        connection.drop(reason)
        return True

    async def close(self) -> None:
        """Take nobody any more, and cut all who are there; returns when their connections are closed."""
        self._closed = True
        if self._server is not None:
            self._server.close()
        if self._sweep is not None:
            self._sweep.cancel()
        open_now = list(self._connections)
        for connection in open_now:
            connection.drop("closing down")
        await asyncio.gather(*(connection.lost.wait() for connection in open_now))

    # For connections

    def came(self, connection: "_Connection") -> bool:
        """False if there are too many already."""
        address = connection.address
        if self._closed or len(self._connections) >= self.limits.connections:
            return False
        if self._unpublished[address] >= self.limits.unpublished_per_address:
            return False
        self._connections.add(connection)
        self._unpublished[address] += 1
        return True

    def asked(self, connection: "_Connection", source_id: UUID, event: PublishAsked) -> None:
        self._sources[source_id] = connection
        self._tasks.start(self._admit(connection, source_id, event), "rtmp admission")

    def settled(self, connection: "_Connection") -> None:
        """It publishes, or has gone before it did: called once."""
        self._unpublished[connection.address] -= 1
        if not self._unpublished[connection.address]:
            del self._unpublished[connection.address]

    def left(self, source_id: UUID) -> None:
        self._sources.pop(source_id, None)

    def went(self, connection: "_Connection") -> None:
        self._connections.discard(connection)

    async def _admit(self, connection: "_Connection", source_id: UUID, event: PublishAsked) -> None:
        # Encoders may put settings behind the name, as in a URL.
        key = event.stream_name.partition("?")[0]
        try:
            feed = await self._desk.admit(key, source_id)
        except (PermissionDenied, Unauthenticated) as error:
            connection.refuse(DENIED, error.message)
        except VezaError as error:
            connection.refuse(BAD_NAME, error.message)
        except Exception:
            log.exception("admission failed", extra={"source": source_id})
            connection.refuse(BAD_NAME, VezaError.default_message)
        else:
            connection.admit(feed)

    async def _watch(self) -> None:
        """One task for all deadlines: a timer a connection would be set anew with each piece of data."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self.limits.sweep_s)
            now = loop.time()
            for connection in list(self._connections):
                connection.check(now)


class _Connection(asyncio.Protocol):
    """One encoder, or somebody who pretends to be one."""

    def __init__(self, listener: Listener) -> None:
        self.address = ""
        self.lost = asyncio.Event()
        self._listener = listener
        self._loop = asyncio.get_running_loop()
        self._transport: Any = None
        self._session = Session(os.urandom(RANDOM_BYTES), codecs=listener.codecs)
        self._since = self._loop.time()  # when it came, was last heard, or began to close: what `check` counts from
        self._source_id: UUID | None = None
        self._feed: Feed | None = None
        self._counted = False  # as one that does not publish
        self._over = False  # nothing it sends is of interest any more
        self._clean = False
        self._paused = False

    @property
    def publishes(self) -> bool:
        return self._feed is not None

    # What the transport calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self.address = _address(transport.get_extra_info("peername"))
        if not self._listener.came(self):
            self._over = True
            self._transport.abort()
            return
        self._counted = True
        _set_options(transport.get_extra_info("socket"))
        self._transport.set_write_buffer_limits(high=UNSENT_BYTES)

    def data_received(self, data: bytes) -> None:
        if self._over:
            return
        if self._feed is not None:
            self._since = self._loop.time()
        for event in self._session.receive(data):
            self._handle(event)
            if self._over:
                return
        self._send()
        if self._feed is not None and self._feed.full:
            self._pause()

    def pause_writing(self) -> None:
        self.drop("reads no answers")

    def connection_lost(self, _: Exception | None) -> None:
        self._finish()
        self._listener.went(self)
        self.lost.set()

    # What the session says

    def _handle(self, event: Event) -> None:
        match event:
            case Media():
                if self._feed is not None:
                    self._feed.media(event)
            case Metadata():
                if self._feed is not None:
                    self._feed.metadata(event)
            case PublishAsked():
                self._ask(event)
            case Unpublished():
                self._clean = True
                self._close()
            case Failed():
                log.info("publisher broke the protocol", extra={"address": self.address, "reason": event.reason})
                self._close()

    def _ask(self, event: PublishAsked) -> None:
        if event.app != APP:
            self.refuse(BAD_NAME, f"Streams are published to the application {APP}.")
            return
        self._source_id = new_id()
        self._listener.asked(self, self._source_id, event)

    # What the desk says

    def admit(self, feed: Feed) -> None:
        if self._over:
            feed.ended(self._clean)
            return
        self._feed = feed
        self._since = self._loop.time()
        self._settle()
        self._session.accept_publish()
        feed.opened(self)
        self._send()

    def refuse(self, code: str, description: str) -> None:
        if not self._over:
            self._session.refuse_publish(code, description)
            self._close()

    # What the feed and the listener say

    def resume(self) -> None:
        if self._paused and not self._over:
            self._paused = False
            self._since = self._loop.time()
            self._transport.resume_reading()

    def drop(self, reason: str) -> None:
        if not self._over:
            log.info("publisher cut", extra={"address": self.address, "source": self._source_id, "reason": reason})
        self._finish()
        self._transport.abort()

    def check(self, now: float) -> None:
        """Deals with a deadline that has passed, by the loop's clock."""
        limits, waited = self._listener.limits, now - self._since
        if self._over:
            if waited > limits.closing_s:
                self._transport.abort()
        elif self._feed is None:
            if waited > limits.unpublished_s:
                self.drop("did not publish")
        elif not self._paused and waited > limits.silent_s:
            self.drop("silent")

    def _pause(self) -> None:
        if not self._paused and not self._transport.is_closing():
            self._paused = True
            self._transport.pause_reading()

    def _send(self) -> None:
        data = self._session.take()
        if data and not self._transport.is_closing():
            self._transport.write(data)

    def _close(self) -> None:
        """After what is to be sent was."""
        self._finish()
        self._send()
        self._transport.close()

    def _finish(self) -> None:
        """Once; whatever comes after that has no effect."""
        if self._over:
            return
        self._over = True
        self._since = self._loop.time()
        self._settle()
        if self._source_id is not None:
            self._listener.left(self._source_id)
        feed, self._feed = self._feed, None
        if feed is not None:
            feed.ended(self._clean)

    def _settle(self) -> None:
        if self._counted:
            self._counted = False
            self._listener.settled(self)


def _address(peer: tuple[Any, ...] | None) -> str:
    """Whom connections are counted for: of IPv6, a whole network, for each customer has that many addresses."""
    if not peer:
        return ""  # gone already
    address = ipaddress.ip_address(str(peer[0]).partition("%")[0])
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((address, 64), strict=False))


def _set_options(sock: Any) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_S)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_S)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
