"""Files as the body of an answer: from the page cache to the socket by the kernel, past all buffers of ours.

Sanic sends the head, and is told afterwards that the body has gone: keeping the connection, pipelined requests, the
metrics and the access log are as with any other answer. uvloop has no `sendfile` of its own, and lets nobody else wait
for a transport's socket: what waits here is a duplicate of its descriptor.
"""

import asyncio
import io
import os
from time import monotonic
from typing import Any

from sanic.response import HTTPResponse

from veza.http.errors import ClientLeft
from veza.http.request import Request

# For a peer that takes nothing at all.
STALLED_S = 30.0
# Of one call of the kernel; between calls others have their turn.
_AT_ONCE = 1024 * 1024
# Where the kernel cannot: of one read in a thread.
_PIECE = 256 * 1024
# Sanic's own, which are set again after the head.
_LOW, _HIGH = 16_384, 65_536


async def send_file(
    request: Request,
    response: HTTPResponse,
    file: io.FileIO,
    first: int,
    count: int,
    *,
    stalled_s: float = STALLED_S,
    kernel: bool = True,
) -> None:
    """Answer with `count` bytes of a file from `first` on, more than none. `response` has the head, with its
    Content-Length. Without `kernel` the file is read in a thread, as it is for a connection with TLS.

    Raises ClientLeft when the peer is gone, or takes nothing for `stalled_s` seconds.
    """
    await request.respond(response)
    transport: Any = request.transport
    descriptor = _socket_of(transport) if kernel else None
    try:
        if descriptor is None:
            await _read_and_send(response, file, first, count, stalled_s)
            return
        await _send_head(response, transport, stalled_s)
        await _sendfile(transport, descriptor, file.fileno(), first, count, stalled_s=stalled_s)
    except (TimeoutError, OSError):
        # Only the peer's end fails like that: the file is open, and nobody shortens one that has its name.
        raise ClientLeft from None
    finally:
        if descriptor is not None:
            os.close(descriptor)
    # Sanic counts what it sends itself; none of this body is left to it.
    stream: Any = request.stream
    stream.response_bytes_left = 0
    await response.send(b"", end_stream=True)


def _socket_of(transport: Any) -> int | None:
    """A duplicate of the descriptor of the socket: the number of the original may be another connection's once the
    transport is closed. None where what is sent is not what the socket gets.
    """
    sock = transport.get_extra_info("socket")
    if sock is None or transport.get_extra_info("sslcontext") is not None or transport.is_closing():
        return None
    return os.dup(sock.fileno())


async def _send_head(response: HTTPResponse, transport: Any, stalled_s: float) -> None:
    """Returns when nothing waits in the transport, in front of which the body would come."""
    protocol = transport.get_protocol()
    # With nothing allowed to wait, the transport writes at once, or says when it has.
    transport.set_write_buffer_limits(high=0)
    try:
        async with asyncio.timeout(stalled_s):
            await response.send(b"", end_stream=False)
            await protocol._can_write.wait()
    finally:
        transport.set_write_buffer_limits(low=_LOW, high=_HIGH)


async def _sendfile(transport: Any, sock: int, file: int, first: int, count: int, *, stalled_s: float) -> None:
    protocol, end = transport.get_protocol(), first + count
    while first < end:
        if transport.is_closing():
            raise ConnectionResetError
        try:
            sent = os.sendfile(sock, file, first, min(end - first, _AT_ONCE))
        except BlockingIOError:
            await _writable(sock, stalled_s)
            continue
        if not sent:
            raise ConnectionResetError
        first += sent
        # Sanic closes a connection that has sent nothing for as long as a handler may take.
        protocol._time = monotonic()
        if first < end:
            await asyncio.sleep(0)


async def _writable(sock: int, seconds: float) -> None:
    """Raises TimeoutError."""
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_writer(sock, ready.set)
    try:
        async with asyncio.timeout(seconds):
            await ready.wait()
    finally:
        loop.remove_writer(sock)


async def _read_and_send(response: HTTPResponse, file: io.FileIO, first: int, count: int, stalled_s: float) -> None:
    end = first + count
    while first < end:
        piece = await asyncio.to_thread(os.pread, file.fileno(), min(end - first, _PIECE), first)
        if not piece:
            raise ConnectionResetError
        first += len(piece)
        async with asyncio.timeout(stalled_s):
            await response.send(piece)
