"""The request class of the application. Every response of it, success or error, leaves through `respond`."""

import asyncio
from collections.abc import AsyncGenerator
from time import perf_counter
from typing import Any
from uuid import UUID

from sanic.exceptions import PayloadTooLarge as SanicPayloadTooLarge
from sanic.exceptions import SanicException
from sanic.request import Request as SanicRequest
from sanic.response import BaseHTTPResponse, HTTPResponse

from veza import logs
from veza.http.errors import PayloadTooLarge, RequestTimedOut
from veza.http.middleware.client_address import client_address, subject_of
from veza.http.middleware.request_id import accept_or_make
from veza.http.rate_limits import Standing
from veza.http.strict import check_head

# For the whole body, so that a sender of one byte a second does not hold a connection for ever. Below the 30 s after
# which the server gives a silent request up, as if it were its own fault.
BODY_SECONDS = 25.0
# For the body of an upload, which may be large: each piece, below the time after which the server gives a silent
# request up; and the rate in the long run.
PIECE_SECONDS = 20.0
GRACE_SECONDS = 30.0
SLOWEST_BYTES_PER_SECOND = 32 * 1024
# How much is still read of a body that is refused already: a client that is busy sending does not read its answer,
# and a connection closed before it has sent all may lose the answer.
LINGER_SECONDS = 10.0
LINGER_BYTES = 256 * 1024 * 1024


class Request(SanicRequest[Any, Any]):
    __slots__ = ("request_id", "standing", "started", "user_id")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        check_head(self.head)
        self.started = perf_counter()
        self.request_id: str = accept_or_make(self.header("x-request-id"))
        self.user_id: UUID | None = None  # set with the caller, or whoever signs in
        self.standing: Standing | None = None  # set where a limit was met
        # A connection is one task, and this runs in it: every line logged until the next request carries the id.
        logs.request_id.set(self.request_id)

    def header(self, name: str) -> str | None:
        """The first header of that name, which is given in lower case."""
        found: str | None = self.headers.get(name)
        return found

    @property
    def privacy_control(self) -> bool:
        """Whether the browser asks that data is neither sold nor shared (Global Privacy Control, `Sec-GPC: 1`)."""
        return self.header("sec-gpc") == "1"

    @property
    def raw_query(self) -> bytes:
        return self._parsed_url.query or b""

    @property
    def client_address(self) -> str:
        peer = self.conn_info.client_ip if self.conn_info else ""
        return client_address(peer, self.header("x-forwarded-for"), self.app.ctx.edge.proxies)

    @property
    def client_subject(self) -> str:
        """Whom the request is counted for by its address."""
        return subject_of(self.client_address)

    async def receive_body(self) -> None:
        stream: Any = self.stream
        if stream is not None and stream.request_body:
            try:
                async with asyncio.timeout(BODY_SECONDS):
                    await super().receive_body()  # type: ignore[no-untyped-call]
            except TimeoutError:
                raise self._too_slow() from None
            except SanicPayloadTooLarge:
                # Closed with the rest unread, the connection may lose the answer. Once it has answered, Sanic reads on
                # as far as these allow.
                stream.request_max_size = stream.protocol.request_max_size = LINGER_BYTES
                stream.protocol.keep_alive_timeout = LINGER_SECONDS
                raise

    @property
    def has_body(self) -> bool:
        """Whether there is something of the body that was not read."""
        stream: Any = self.stream
        return stream is not None and (stream.request_body == "chunked" or bool(stream.request_bytes_left))

    async def pieces(self, at_most: int) -> AsyncGenerator[bytes, None]:
        """The body of a route that takes uploads. Raises PayloadTooLarge and RequestTimedOut."""
        stream: Any = self.stream
        if int(self.header("content-length") or 0) > at_most:
            raise PayloadTooLarge
        loop = asyncio.get_running_loop()
        started = loop.time()
        received = 0
        while stream.request_body:
            try:
                async with asyncio.timeout(PIECE_SECONDS):
                    piece = await stream.read()
            except TimeoutError:
                raise self._too_slow() from None
            if stream.request_body != "chunked" and not stream.request_bytes_left:
                # Sanic learns it with the next read only, and would close the connection of who does not ask again.
                stream.request_body = None
            received += len(piece or b"")
            if received > at_most:
                raise PayloadTooLarge
            if loop.time() - started > GRACE_SECONDS + received / SLOWEST_BYTES_PER_SECOND:
                raise self._too_slow()
            if piece:
                yield piece

    def _too_slow(self) -> RequestTimedOut:
        """Sanic would wait for the rest after the answer; the connection is closed instead."""
        stream: Any = self.stream
        stream.request_body = None
        stream.request_bytes_left = 0
        stream.keep_alive = False
        return RequestTimedOut()

    async def refuse(self, response: BaseHTTPResponse) -> None:
        """Answer although the body is still coming, and close the connection."""
        stream: Any = self.stream
        stream.keep_alive = False
        # Who asked whether to send the body has not begun to.
        awaited, stream.expecting_continue = stream.expecting_continue, False
        await (await self.respond(response)).send(end_stream=True)
        if not awaited:
            await self._linger(stream)
        stream.request_body = None

    async def _linger(self, stream: Any) -> None:
        left = LINGER_BYTES
        try:
            async with asyncio.timeout(LINGER_SECONDS):
                while left > 0 and (piece := await stream.read()):
                    left -= len(piece)
        except (TimeoutError, SanicException):
            return

    async def respond(
        self,
        response: BaseHTTPResponse | None = None,
        *,
        status: int = 200,
        headers: Any = None,
        content_type: str | None = None,
    ) -> Any:
        if response is None:
            response = HTTPResponse(status=status, headers=headers, content_type=content_type)
        self.app.ctx.edge.finish(self, response)
        return await super().respond(response)
