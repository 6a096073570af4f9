"""What a route answers, for the OpenAPI document: each status with its schema, its headers and examples."""

from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

import msgspec

from veza.errors import (
    Conflict,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    RateLimited,
    Unauthenticated,
    Unavailable,
    UnderMaintenance,
    VezaError,
)
from veza.http.envelope import ErrorBody
from veza.http.errors import PayloadTooLarge, RangeNotSatisfiable, RequestTimedOut, UnsupportedMediaType, status_of
from veza.http.openapi_schemas import Schemas
from veza.http.routing import Auth, Route
from veza.http.switches import stays_open

_COUNT = {"type": "integer", "minimum": 0}
_TEXT = {"type": "string"}

# Every header that an answer of some route may have, beside those that all HTTP has and the security headers.
HEADERS: dict[str, dict[str, Any]] = {
    "X-Request-ID": {
        "description": "The id that the request came with when well-formed, else a new one. Logs carry it too.",
        "required": True,
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$"},
        "example": "0190a5c4-6b1e-7cc3-98c4-000000000001",
    },
    "X-RateLimit-Limit": {
        "description": "How many requests pass in a window: by the route's limit of its own, else of an address.",
        "schema": _COUNT,
        "example": 100,
    },
    "X-RateLimit-Remaining": {
        "description": "How many more pass now; through another gateway it may be more.",
        "schema": _COUNT,
        "example": 99,
    },
    "X-RateLimit-Reset": {
        "description": "When the next window begins, in Unix seconds.",
        "schema": _COUNT,
        "example": 1771848000,
    },
    "Retry-After": {
        "description": "After how many seconds to try again.",
        "required": True,
        "schema": {"type": "integer", "minimum": 1},
        "example": 1,
    },
    "WWW-Authenticate": {
        "description": "Which credential is asked for.",
        "required": True,
        "schema": _TEXT,
        "example": 'Bearer realm="veza"',
    },
    "Deprecation": {
        "description": "Since when this address is deprecated (RFC 9745).",
        "required": True,
        "schema": {"type": "string", "pattern": "^@[0-9]+$"},
        "example": "@1771804800",
    },
    "Link": {
        "description": "The address to use instead.",
        "required": True,
        "schema": _TEXT,
        "example": '</api/v1/health>; rel="successor-version"',
    },
    "Set-Cookie": {
        "description": "A cookie that is set or removed.",
        "schema": _TEXT,
        "example": "veza_refresh=…; Path=/api/v1; HttpOnly; SameSite=Lax",
    },
    "Idempotent-Replayed": {
        "description": "This is the answer that the first request with this key got.",
        "schema": {"const": "true"},
        "example": "true",
    },
    "ETag": {
        "description": "Names this version of the content.",
        "schema": {"type": "string", "pattern": '^"[0-9a-f]+"$'},
        "example": '"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"',
    },
    "Accept-Ranges": {"description": "Parts can be asked for.", "schema": {"const": "bytes"}, "example": "bytes"},
    "Content-Disposition": {
        "description": "The name to save the file by.",
        "schema": _TEXT,
        "example": "attachment; filename=\"aria.flac\"; filename*=UTF-8''aria.flac",
    },
    "Content-Range": {
        "description": "Which part this is, or how large the whole is.",
        "required": True,
        "schema": {"type": "string", "pattern": "^bytes "},
        "example": "bytes 0-99/48000",
    },
}
_RATES = ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset")
_OF_DOWNLOAD = {
    200: ("ETag", "Accept-Ranges", "Content-Disposition"),
    206: ("ETag", "Accept-Ranges", "Content-Disposition", "Content-Range"),
    304: ("ETag", "Accept-Ranges"),
    416: ("Content-Range",),
}
# Of content that is shown as it is.
_SAMPLES = {
    "text/plain": 'veza_http_requests_total{method="GET",route="/api/v1/health",status="200"} 1.0\n',
    "application/pdf": "%PDF-1.4 …",
    "application/vnd.apple.mpegurl": "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-STREAM-INF:BANDWIDTH=2000000\nlive.m3u8\n",
}


def answers(route: Route, schemas: Schemas, *, deprecated: bool) -> dict[str, Any]:
    """The responses object of an operation."""
    wanted = {route.status, *route.also, *((206, 304) if route.download else ())}
    found = {status: _answer(route, status, schemas) for status in wanted}
    for status, kinds in _by_status(route).items():
        refused = _refusal(kinds, schemas)
        if status in found:
            refused = _either(found[status], refused)
        found[status] = refused
    for status, response in found.items():
        names = _headers(route, status, deprecated=deprecated)
        response["headers"] = {name: {"$ref": f"#/components/headers/{name}"} for name in names}
    return {str(status): found[status] for status in sorted(found)}


