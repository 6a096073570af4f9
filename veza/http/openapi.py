"""The OpenAPI 3.1 document, made from the declared routes and the types they name."""

import re
from collections.abc import Iterable, Sequence
from http import HTTPStatus
from typing import Any

import msgspec

from veza import __version__
from veza.errors import (
    InvalidArgument,
    NotFound,
    PermissionDenied,
    RateLimited,
    Unauthenticated,
    Unavailable,
    VezaError,
)
from veza.http.envelope import ErrorBody
from veza.http.errors import PayloadTooLarge, RequestTimedOut, UnsupportedMediaType, status_of
from veza.http.routing import Auth, Resource, Route, segment_schema

_REF = "#/components/schemas/{name}"
_SEGMENT = re.compile(r"<(\w+)>")

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
        "description": "A key of `POST /developer/api-keys`.",
    },
}


def openapi_document(resources: Sequence[Resource]) -> bytes:
    """The document as JSON. Raises TypeError for a type that has no JSON schema."""
    routes = [route for resource in resources for route in resource.routes]
    schemas, components = _schemas(routes)
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        path = _SEGMENT.sub(r"{\1}", route.pattern)
        paths.setdefault(path, {})[route.method.lower()] = _operation(route, schemas)
    document = {
        "openapi": "3.1.0",
        "info": {
            "title": "Veza API",
            "version": __version__,
            "description": (
                'Every answer is `{"success": true, "data": …}` or `{"success": false, "error": …, "code": …}`.'
            ),
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": resource.name, "description": resource.summary} for resource in resources],
        "paths": paths,
        "components": {"schemas": components, "securitySchemes": _SECURITY_SCHEMES},
    }
    return msgspec.json.encode(document)


class _Schemas:
    """Schemas by type. Types are kept in a list: some, such as `dict[str, X]` of a struct, do not hash alike."""

    def __init__(self, types: list[Any], schemas: Sequence[dict[str, Any]]) -> None:
        self._types = types
        self._schemas = schemas

    def of(self, kind: Any) -> dict[str, Any]:
        return self._schemas[self._types.index(kind)]


def _schemas(routes: Iterable[Route]) -> tuple[_Schemas, dict[str, Any]]:
    types: list[Any] = [ErrorBody]
    for route in routes:
        inputs = [given.type for given in (route.body, route.query) if given is not None]
        for kind in (*inputs, *([route.result] if route.result is not None else [])):
            if kind not in types:
                types.append(kind)
    schemas, components = msgspec.json.schema_components(types, ref_template=_REF)
    return _Schemas(types, schemas), components


def _operation(route: Route, schemas: _Schemas) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "tags": [route.resource],
        "operationId": route.name.replace(".", "_").replace("-", "_"),
        "summary": route.summary,
        "responses": _responses(route, schemas),
        "security": _security(route.auth),
    }
    if route.description:
        operation["description"] = route.description
    parameters = [*_path_parameters(route), *_query_parameters(route), *_header_parameters(route)]
    if parameters:
        operation["parameters"] = parameters
    if route.body is not None:
        operation["requestBody"] = {
            "required": route.body.required,
            "content": {"application/json": {"schema": schemas.of(route.body.type)}},
        }
    if route.upload is not None:
        operation["requestBody"] = {
            "required": True,
            "content": {"multipart/form-data": {"schema": _form(route.upload)}},
        }
    return operation


def _form(fields: Any) -> dict[str, Any]:
    """The schema of a form with a file; like a query struct, its fields are flat."""
    definition = msgspec.json.schema(fields)["$defs"][fields.__name__]
    file = {"type": "string", "contentMediaType": "application/octet-stream"}
    return {
        "type": "object",
        "properties": {"file": file, **definition["properties"]},
        "required": ["file", *definition.get("required", ())],
    }


def _security(auth: Auth) -> list[dict[str, list[str]]]:
    schemes: list[dict[str, list[str]]] = [{"bearer": []}, {"apiKey": []}]
    if auth is Auth.NONE:
        return []
    # An empty requirement is OpenAPI's way to say that none is needed.
    return [{}, *schemes] if auth is Auth.OPTIONAL else schemes


def _path_parameters(route: Route) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": segment_schema(kind)}
        for name, kind in route.segments.items()
    ]


def _query_parameters(route: Route) -> list[dict[str, Any]]:
    if route.query is None:
        return []
    # A query struct is flat: each field is a parameter of its own.
    inline = msgspec.json.schema(route.query.type)
    definition = inline["$defs"][route.query.type.__name__]
    required = set(definition.get("required", ()))
    return [
        {"name": name, "in": "query", "required": name in required, "schema": schema}
        for name, schema in definition["properties"].items()
    ]


def _header_parameters(route: Route) -> list[dict[str, Any]]:
    if not route.idempotent:
        return []
    schema = {"type": "string", "minLength": 1, "maxLength": 128}
    description = "The same key with the same request gets the first answer, for 24 hours."
    return [
        {"name": "Idempotency-Key", "in": "header", "required": False, "schema": schema, "description": description}
    ]


def _responses(route: Route, schemas: _Schemas) -> dict[str, Any]:
    responses: dict[str, Any] = {str(route.status): _answer(route, schemas)}
    by_status: dict[int, list[type[VezaError]]] = {}
    for kind in dict.fromkeys((*route.errors, *_implied(route))):
        by_status.setdefault(int(status_of(kind)), []).append(kind)
    for status, kinds in sorted(by_status.items()):
        sentences = "; ".join(f"`{kind.code}`: {kind.default_message}" for kind in kinds)
        responses[str(status)] = {
            "description": sentences,
            "content": {"application/json": {"schema": schemas.of(ErrorBody)}},
        }
    return responses


def _answer(route: Route, schemas: _Schemas) -> dict[str, Any]:
    description = HTTPStatus(route.status).phrase
    if route.result is None:
        return {"description": description, "content": {route.produces: {"schema": {"type": "string"}}}}
    envelope = {
        "type": "object",
        "properties": {"success": {"const": True}, "data": schemas.of(route.result)},
        "required": ["success", "data"],
    }
    return {"description": description, "content": {"application/json": {"schema": envelope}}}


def _implied(route: Route) -> list[type[VezaError]]:
    """The errors that follow from the form of a route, so that nobody has to declare them."""
    found: list[type[VezaError]] = []
    if route.body is not None or route.query is not None:
        found.append(InvalidArgument)
    if route.body is not None or route.upload is not None:
        found += [PayloadTooLarge, UnsupportedMediaType]
    if route.upload is not None:
        found += [InvalidArgument, RequestTimedOut]
    if route.auth is not Auth.NONE:
        found.append(Unauthenticated)
    if route.auth not in {Auth.NONE, Auth.OPTIONAL, Auth.USER}:
        found.append(PermissionDenied)
    if route.segments:
        found.append(NotFound)
    return [*found, RateLimited, Unavailable]
