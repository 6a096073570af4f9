"""The request class of the application. Every response of it, success or error, leaves through `respond`."""

import asyncio
from time import perf_counter
from typing import Any

from sanic.request import Request as SanicRequest
from sanic.response import BaseHTTPResponse, HTTPResponse

from veza import logs
from veza.http.errors import RequestTimedOut
from veza.http.middleware.client_address import client_address
from veza.http.middleware.request_id import accept_or_make
from veza.realtime.principal import Principal

# For the whole body, so that a sender of one byte a second does not hold a connection for ever.
BODY_SECONDS = 30.0


class Request(SanicRequest[Any, Any]):
    __slots__ = ("caller", "request_id", "started")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.started = perf_counter()
        self.request_id: str = accept_or_make(self.header("x-request-id"))
        self.caller: Principal | None = None
        # A connection is one task, and this runs in it: every line logged until the next request carries the id.
        logs.request_id.set(self.request_id)

    def header(self, name: str) -> str | None:
        """The first header of that name, which is given in lower case."""
        found: str | None = self.headers.get(name)
        return found

    @property
    def raw_query(self) -> bytes:
        return self._parsed_url.query or b""

    @property
    def client_address(self) -> str:
        peer = self.conn_info.client_ip if self.conn_info else ""
        return client_address(peer, self.header("x-forwarded-for"), self.app.ctx.edge.proxies)

    async def receive_body(self) -> None:
        stream: Any = self.stream
        if stream is not None and stream.request_body:
            try:
                async with asyncio.timeout(BODY_SECONDS):
                    await super().receive_body()  # type: ignore[no-untyped-call]
            except TimeoutError:
                # Sanic would wait for the rest after the answer; the connection is closed instead.
                stream.request_body = None
                stream.keep_alive = False
                raise RequestTimedOut from None

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
