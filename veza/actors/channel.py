"""Batches from actor to actor over a connection of their own.

Ray places actors, finds them, tells of their deaths and carries what is said now and then. A call of it takes 1.6 ms
and much of a core's time, so what is said all the time, batches of commands and deliveries, goes straight from process
to process: a frame is four bytes of length (big-endian) and the batch, its answer one byte. Who may connect is told by
Ray: the key is random and given only by the actor's own `endpoint`.
"""

import abc
import asyncio
import hmac
import logging
import secrets
import socket
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from veza.actors.tasks import TaskSet
from veza.errors import Unavailable

log = logging.getLogger(__name__)

KEY_BYTES = 32
LENGTH_BYTES = 4
# Above what an outbox puts into one call, however large its last item is.
MOST_BYTES = 64 * 1024 * 1024
DONE, FAILED = b"\x01", b"\x00"
# A stranger who says nothing is not waited for.
KEY_PATIENCE_S = 5.0
CONNECT_S = 2.0
# A peer that acknowledges nothing, or lets nothing in, for so long is cut off: a cable that is cut sends no word of it.
SILENCE_S = 10
# An idle connection is asked this often whether the peer is still there.
PROBE_S = 3
# Batches of a connection that wait for the handler; then it is not read any more.
QUEUED_BATCHES = 4
# Unsent, of batches whose callers gave up waiting; then the connection is given up.
UNSENT_BYTES = MOST_BYTES

Handler = Callable[[bytes], Awaitable[object]]


class Endpoint(msgspec.Struct, frozen=True):
    """Where an actor takes batches, and the key that opens it."""

    host: str
    port: int
    key: bytes


class Disconnected(Exception):
    """The connection could not be made or was lost. What was sent may or may not have arrived."""


class HandlerFailed(Exception):
    """The other side took the batch and failed over it; its log says why."""


class Inlet:
    """Takes batches for `handle`, those of one connection one after another, in order."""

    def __init__(self, handle: Handler, tasks: TaskSet) -> None:
        self._handle = handle
        self._tasks = tasks
        self._key = secrets.token_bytes(KEY_BYTES)
        self._server: asyncio.Server | None = None
        self._open: set[_Serving] = set()
        self._endpoint: Endpoint | None = None

    async def start(self, host: str) -> None:
        """Listen on a free port of this address."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Serving(self, self._key), host, 0)
        self._endpoint = Endpoint(host, self._server.sockets[0].getsockname()[1], self._key)

    def place(self) -> Endpoint:
        """Where it listens. Raises Unavailable before `start`."""
        if self._endpoint is None:
            raise Unavailable("This actor does not take anything yet.")
        return self._endpoint

    async def close(self) -> None:
        """Take nothing more; returns when all connections are closed."""
        if self._server is not None:
            self._server.close()
        await asyncio.gather(*(serving.closed() for serving in list(self._open)))

    def began(self, serving: "_Serving") -> None:
        self._open.add(serving)
        serving.task = self._tasks.start(self._serve(serving), "inlet")

    def ended(self, serving: "_Serving") -> None:
        self._open.discard(serving)

    async def _serve(self, serving: "_Serving") -> None:
        try:
            async with asyncio.timeout(KEY_PATIENCE_S):
                await serving.admitted.wait()
        except TimeoutError:
            serving.refuse("no key")
            return
        while (batch := await serving.next()) is not None:
            try:
                await self._handle(batch)
            except Exception:
                log.exception("a batch failed")
                serving.answer(FAILED)
            else:
                serving.answer(DONE)


def _watch(sock: Any) -> None:
    """Have the kernel end this connection, with an error, when the peer is out of reach or takes nothing."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, PROBE_S)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, PROBE_S)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(SILENCE_S * 1000))


class _Framed(asyncio.Protocol, abc.ABC):
    """Takes bytes apart into frames; `took` says how many bytes of the buffer it used, 0 for none yet."""

    def __init__(self) -> None:
        self.transport: Any = None
        self.lost = asyncio.Event()
        self._buffer = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        _watch(transport.get_extra_info("socket"))

    def connection_lost(self, _: Exception | None) -> None:
        self.lost.set()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while used := self._take(self._buffer):
            del self._buffer[:used]

    @abc.abstractmethod
    def _take(self, buffer: bytearray) -> int: ...

    def refuse(self, reason: str) -> int:
        """Close on a peer that breaks the rules. For `_take`, which uses nothing of the buffer then."""
        log.warning("connection refused", extra={"reason": reason})
        self._buffer.clear()
        self.transport.close()
        return 0

    async def closed(self) -> None:
        self.transport.close()
        await self.lost.wait()


