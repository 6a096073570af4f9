"""The application: both providers and the controls on one Sanic, with the book and the courier behind them."""

import logging
import sqlite3
from pathlib import Path
from typing import Any

import msgspec
from sanic import HTTPResponse, Request, Sanic
from sanic.config import Config
from sanic.exceptions import SanicException

from veza.sandbox import forms, hyperswitch
from veza.sandbox.book import Book
from veza.sandbox.control import Control
from veza.sandbox.courier import Courier
from veza.sandbox.desk import Desk, Reply, response
from veza.sandbox.faults import HOLD_SECONDS
from veza.sandbox.stripe import Stripe

log = logging.getLogger(__name__)

HOST = "127.0.0.1"
MAX_BODY_BYTES = 1024 * 1024
# Of requests that are held when we are told to end.
GRACE_SECONDS = 0.5


class Options(msgspec.Struct, frozen=True):
    """How a sandbox is started."""

    port: int
    book: Path
    webhook_url: str
    api_key: str
    webhook_secret: str
    stripe_key: str


def create_app(options: Options) -> Sanic[Config, Any]:
    """The application; it opens its book when it is served."""
    app: Sanic[Config, Any] = Sanic("veza-sandbox", config=_config(), configure_logging=False)
    book = Book(options.book)
    courier: list[Courier] = []
    desk = Desk(book, lambda: courier[0].wake() if courier else None)
    keyring = hyperswitch.Keyring(options.api_key)
    hyperswitch.mount(app, desk, keyring)
    Stripe(desk, options.stripe_key, f"http://{HOST}:{options.port}").mount(app)
    Control(desk, keyring).mount(app)
    app.error_handler.add(Exception, _unforeseen)

    async def begin(_: Any) -> None:
        await book.open()
        courier.append(Courier(book, options.webhook_url, options.webhook_secret))
        courier[0].start()

    async def end(_: Any) -> None:
        while courier:
            await courier.pop().stop()
        await book.close()

    app.register_listener(begin, "before_server_start")
    app.register_listener(end, "after_server_stop")
    return app


def serve(options: Options) -> None:
    """Serve until a signal ends it."""
    create_app(options).run(host=HOST, port=options.port, single_process=True, motd=False, access_log=False)


def _config() -> Config:
    # No prefix: nothing in the environment changes the server.
    config = Config(env_prefix=None)
    config.update(
        ACCESS_LOG=False,
        MOTD=False,
        REQUEST_MAX_SIZE=MAX_BODY_BYTES,
        RESPONSE_TIMEOUT=2 * HOLD_SECONDS,
        # Clients keep their connections, and one that we close under a request would look like a fault.
        KEEP_ALIVE_TIMEOUT=10 * HOLD_SECONDS,
        GRACEFUL_SHUTDOWN_TIMEOUT=GRACE_SECONDS,
    )
    return config


def _unforeseen(request: Request, problem: Exception) -> HTTPResponse:
    """What no route has answered, in the words of the provider whose path it is."""
    status = problem.status_code if isinstance(problem, SanicException) else 500
    if status >= 500:
        log.error("%s %r failed", request.method, request.raw_url, exc_info=problem)
    if isinstance(problem, sqlite3.OperationalError):
        status = 503
    return response(_worded(request, status))


def _worded(request: Request, status: int) -> Reply:
    stripe = request.raw_url.startswith(b"/v1/")
    if stripe and status == 404:
        path = request.raw_url.decode(errors="replace")[:200]
        return forms.error(404, f"Unrecognized request URL ({request.method}: {path}).")
    if stripe:
        kind = "api_error" if status >= 500 else "invalid_request_error"
        return forms.error(status, "The request could not be served.", kind=kind)
    code, message = {
        404: ("IR_02", "Unrecognized request URL"),
        405: ("IR_03", "The HTTP method is not applicable"),
    }.get(status, ("HE_00" if status >= 500 else "IR_06", "The request could not be served"))
    return hyperswitch.error(status, code, message, "api" if status >= 500 else "invalid_request")
