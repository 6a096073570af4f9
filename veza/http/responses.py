"""Errors as responses: for the endpoints, and for what fails before one is found."""

import logging
from typing import Any

import msgspec
from sanic.exceptions import MethodNotAllowed as SanicMethodNotAllowed
from sanic.handlers import ErrorHandler
from sanic.response import HTTPResponse

from veza.http.envelope import ErrorBody, FieldError, JsonResponse, failure, success
from veza.http.errors import problem_of, translate
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
    elif problem.status == 503:
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


class EnvelopeErrorHandler(ErrorHandler):
    """Answers what fails outside an endpoint: no route, no such method, a request that cannot be read."""

    def response(self, request: Any, exception: Any) -> HTTPResponse:
        if isinstance(exception, SanicMethodNotAllowed) and request.method == "OPTIONS":
            return _options(translate(exception).args[1])
        return error_response(request, exception)


def _options(allowed: tuple[str, ...]) -> JsonResponse:
    methods = sorted({*allowed, "OPTIONS"})
    response = success(Methods(methods))
    response.headers["Allow"] = ", ".join(methods)
    return response
