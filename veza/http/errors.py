"""Errors to HTTP: the one place that knows status codes."""

import asyncio
import math
from http import HTTPStatus

import asyncpg
import msgspec
from sanic import exceptions as sanic_errors

from veza.errors import (
    Conflict,
    Detailed,
    InvalidArgument,
    InvalidFrame,
    MessageTooLong,
    NotFound,
    PermissionDenied,
    RateLimited,
    RetryLater,
    TooMuchUnsent,
    Unauthenticated,
    Unavailable,
    UnderMaintenance,
    UnknownCommand,
    VezaError,
)
from veza.storage.database import UNREACHABLE

# Failures of the database that go away by themselves: the caller may simply try again.
TRANSIENT: tuple[type[BaseException], ...] = (
    *UNREACHABLE,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.TransactionRollbackError,
)


class UnsupportedMediaType(VezaError):
    code = "unsupported_media_type"
    default_message = "The body must be JSON: send Content-Type: application/json."


class PayloadTooLarge(VezaError):
    code = "payload_too_large"
    default_message = "The request is larger than this endpoint accepts."


class RangeNotSatisfiable(VezaError):
    """What was asked for lies outside of the content, which has `size` bytes."""

    code = "range_not_satisfiable"
    default_message = "The range lies outside of the content."

    def __init__(self, message: str | None = None, size: int = 0) -> None:
        super().__init__(message, size)


class RequestTimedOut(VezaError):
    code = "request_timeout"
    default_message = "The request did not arrive in time."


class ClientLeft(VezaError):
    """Nobody is there to read the answer; its status is for the log and the metrics."""

    code = "client_left"
    default_message = "The client closed the connection."


class RouteNotFound(NotFound):
    default_message = "There is nothing at this address."


class MethodNotAllowed(VezaError):
    """The path exists, the method does not. `allowed` are the methods that do."""

    code = "method_not_allowed"
    default_message = "This address does not support that method."

    def __init__(self, message: str | None = None, allowed: tuple[str, ...] = ()) -> None:
        super().__init__(message, allowed)

    @property
    def allowed(self) -> tuple[str, ...]:
        found = self.args[1]
        return found if isinstance(found, tuple) else ()


# A class not named here has the status of its nearest ancestor that is.
STATUSES: dict[type[BaseException], HTTPStatus] = {
    InvalidArgument: HTTPStatus.BAD_REQUEST,
    InvalidFrame: HTTPStatus.BAD_REQUEST,
    UnknownCommand: HTTPStatus.BAD_REQUEST,
    MessageTooLong: HTTPStatus.BAD_REQUEST,
    Unauthenticated: HTTPStatus.UNAUTHORIZED,
    PermissionDenied: HTTPStatus.FORBIDDEN,
    NotFound: HTTPStatus.NOT_FOUND,
    MethodNotAllowed: HTTPStatus.METHOD_NOT_ALLOWED,
    RequestTimedOut: HTTPStatus.REQUEST_TIMEOUT,
    ClientLeft: HTTPStatus.REQUEST_TIMEOUT,
    Conflict: HTTPStatus.CONFLICT,
    PayloadTooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    TooMuchUnsent: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    UnsupportedMediaType: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    RangeNotSatisfiable: HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
    RateLimited: HTTPStatus.TOO_MANY_REQUESTS,
    Unavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    UnderMaintenance: HTTPStatus.SERVICE_UNAVAILABLE,
    VezaError: HTTPStatus.INTERNAL_SERVER_ERROR,
}


class Problem(msgspec.Struct, frozen=True):
    """An error as HTTP tells it."""

    status: int
    code: str
    message: str
    details: tuple[tuple[str, str], ...] = ()
    headers: tuple[tuple[str, str], ...] = ()


def status_of(kind: type[BaseException]) -> HTTPStatus:
    """The status of an error class, by the nearest ancestor in the table."""
    for ancestor in kind.__mro__:
        found = STATUSES.get(ancestor)
        if found is not None:
            return found
    return HTTPStatus.INTERNAL_SERVER_ERROR


def problem_of(error: BaseException) -> Problem:
    """How to answer `error`. What is not ours and not known is a 500 that says nothing about itself."""
    known = translate(error)
    status = status_of(type(known))
    # The text of an outage may hold addresses and paths: a 5xx only ever says what its class says. What maintenance
    # says was written for everybody.
    public = status < HTTPStatus.INTERNAL_SERVER_ERROR or isinstance(known, UnderMaintenance)
    return Problem(
        status=status,
        code=known.code,
        message=known.message if public else known.default_message,
        details=known.details if isinstance(known, Detailed) else (),
        headers=_headers_of(known),
    )


def _headers_of(error: VezaError) -> tuple[tuple[str, str], ...]:
    match error:
        case RetryLater():
            return (("Retry-After", str(max(1, math.ceil(error.retry_after)))),)
        case Unauthenticated():
            return (("WWW-Authenticate", 'Bearer realm="veza"'),)
        case MethodNotAllowed():
            return (("Allow", ", ".join(error.allowed)),)
        case RangeNotSatisfiable():
            return (("Content-Range", f"bytes */{error.args[1]}"),)
    return ()


def translate(error: BaseException) -> VezaError:
    """The error of ours that stands for `error`, whoever raised it."""
    match error:
        case VezaError():
            return error
        case sanic_errors.SanicException():
            return _translate_sanic(error)
        case sanic_errors.RequestCancelled():
            return ClientLeft()
        case asyncio.CancelledError():
            # The server stopped before the handler was done.
            return Unavailable()
    # asyncpg reports an argument it cannot encode as an InterfaceError too: that is a bug, not an outage.
    if isinstance(error, TRANSIENT) and not isinstance(error, ValueError):
        return Unavailable()
    return VezaError()


_SANIC: dict[type[sanic_errors.SanicException], type[VezaError]] = {
    sanic_errors.NotFound: RouteNotFound,
    sanic_errors.MethodNotAllowed: MethodNotAllowed,
    sanic_errors.PayloadTooLarge: PayloadTooLarge,
    sanic_errors.RequestTimeout: RequestTimedOut,
    sanic_errors.ServiceUnavailable: Unavailable,
}


def _translate_sanic(error: sanic_errors.SanicException) -> VezaError:
    known = next((ours for theirs, ours in _SANIC.items() if isinstance(error, theirs)), None)
    if known is not None:
        return known()
    if error.status_code < HTTPStatus.INTERNAL_SERVER_ERROR:
        return InvalidArgument("The request is not well-formed HTTP.")
    return VezaError()
