"""One WebSocket on its transport: frames in and out, nothing about what they mean.

It takes the connection over from Sanic after the upgrade, so that an idle socket costs no task and no queue.
"""

import asyncio
from typing import Protocol

from veza import metrics
from veza.realtime import frames
from veza.realtime.frames import CloseCode, FrameError, FrameReader, Opcode

# Above this the transport reports that the peer reads too slowly; until then a write costs no check.
HIGH_WATER = 64 * 1024
# A backlog as large, or as old, closes the socket (protocol, rule 6).
BACKLOG_BYTES = 1024 * 1024
BACKLOG_S = 10.0
# How long the peer has to answer a close before the connection is cut.
CLOSE_S = 2.0


class Receiver(Protocol):
    """Who is told of what arrives."""

    def text(self, socket: "WebSocket", payload: bytes) -> None: ...
    def binary(self, socket: "WebSocket") -> None: ...
    def lagging(self, socket: "WebSocket") -> None: ...
    def closed(self, socket: "WebSocket") -> None: ...


class WebSocket(asyncio.Protocol):
    """`send` writes finished frames, at once and in order. `alive` is cleared by whoever pings, set by any data."""

    __slots__ = (
        "__weakref__",
        "_closing",
        "_reader",
        "_receiver",
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
        self.alive = True
        self.lagging_since: float | None = None  # since when the peer has not kept up
        self.session: object | None = None  # what the receiver keeps here
        self.write = transport.write
        transport.set_write_buffer_limits(high=HIGH_WATER)

    # -- out -------------------------------------------------------------------------------------------------

    def send(self, data: bytes) -> None:
        """Write finished frames, unless the socket is closing or its backlog is too large (then it closes)."""
        if self._closing:
            return
        if self.lagging_since is not None and self._transport.get_write_buffer_size() + len(data) > BACKLOG_BYTES:
            self.close(CloseCode.SLOW_CONSUMER, "too slow")
            return
        self.write(data)

    def ping(self) -> None:
        self.send(_PING)

    def close(self, code: CloseCode, reason: str = "") -> None:
        """Send a close frame, then close; the peer gets what was written before, if it reads it soon."""
        if self._closing:
            return
        self._closing = True
        self._reader = None
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
        """Whether the backlog is too old."""
        return self.lagging_since is not None and now - self.lagging_since > BACKLOG_S

    # -- asyncio.Protocol ------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        self.alive = True
        reader = self._reader
        if reader is None:
            return
        try:
            for opcode, payload in reader.feed(data):
                if opcode is Opcode.TEXT:
                    self._receiver.text(self, payload)
                elif opcode is Opcode.BINARY:
                    self._receiver.binary(self)
                elif opcode is Opcode.PING:
                    self.send(frames.encode(payload, Opcode.PONG))
                elif opcode is Opcode.CLOSE:
                    self.close(CloseCode.NORMAL)
                if self._closing:
                    return
        except FrameError as error:
            self.close(error.code, error.reason)

    def pause_writing(self) -> None:
        self.lagging_since = asyncio.get_running_loop().time()
        self._receiver.lagging(self)

    def resume_writing(self) -> None:
        self.lagging_since = None

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - a reset is as good as a close
        self._closing = True
        self._reader = None
        self._receiver.closed(self)


_PING = frames.encode(b"", Opcode.PING)
