"""The OpenAPI 3.1 document, made from the declared routes and the types they name."""

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from veza import __version__
from veza.errors import CsrfInvalid
from veza.http.openapi_answers import HEADERS, answers
from veza.http.openapi_schemas import Schemas, flat_schema
from veza.http.routing import Auth, Resource, Route, segment_schema

_SEGMENT = re.compile(r"<(\w+)>")

_ABOUT = """\
Every answer is `{"success": true, "data": …}` or `{"success": false, "error": …, "code": …, "request_id": …}`; the few
that are not are shown as they are. `code` is stable, `error` is a sentence for a person.

Beside what each call lists, the server itself answers 404 for an address that there is not, 405 with `Allow` for a
method that it does not have, 408 for a request that does not arrive in time, and 413 for one that is too large, all in
the same form. Times are RFC 3339 in UTC, ids are UUIDs. Fields that are not listed are ignored.

`Sec-GPC: 1` (Global Privacy Control) is honoured with every request, and answered `GPC: 1`.

The realtime socket is at `/ws`; its protocol is described apart from this.
"""

_SECURITY_SCHEMES = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "The access token of `POST /auth/login` or `/auth/register`.",
    },
    "apiKey": {
        "type": "apiKey",
        "in": "header",
        "name": "X-API-Key",
        "description": "A key of `POST /developer/api-keys`, with the scope `read` for GET and `write` for all else.",
    },
}
# Of a route that takes a cookie for a credential where there is no other.
_OF_COOKIES = (
    {
        "name": "veza_refresh",
        "in": "cookie",
        "required": False,
        "schema": {"type": "string"},
        "description": "The refresh token, where neither a header nor the body has a credential.",
        "example": "cmVmcmVzaC10b2tlbg",
    },
    {
        "name": "X-CSRF-Token",
        "in": "header",
        "required": False,
        "schema": {"type": "string"},
        "description": "With the cookie alone: what the cookie `csrf_token` holds, from `GET /csrf-token`.",
        "example": "5f2a0c1e9b7d4a68.9c1f3b",
    },
)
_OF_DOWNLOAD = {
    "Range": ("Which part to send.", "bytes=0-99"),
    "If-Range": ("The ETag for which Range is meant; of another version the whole is sent.", '"9f86d081"'),
    "If-None-Match": ("The ETag that the caller has; 304 when it is still that.", '"9f86d081"'),
}


def openapi_document(resources: Sequence[Resource]) -> bytes:
    """The document as JSON. Raises TypeError for a type that has no JSON schema."""
    routes = [route for resource in resources for route in resource.routes]
    schemas = Schemas(routes)
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(_template(route.pattern), {})[route.method.lower()] = _operation(route, schemas)
    for route in routes:
        if route.legacy:
            paths.setdefault(_template(route.path), {})[route.method.lower()] = _operation(
                route, schemas, deprecated=True
            )
    document = {
        "openapi": "3.1.0",
        "info": {"title": "Veza API", "version": __version__, "description": _ABOUT},
        "servers": [{"url": "/"}],
        "tags": [{"name": resource.name, "description": resource.summary} for resource in resources],
        "paths": paths,
        "components": {"schemas": schemas.components, "headers": HEADERS, "securitySchemes": _SECURITY_SCHEMES},
    }
    return msgspec.json.encode(document)


def _template(pattern: str) -> str:
    return _SEGMENT.sub(r"{\1}", pattern)


def _operation(route: Route, schemas: Schemas, *, deprecated: bool = False) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "tags": [route.resource],
        "operationId": re.sub(r"\W", "_", route.name) + ("_at_root" if deprecated else ""),
        "summary": route.summary,
        "responses": answers(route, schemas, deprecated=deprecated),
        "security": _security(route),
    }
    if description := _description(route, deprecated=deprecated):
        operation["description"] = description
    if deprecated:
        operation["deprecated"] = True
    parameters = [*_path_parameters(route, schemas), *_query_parameters(route, schemas), *_header_parameters(route)]
    if parameters:
        operation["parameters"] = parameters
    if route.body is not None:
        operation["requestBody"] = {"required": route.body.required, "content": schemas.content(route.body.type)}
    if route.upload is not None:
        operation["requestBody"] = {"required": True, "content": {"multipart/form-data": _form(route.upload, schemas)}}
    return operation