class _Serving(_Framed):
    """The side that takes batches."""

    def __init__(self, inlet: Inlet, key: bytes) -> None:
        super().__init__()
        self.admitted = asyncio.Event()
        self.task: asyncio.Task[None] | None = None
        self._inlet = inlet
        self._key = key
        self._batches: deque[bytes] = deque()
        self._more = asyncio.Event()
        self._paused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._inlet.began(self)

    def connection_lost(self, _: Exception | None) -> None:
        super().connection_lost(_)
        self._inlet.ended(self)
        # Whoever waits finds nothing more.
        self.admitted.set()
        self._more.set()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if len(self._batches) > QUEUED_BATCHES and not self._paused and not self.transport.is_closing():
            self._paused = True
            self.transport.pause_reading()

    def _take(self, buffer: bytearray) -> int:
        if not self.admitted.is_set():
            return self._take_key(buffer)
        if len(buffer) < LENGTH_BYTES:
            return 0
        size = int.from_bytes(buffer[:LENGTH_BYTES])
        if size > MOST_BYTES:
            return self.refuse(f"a batch of {size} bytes")
        if len(buffer) < LENGTH_BYTES + size:
            return 0
        with memoryview(buffer) as view:
            self._batches.append(bytes(view[LENGTH_BYTES : LENGTH_BYTES + size]))
        self._more.set()
        return LENGTH_BYTES + size

    def _take_key(self, buffer: bytearray) -> int:
        if len(buffer) < KEY_BYTES:
            return 0
        if not hmac.compare_digest(bytes(buffer[:KEY_BYTES]), self._key):
            return self.refuse("a wrong key")
        self.admitted.set()
        return KEY_BYTES

    async def next(self) -> bytes | None:
        """The next batch, also one that came before the connection was lost; None when there will be no more."""
        while not self._batches and not self.lost.is_set():
            self._more.clear()
            await self._more.wait()
        if self._paused and len(self._batches) <= QUEUED_BATCHES and not self.transport.is_closing():
            self._paused = False
            self.transport.resume_reading()
        return self._batches.popleft() if self._batches else None

    def answer(self, byte: bytes) -> None:
        if not self.transport.is_closing():
            self.transport.write(byte)


class _Calling(_Framed):
    """The side that sends them."""

    def __init__(self) -> None:
        super().__init__()
        self._waiting: deque[asyncio.Future[None]] = deque()

    def connection_lost(self, _: Exception | None) -> None:
        super().connection_lost(_)
        for future in self._waiting:
            if not future.done():
                future.set_exception(Disconnected())
        self._waiting.clear()

    def _take(self, buffer: bytearray) -> int:
        if not buffer:
            return 0
        future = self._waiting.popleft()
        if not future.done():
            if buffer[:1] == DONE:
                future.set_result(None)
            else:
                future.set_exception(HandlerFailed())
        return 1

    @property
    def usable(self) -> bool:
        return not self.transport.is_closing()

    async def call(self, batch: bytes) -> None:
        if self.usable and self.transport.get_write_buffer_size() > UNSENT_BYTES:
            log.warning("connection given up", extra={"reason": "too much is unsent"})
            self.transport.abort()
        if not self.usable:
            raise Disconnected
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        self.transport.writelines((len(batch).to_bytes(LENGTH_BYTES), batch))
        await future

    async def closed(self) -> None:
        # What is unsent is not waited for: a peer that does not read would never let go.
        self.transport.abort()
        await self.lost.wait()


class Channel:
    """Sends batches to one actor; connects when it is first used, and again after a loss, until it is closed."""

    def __init__(self, find: Callable[[], Awaitable[Endpoint]]) -> None:
        self._find = find
        self._calling: _Calling | None = None
        self._connecting = asyncio.Lock()
        self._closed = False

    async def call(self, batch: bytes) -> None:
        """Returns when the other side has taken it. Raises Disconnected, HandlerFailed, and what `find` raises."""
        calling = self._calling
        if calling is None or not calling.usable:
            calling = await self._connect()
        await calling.call(batch)

    async def _connect(self) -> _Calling:
        async with self._connecting:
            if self._closed:
                raise Disconnected
            if self._calling is not None and self._calling.usable:
                return self._calling
            endpoint = await self._find()
            loop = asyncio.get_running_loop()
            try:
                async with asyncio.timeout(CONNECT_S):
                    _, calling = await loop.create_connection(_Calling, endpoint.host, endpoint.port)
            except (OSError, TimeoutError) as error:
                raise Disconnected from error
            if self._closed:
                await calling.closed()
                raise Disconnected
            calling.transport.write(endpoint.key)
            self._calling = calling
            return calling

    async def close(self) -> None:
        """For good. Calls in progress end with Disconnected; what is unsent is dropped."""
        self._closed = True
        calling, self._calling = self._calling, None
        if calling is not None:
            await calling.closed()
