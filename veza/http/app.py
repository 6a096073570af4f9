"""The application: every declared route on one Sanic, and the server that runs it inside a process of ours."""

import asyncio
import itertools
import socket
from collections.abc import Sequence
from typing import Any

from sanic import Sanic
from sanic.application.state import ApplicationServerInfo
from sanic.config import Config
from sanic.http import Stage
from sanic.http.constants import HTTP
from sanic.response import HTTPResponse
from sanic.server.async_server import AsyncioServer

from veza.http import docs_page, sdk_files
from veza.http.api.index import index_of
from veza.http.checks import register_checks
from veza.http.dispatch import Endpoint, bind
from veza.http.middleware.edge import Edge
from veza.http.openapi import openapi_document
from veza.http.request import Request
from veza.http.responses import EnvelopeErrorHandler, counted
from veza.http.routing import API_PREFIX, Resource, Route
from veza.http.services import Services
from veza.http.strict import StrictHttp
from veza.http.upgrade import UpgradableProtocol
from veza.metrics import RouteMeter

MAX_BODY_BYTES = 1024 * 1024
HEADER_SECONDS = 10
HANDLER_SECONDS = 30
# Longer than the 60 s for which load balancers keep idle connections, so that they close first.
KEEP_ALIVE_SECONDS = 75
# Sanic listens anew, with a queue of 100 unless told otherwise: of thousands who come back at once most would wait for
# the kernel's retries, which take up to a minute.
BACKLOG = 4096

# When the root routes were replaced by those under /api/v1: 2026-02-23, as RFC 9745 writes it.
_DEPRECATED_SINCE = "@1771804800"

# Sanic keeps every application of a process by name, so each gets its own.
_numbers = itertools.count(1)


class Protocol(UpgradableProtocol):
    """Sanic's protocol, whose time limits count from the first byte: Sanic's own start anew at each. And who connects
    has no longer than for headers until that byte: to Sanic it is a connection kept alive.
    """

    __slots__ = ("_silent",)
    HTTP_CLASS = StrictHttp

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)  # type: ignore[no-untyped-call]
        self.keep_alive_timeout = HEADER_SECONDS
        self._silent = True

    def data_received(self, data: bytes) -> None:
        if self._silent:
            self._silent = False
            self.keep_alive_timeout = KEEP_ALIVE_SECONDS
        before = self._time
        super().data_received(data)
        http = self.http
        if http is None:
            return
        # IDLE with a body: the answer is sent, and what nobody read of the request is still coming in.
        if http.stage is Stage.REQUEST or (http.stage is Stage.IDLE and http.request_body):
            self._time = before


def create_app(services: Services, resources: Sequence[Resource]) -> Sanic[Config, Any]:
    """The application of one gateway. Raises TypeError when two routes have the same name."""
    app: Sanic[Config, Any] = Sanic(
        f"veza-{next(_numbers)}",
        config=_config(),
        request_class=Request,
        error_handler=EnvelopeErrorHandler(),
        configure_logging=False,
    )
    app.ctx.edge = Edge(services.settings, services.trail)
    app.ctx.limits = services.limits
    register_checks(services)
    everything = with_index(resources)
    for resource in everything:
        for route in resource.routes:
            _mount(app, route, bind(route, services))
    docs_page.mount(app, lambda: openapi_document(everything))
    sdk_files.mount(app)
    return app


def with_index(resources: Sequence[Resource]) -> list[Resource]:
    """These, and the list of them."""
    return [*resources, index_of(resources)]


def _config() -> Config:
    # No prefix: settings are ours alone, and nothing in the environment changes the server behind them.
    config = Config(env_prefix=None)
    config.update(
        ACCESS_LOG=False,
        MOTD=False,
        AUTO_EXTEND=False,
        REQUEST_MAX_SIZE=MAX_BODY_BYTES,
        REQUEST_MAX_HEADER_SIZE=16_384,
        REQUEST_TIMEOUT=HEADER_SECONDS,
        RESPONSE_TIMEOUT=HANDLER_SECONDS,
        KEEP_ALIVE_TIMEOUT=KEEP_ALIVE_SECONDS,
    )
    return config


def _mount(app: Sanic[Config, Any], route: Route, endpoint: Endpoint) -> None:
    methods = ["GET", "HEAD"] if route.method == "GET" else [route.method]
    app.add_route(
        endpoint,
        route.pattern,
        methods=methods,
        name=route.name,
        stream=route.upload is not None,
        ctx_meter=RouteMeter(route.pattern, probe=route.probe),
        ctx_limited=route.limited,
    )
    if route.legacy:
        app.add_route(
            _deprecated(endpoint, route.pattern),
            route.path,
            methods=methods,
            name=f"{route.name}.legacy",
            ctx_meter=RouteMeter(route.path, probe=route.probe),
            ctx_limited=route.limited,
        )


def mount_socket(app: Sanic[Config, Any], upgrade: Endpoint) -> None:
    """Serve the WebSocket at `/ws` and under the API's prefix; `upgrade` answers, or takes the connection over."""

    inner: Endpoint = counted(app, upgrade)

    async def websocket(request: Request) -> HTTPResponse | None:
        return await inner(request)

    # Tells Sanic that no response is a response: the connection is no longer its own.
    websocket.is_websocket = True  # type: ignore[attr-defined]
    for path in ("/ws", f"{API_PREFIX}/ws"):
        app.add_route(websocket, path, methods=["GET"], name=f"websocket {path}", ctx_meter=RouteMeter(path))


def _deprecated(endpoint: Endpoint, successor: str) -> Endpoint:
    async def legacy(request: Request, **segments: str) -> HTTPResponse | None:
        response = await endpoint(request, **segments)
        if response is None:
            return None
        response.headers["Deprecation"] = _DEPRECATED_SINCE
        response.headers["Link"] = f'<{successor}>; rel="successor-version"'
        return response

    return legacy


async def start_server(app: Sanic[Config, Any], sock: socket.socket) -> AsyncioServer:
    """Serve `app` on a bound socket, on the running loop, and return once it accepts connections."""
    # Sanic leaves its Alt-Svc header (empty: there is no HTTP/3) out of responses only when it knows this.
    app.state.server_info.append(ApplicationServerInfo(settings={"version": HTTP.VERSION_1}))
    server = await app.create_server(sock=sock, protocol=Protocol, return_asyncio_server=True, backlog=BACKLOG)
    if server is None:
        raise RuntimeError("Sanic made no server")
    await server.startup()
    await server.before_start()
    await server.after_start()
    return server


async def stop_server(server: AsyncioServer, grace_seconds: float) -> None:
    """Stop accepting, let requests in progress finish for `grace_seconds`, then close what is left."""
    server.close()
    await server.before_stop()
    loop = asyncio.get_running_loop()
    deadline = loop.time() + grace_seconds
    while server.connections and loop.time() < deadline:
        for connection in list(server.connections):
            connection.close_if_idle()
        await asyncio.sleep(0.02)
    for connection in list(server.connections):
        connection.abort()
    await server.after_stop()
    Sanic.unregister_app(server.app)
