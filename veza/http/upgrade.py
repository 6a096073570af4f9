"""From an HTTP request to a WebSocket: the checks before a socket exists, and the hand-over of the connection."""

from typing import Any
from urllib.parse import urlsplit

from sanic.server.protocols.http_protocol import HttpProtocol

from veza.errors import InvalidArgument, PermissionDenied
from veza.realtime import frames
from veza.realtime.protocol import SUBPROTOCOL


class UpgradableProtocol(HttpProtocol):
    """Sanic's HTTP protocol, able to let go of its connection."""

    __slots__ = ("handed_over",)

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.handed_over = False

    def close(self, timeout: float | None = None) -> None:
        """After a hand-over there is nothing to close: forget the connection, but stop the timer."""
        if not self.handed_over:
            super().close(timeout)
            return
        if self._callback_check_timeouts:
            self._callback_check_timeouts.cancel()
        self.connections.discard(self)
        self.transport = None
        self.request = None


def check_upgrade(headers: Any, allowed_origins: tuple[str, ...]) -> str | None:
    """The subprotocol to answer (None for none). Raises InvalidArgument or PermissionDenied."""
    connection = [token.strip().lower() for token in headers.get("connection", "").split(",")]
    if headers.get("upgrade", "").lower() != "websocket" or "upgrade" not in connection:
        raise InvalidArgument("This is a WebSocket endpoint: send an upgrade.")
    if headers.get("sec-websocket-version") != "13" or not headers.get("sec-websocket-key"):
        raise InvalidArgument("The upgrade needs Sec-WebSocket-Version 13 and a Sec-WebSocket-Key.")
    check_origin(headers, allowed_origins)
    offered = [name.strip() for name in ",".join(headers.getall("sec-websocket-protocol", [])).split(",")]
    if SUBPROTOCOL in offered:
        return SUBPROTOCOL
    if any(offered):
        raise InvalidArgument(f"The only subprotocol is {SUBPROTOCOL}.")
    return None


def check_origin(headers: Any, allowed_origins: tuple[str, ...]) -> None:
    """Browsers send Origin; programs need not. The own host is always allowed."""
    origin = headers.get("origin")
    if origin is None or origin in allowed_origins:
        return
    if urlsplit(origin).netloc != headers.get("host"):
        raise PermissionDenied("This origin is not allowed.")


def hand_over(request: Any, subprotocol: str | None) -> Any:
    """Answer 101 and take the transport from Sanic. Returns the transport."""
    transport = request.transport
    protocol = transport.get_protocol()
    lines = [
        "HTTP/1.1 101 Switching Protocols",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Accept: {frames.accept_key(request.headers['sec-websocket-key'])}",
        *request.app.ctx.edge.lines(request),
    ]
    if subprotocol is not None:
        lines.append(f"Sec-WebSocket-Protocol: {subprotocol}")
    protocol.handed_over = True
    transport.write("\r\n".join([*lines, "", ""]).encode())
    return transport