def _headers(route: Route, status: int, *, deprecated: bool) -> tuple[str, ...]:
    names = ["X-Request-ID", *(_RATES if route.limited or route.limit else ())]
    if status == HTTPStatus.UNAUTHORIZED:
        names.append("WWW-Authenticate")
    if status == HTTPStatus.TOO_MANY_REQUESTS or (
        status == HTTPStatus.SERVICE_UNAVAILABLE and status not in route.also
    ):
        names.append("Retry-After")
    if route.idempotent:
        names.append("Idempotent-Replayed")
    if route.download:
        names += _OF_DOWNLOAD.get(status, ())
    if deprecated:
        names += ["Deprecation", "Link"]
    return (*names, *(route.headers if status < 400 else ()))


def _answer(route: Route, status: int, schemas: Schemas) -> dict[str, Any]:
    description = HTTPStatus(status).phrase
    if status in {HTTPStatus.NOT_MODIFIED, HTTPStatus.NO_CONTENT}:
        return {"description": description}
    if route.result is None:
        content: dict[str, Any] = {"schema": dict(_TEXT)}
        if route.produces in _SAMPLES:
            content["example"] = _SAMPLES[route.produces]
        return {"description": description, "content": {route.produces: content}}
    data = schemas.of(route.result)
    if route.bare:
        return {"description": description, "content": schemas.content(route.result)}
    envelope = {
        "type": "object",
        "properties": {"success": {"const": True}, "data": data},
        "required": ["success", "data"],
    }
    example = {"success": True, "data": schemas.example(data)}
    return {"description": description, "content": {"application/json": {"schema": envelope, "example": example}}}


def _refusal(kinds: Iterable[type[VezaError]], schemas: Schemas) -> dict[str, Any]:
    examples = {kind.code: {"value": _example(kind)} for kind in kinds}
    return {
        "description": "; ".join(f"`{kind.code}`: {kind.default_message}" for kind in kinds),
        "content": {"application/json": {"schema": schemas.of(ErrorBody), "examples": examples}},
    }


def _example(kind: type[VezaError]) -> dict[str, Any]:
    body = ErrorBody(error=kind.default_message, code=kind.code, request_id="0190a5c4-6b1e-7cc3-98c4-000000000001")
    shown: dict[str, Any] = msgspec.to_builtins(body)
    if kind is InvalidArgument:
        shown["details"] = [{"field": "limit", "message": "Expected `int` <= 100"}]
    return shown


def _either(answer: dict[str, Any], refusal: dict[str, Any]) -> dict[str, Any]:
    """Both under one status: the answer itself, or that there is none."""
    first, second = answer["content"]["application/json"], refusal["content"]["application/json"]
    return {
        "description": f"The same data; or {refusal['description']}",
        "content": {
            "application/json": {
                "schema": {"anyOf": [first["schema"], second["schema"]]},
                "examples": {"answer": {"value": first["example"]}, **second["examples"]},
            }
        },
    }


def _by_status(route: Route) -> dict[int, list[type[VezaError]]]:
    found: dict[int, dict[str, type[VezaError]]] = {}
    for kind in (*route.errors, *_implied(route)):
        found.setdefault(int(status_of(kind)), {}).setdefault(kind.code, kind)
    return {status: list(kinds.values()) for status, kinds in sorted(found.items())}


def _implied(route: Route) -> list[type[VezaError]]:
    """The errors that follow from the form of a route, so that nobody has to declare them."""
    # Also without inputs: a path or a query that is no text.
    found: list[type[VezaError]] = [InvalidArgument]
    if route.body is not None or route.upload is not None:
        found += [PayloadTooLarge, UnsupportedMediaType, RequestTimedOut]
    if route.auth is not Auth.NONE:
        # The second for who is banned, and for an API key without the scope.
        found += [Unauthenticated, PermissionDenied]
    if route.segments:
        found.append(NotFound)
    if route.idempotent:
        found.append(Conflict)
    if route.download:
        found.append(RangeNotSatisfiable)
    if not stays_open(route.path):
        found.append(UnderMaintenance)
    if route.limited or route.limit:
        found.append(RateLimited)
    return [*found, Unavailable]
