"""Errors as responses: for the endpoints, and for what fails before one is found."""

import logging
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from sanic.exceptions import MethodNotAllowed as SanicMethodNotAllowed
from sanic.exceptions import SanicException
from sanic.handlers import ErrorHandler
from sanic.response import HTTPResponse

from veza.errors import RateLimited, UnderMaintenance
from veza.http.envelope import ErrorBody, FieldError, JsonResponse, failure, success
from veza.http.errors import MethodNotAllowed, problem_of
from veza.http.request import Request

log = logging.getLogger(__name__)


class Methods(msgspec.Struct, frozen=True):
    """The answer to OPTIONS."""

    methods: list[str]


def error_response(request: Request, error: BaseException) -> JsonResponse:
    """The envelope that answers `error`. Failures of ours are logged, with what the answer does not say."""
    problem = problem_of(error)
    if problem.status == 500:
        log.error("request failed", exc_info=error)
    elif problem.status == 503 and not isinstance(error, UnderMaintenance):
        # With its class but without its text, which may hold an address.
        log.warning("request refused for now", extra={"reason": type(error).__name__})
    details = [FieldError(field, message) for field, message in problem.details]
    body = ErrorBody(
        error=problem.message,
        code=problem.code,
        request_id=request.request_id,
        details=details or msgspec.UNSET,
    )
    response = failure(body, problem.status)
    for name, value in problem.headers:
        response.headers[name] = value
    return response


def counted(app: Any, answer: Callable[..., Awaitable[HTTPResponse | None]]) -> Callable[..., Any]:
    """`answer`, for requests that the limits let in. The routes of a resource count theirs by themselves."""
    limits = app.ctx.limits
    if limits is None:
        return answer

    async def limited(request: Request, *args: Any, **segments: str) -> HTTPResponse | None:
        try:
            if (wait := limits.enter(request)) is not None:
                await wait
        except RateLimited as error:
            return error_response(request, error)
        return await answer(request, *args, **segments)

    return limited


class EnvelopeErrorHandler(ErrorHandler):
    """Answers what fails outside an endpoint: no route, no such method, a request that cannot be read."""

    def response(self, request: Any, exception: Any) -> Any:
        """The answer, or what is to be awaited for it."""
        limited = getattr(request.route and request.route.ctx, "limited", True)
        limits = request.app.ctx.limits
        if limits is not None and limited and request.standing is None:
            # It has met no limit yet, and counts like any other.
            return counted(request.app, self._answer)(request, exception)
        return self._answer_now(request, exception)

    async def _answer(self, request: Request, exception: Exception) -> HTTPResponse:
        return self._answer_now(request, exception)

    def _answer_now(self, request: Request, exception: Exception) -> HTTPResponse:
        if isinstance(exception, SanicMethodNotAllowed):
            allowed = _methods_at(request)
            if request.method == "OPTIONS":
                return _options(allowed)
            exception = MethodNotAllowed(allowed=allowed)
        return error_response(request, exception)


def _methods_at(request: Request) -> tuple[str, ...]:
    """The methods that the address has. Sanic's error names them only where all are one route's."""
    found = []
    for method in ("DELETE", "GET", "HEAD", "POST", "PUT"):
        try:
            request.app.router.get(request.path, method, None)
        except SanicException:
            continue
        found.append(method)
    return tuple(found)


def _options(allowed: tuple[str, ...]) -> JsonResponse:
    methods = sorted({*allowed, "OPTIONS"})
    response = success(Methods(methods))
    response.headers["Allow"] = ", ".join(methods)
    return response
