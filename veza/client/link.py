"""One connection, from its welcome to its end."""

import asyncio
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.typing import Subprotocol

from veza.client.errors import (
    ClientError,
    ConnectionLost,
    InvalidArgument,
    ProtocolError,
    Unavailable,
    fatal_close,
    refusal,
)
from veza.client.pending import PendingCommands, TooManyPendingError
from veza.client.wire import Frame, Welcome, command_frame, read_welcome, wire_refusal

SUBPROTOCOL = Subprotocol("veza.v1")

# A page holds 500 messages of 4,000 characters; each may take 4 bytes, and what surrounds it.
_MAX_INCOMING = 32 * 1024 * 1024


class _Waiter:
    """A sent command: where its reply goes, and what must happen the moment it is read."""

    def __init__(self, on_reply: Callable[[msgspec.Raw], None] | None) -> None:
        self.future: asyncio.Future[msgspec.Raw] = asyncio.get_running_loop().create_future()
        self.on_reply = on_reply


class Link:
    """Commands out, replies matched. Reading is the owner's, who passes replies to `settle`."""

    def __init__(self, socket: ClientConnection, welcome: Welcome) -> None:
        self.socket = socket
        self.welcome = welcome
        self._pending: PendingCommands[_Waiter] = PendingCommands()
        self._over: ClientError | None = None

    @property
    def waiting(self) -> int:
        """Commands that wait for their reply."""
        return len(self._pending)

    async def call(
        self, command: str, arguments: dict[str, Any], on_reply: Callable[[msgspec.Raw], None] | None = None
    ) -> msgspec.Raw:
        """Send a command, return the reply's data. Raises the server's refusal, or `ConnectionLost`.

        `on_reply` runs before anything that follows the reply on the wire is looked at.
        """
        if self._over is not None:
            raise self._over
        waiter = _Waiter(on_reply)
        try:
            command_id = self._pending.open(waiter)
        except TooManyPendingError as error:
            raise Unavailable(str(error)) from error
        try:
            text = command_frame(command, command_id, arguments)
            if len(text.encode()) > self.welcome.limits.frame_bytes:
                # The server would cut the connection, and again at each retry.
                raise InvalidArgument("The command is larger than the server takes.", "frame_too_big")
            try:
                await self.socket.send(text)
            except ConnectionClosed as closed:
                raise ConnectionLost("The connection was cut before the answer.") from closed
            return await waiter.future
        finally:
            self._pending.settle(command_id)
            if waiter.future.done() and not waiter.future.cancelled():
                # Cut while still sending: the error was raised by the send already.
                waiter.future.exception()

    def settle(self, frame: Frame) -> bool:
        """Hand a reply or an error to who waits for it; False when nobody does (any more)."""
        waiter = self._pending.settle(frame.id) if isinstance(frame.id, str) else None
        if waiter is None or waiter.future.done():
            return False
        if frame.error is not None:
            waiter.future.set_exception(wire_refusal(frame.error))
            return True
        try:
            if waiter.on_reply is not None:
                waiter.on_reply(frame.data)
        except ProtocolError as error:
            waiter.future.set_exception(error)
        else:
            waiter.future.set_result(frame.data)
        return True

    def end(self, error: ClientError) -> None:
        """The connection is over: everyone who waits learns it."""
        self._over = error
        for waiter in self._pending.drain():
            if not waiter.future.done():
                waiter.future.set_exception(error)


def socket_url(base_url: str, token: str | None) -> str:
    """`http(s)://host/prefix` as the address of its socket; without a token, of one that is anonymous."""
    parts = urlsplit(base_url)
    scheme = "wss" if parts.scheme == "https" else "ws"
    query = "anonymous=1" if token is None else f"token={quote(token, safe='')}"
    return urlunsplit((scheme, parts.netloc, f"{parts.path}/api/v1/ws", query, ""))


async def dial(base_url: str, token: str | None, timeout: float) -> Link:
    """Open a socket and read its welcome, in `timeout` seconds. Raises a `ClientError`."""
    try:
        async with asyncio.timeout(timeout):
            socket = await connect(
                socket_url(base_url, token),
                subprotocols=[SUBPROTOCOL],
                compression=None,
                open_timeout=None,
                close_timeout=2,
                # A dead peer is noticed in 20 s, while commands repeat themselves every 10.
                ping_interval=10,
                ping_timeout=10,
                max_size=_MAX_INCOMING,
            )
            return await _welcomed(socket)
    except TimeoutError as error:
        raise ConnectionLost("The server did not complete the connection in time.") from error
    except InvalidStatus as error:
        raise _refused_upgrade(error) from error
    except InvalidHandshake as error:
        raise ConnectionLost(f"The server did not complete the connection: {error}") from error
    except OSError as error:
        raise ConnectionLost(f"The server cannot be reached: {error}") from error


async def _welcomed(socket: ClientConnection) -> Link:
    try:
        return Link(socket, read_welcome(await socket.recv(decode=False)))
    except ConnectionClosed as closed:
        raise closing_error(closed) from closed
    except BaseException:
        await socket.close()
        raise


def closing_error(closed: ConnectionClosed) -> ClientError:
    """Why a socket closed; a `ConnectionLost` when coming back is right."""
    code = closed.rcvd.code if closed.rcvd else 1006
    reason = closed.rcvd.reason if closed.rcvd else ""
    if closed.rcvd is None and closed.sent is not None and closed.sent.code != 1000:
        reason = closed.sent.reason
    return fatal_close(code, reason) or ConnectionLost(
        f"The connection was closed ({code}{' ' + reason if reason else ''}).", status=code
    )


def _refused_upgrade(error: InvalidStatus) -> ClientError:
    status = error.response.status_code
    after = error.response.headers.get("Retry-After", "")
    return refusal(
        f"The server refused the socket with HTTP {status}.",
        status=status,
        retry_after=float(after) if after.isdigit() else None,
        request_id=error.response.headers.get("X-Request-ID"),
    )
