"""One WebSocket on its transport: frames in and out, nothing about what they mean.

It takes the connection over from Sanic after the upgrade, so that an idle socket costs no task and no queue.
"""

import asyncio
from collections.abc import Iterator
from typing import Protocol

from veza import metrics
from veza.realtime import frames
from veza.realtime.frames import CloseCode, FrameError, FrameReader, Opcode, check_text

# Above this the transport reports that the peer reads too slowly; until then a write costs no check.
HIGH_WATER = 64 * 1024
# A backlog as large, or one of which nothing was taken for so long, closes the socket (protocol, rule 6).
BACKLOG_BYTES = 1024 * 1024
BACKLOG_S = 10.0
# What one socket may have handled before the loop sees to the others.
TURN_FRAMES = 64
# A read this large has more behind it, and uvloop would read that in the same turn.
TURN_BYTES = 64 * 1024
# How long the peer has to answer a close before the connection is cut.
CLOSE_S = 2.0
# What a connection's end is counted as that no close frame came before (RFC 6455, 7.1.5).
CUT = 1006


class Receiver(Protocol):
    """Who is told of what arrives."""

    def text(self, socket: "WebSocket", payload: bytes) -> None: ...
    def binary(self, socket: "WebSocket") -> None: ...
    def control(self, socket: "WebSocket") -> bool:
        """A ping or a pong came; False when it was one too many."""
        ...

    def lagging(self, socket: "WebSocket") -> None: ...
    def closed(self, socket: "WebSocket") -> None: ...


class WebSocket(asyncio.Protocol):
    """`send` writes finished frames, at once and in order. `alive` is cleared by whoever pings, set by any data."""

    __slots__ = (
        "__weakref__",
        "_backlog",
        "_closing",
        "_reader",
        "_receiver",
        "_resumed",
        "_transport",
        "alive",
        "lagging_since",
        "session",
        "write",
    )

    def __init__(self, transport: asyncio.Transport, receiver: Receiver) -> None:
        self._transport = transport
        self._receiver = receiver
        self._reader: FrameReader | None = FrameReader()
        self._closing = False
        self._backlog = 0  # unsent bytes when last looked at, while the peer does not keep up
        self._resumed: asyncio.Event | None = None  # made by the first who waits for it
        self.alive = True
        self.lagging_since: float | None = None  # since when the peer has taken nothing of a backlog
        self.session: object | None = None  # what the receiver keeps here
        self.write = transport.write
        transport.set_write_buffer_limits(high=HIGH_WATER)

    # -- out -------------------------------------------------------------------------------------------------

    def send(self, data: bytes) -> None:
        """Write finished frames, unless the socket is closing or its backlog is too large (then it closes)."""
        if self._closing:
            return
        if self.lagging_since is not None:
            if self._transport.get_write_buffer_size() + len(data) > BACKLOG_BYTES:
                self.close(CloseCode.SLOW_CONSUMER, "too slow")
                return
            self._backlog += len(data)
        self.write(data)

    def ping(self) -> None:
        """Ask for a sign of life; not of a peer that has a backlog, for behind it a ping says nothing."""
        if not self._closing and self.lagging_since is None:
            self.alive = False
            self.write(_PING)

    async def caught_up(self) -> None:
        """Wait until the peer keeps up, or the socket closes."""
        while self.lagging_since is not None and not self._closing:
            if self._resumed is None:
                self._resumed = asyncio.Event()
            self._resumed.clear()
            await self._resumed.wait()

    def _resume_waiting(self) -> None:
        if self._resumed is not None:
            self._resumed.set()

    def close(self, code: CloseCode, reason: str = "") -> None:
        """Send a close frame, then close; the peer gets what was written before, if it reads it soon."""
        if self._closing:
            return
        self._closing = True
        self._reader = None
        self._resume_waiting()
        metrics.SOCKETS_CLOSED.labels(str(int(code))).inc()
        self.write(frames.encode_close(code, reason))
        # Only our half ends now. What still comes is read and dropped until the peer ends its own: bytes left unread
        # would make the kernel reset the connection, and the peer would not learn the code.
        self._transport.write_eof()
        asyncio.get_running_loop().call_later(CLOSE_S, self._transport.abort)

    @property
    def closing(self) -> bool:
        return self._closing

    def overdue(self, now: float) -> bool:
        """Whether the peer has taken nothing of its backlog for too long; asked now and then."""
        if self.lagging_since is None:
            return False
        size = self._transport.get_write_buffer_size()
        if size < self._backlog:
            self.lagging_since = now
        self._backlog = size
        return now - self.lagging_since > BACKLOG_S

    # -- asyncio.Protocol ------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        self.alive = True
        if self._reader is not None:
            self._handle(self._reader.feed(data), more=len(data) >= TURN_BYTES)

    def _handle(self, messages: Iterator[tuple[Opcode, bytes]], *, more: bool) -> None:
        """One turn's share of what was read; the rest, and what is read next, wait for another turn."""
        try:
            for count, (opcode, payload) in enumerate(messages, 1):
                if opcode is Opcode.TEXT:
                    if not payload.isascii():
                        check_text(payload)
                    self._receiver.text(self, payload)
                elif opcode is Opcode.BINARY:
                    self._receiver.binary(self)
                elif opcode is Opcode.CLOSE:
                    self.close(CloseCode.NORMAL)
                elif self._receiver.control(self) and opcode is Opcode.PING:
                    self.send(frames.encode(payload, Opcode.PONG))
                if self._closing:
                    return
                if count == TURN_FRAMES:
                    more = True
                    break
        except FrameError as error:
            self.close(error.code, error.reason)
            return
        if more and not self._transport.is_closing():
            self._transport.pause_reading()
            asyncio.get_running_loop().call_soon(self._next_turn, messages)

    def _next_turn(self, messages: Iterator[tuple[Opcode, bytes]]) -> None:
        if not self._transport.is_closing():
            self._transport.resume_reading()
        if self._reader is not None:
            self._handle(messages, more=False)

    def pause_writing(self) -> None:
        self.lagging_since = asyncio.get_running_loop().time()
        self._backlog = self._transport.get_write_buffer_size()
        self._receiver.lagging(self)

    def resume_writing(self) -> None:
        self.alive = True  # reading is as good as answering
        self.lagging_since = None
        self._resume_waiting()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - a reset is as good as a close
        if not self._closing:
            metrics.SOCKETS_CLOSED.labels(str(CUT)).inc()
        self._closing = True
        self._reader = None
        self._resume_waiting()
        self._receiver.closed(self)


_PING = frames.encode(b"", Opcode.PING)