def _description(route: Route, *, deprecated: bool) -> str:
    parts = [route.description]
    if deprecated:
        parts = [f"Deprecated: use `{route.pattern}`."]
    elif route.auth.role is not None and route.auth is not Auth.USER:
        parts.append(f"For the role `{route.auth.value}` and those above it.")
    if route.limit is not None:
        whose = {"address": "from an address", "user": "of a user", "all": "of all together"}[route.limit.per]
        parts.append(f"At most {route.limit.limit} requests {whose} in {route.limit.period_s} s.")
    return "\n\n".join(part for part in parts if part)


def _form(fields: Any, schemas: Schemas) -> dict[str, Any]:
    """A form with a file."""
    definition = flat_schema(fields)
    file = {"type": "string", "format": "binary", "minLength": 1, "contentMediaType": "application/octet-stream"}
    schema = {
        "type": "object",
        "properties": {"file": file, **definition["properties"]},
        "required": ["file", *definition.get("required", ())],
    }
    example = {name: schemas.example(field, name) for name, field in definition["properties"].items()}
    return {"schema": schema, "example": {"file": "(the bytes of the file)", **example}}


def _security(route: Route) -> list[dict[str, list[str]]]:
    schemes: list[dict[str, list[str]]] = [{name: []} for name in (("bearer", "apiKey") if route.keys else ("bearer",))]
    if route.auth is Auth.NONE:
        return []
    # An empty requirement is OpenAPI's way to say that none is needed.
    return [{}, *schemes] if route.auth is Auth.OPTIONAL else schemes


def _path_parameters(route: Route, schemas: Schemas) -> list[dict[str, Any]]:
    found = []
    for name, kind in route.segments.items():
        schema = segment_schema(kind)
        what = name.removesuffix("_id").replace("_", " ")
        found.append(
            {
                "name": name,
                "in": "path",
                "required": True,
                "description": f"Which {what}." if name.endswith("_id") else f"The {what}.",
                "schema": schema,
                "example": schemas.example(schema, name),
            }
        )
    return found


def _query_parameters(route: Route, schemas: Schemas) -> list[dict[str, Any]]:
    if route.query is None:
        return []
    definition = flat_schema(route.query.type)
    required = set(definition.get("required", ()))
    found = []
    for name, schema in definition["properties"].items():
        parameter = {"name": name, "in": "query", "required": name in required, "schema": schema}
        if description := _described(schema):
            parameter["description"] = description
        found.append({**parameter, "example": schemas.example(schema, name)})
    return found


def _described(schema: dict[str, Any]) -> str:
    """The description of a field, wherever its type has it."""
    choices = schema.get("anyOf", ())
    return str(
        schema.get("description") or next((each["description"] for each in choices if "description" in each), "")
    )


def _header_parameters(route: Route) -> list[dict[str, Any]]:
    found = []
    if route.idempotent:
        found.append(
            {
                "name": "Idempotency-Key",
                "in": "header",
                "required": False,
                "schema": {"type": "string", "pattern": "^[!-~]{1,128}$"},
                "description": "The same key with the same request gets the first answer, for 24 hours.",
                "example": "order-2026-02-23-1",
            }
        )
    if CsrfInvalid in route.errors:
        found += _OF_COOKIES
    for name, (description, example) in _OF_DOWNLOAD.items() if route.download else ():
        parameter = {"name": name, "in": "header", "required": False, "schema": {"type": "string"}}
        found.append({**parameter, "description": description, "example": example})
    return found
