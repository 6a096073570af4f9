"""The OpenAPI document leaves nothing out: each route, input and status is there, with a schema and an example."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
from http_harness import make_services
from openapi_spec_validator import OpenAPIV31SpecValidator

from veza.http.app import create_app, mount_socket, with_index
from veza.http.gateway import RESOURCES
from veza.http.openapi import openapi_document
from veza.http.routing import Auth

EVERYTHING = with_index(RESOURCES)
DOCUMENT: dict[str, Any] = msgspec.json.decode(openapi_document(EVERYTHING))
OPERATIONS = {
    f"{method.upper()} {path}": operation
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
}


def template(pattern: str) -> str:
    """The path of the document for a route's pattern, ours or Sanic's."""
    return re.sub(r"<(\w+)(:[^>]*)?>", r"{\1}", "/" + pattern.lstrip("/"))


ROUTES = {
    f"{route.method} {template(pattern)}": route
    for resource in EVERYTHING
    for route in resource.routes
    for pattern in (route.pattern, *([route.path] if route.legacy else []))
}
# Pages, files and the socket: what OpenAPI does not describe.
ELSEWHERE = re.compile(r"/swagger(/.*)?|/sdk/.*|/ws|/api/v1/ws")
# What has no example: bytes that are a file's own.
FILES = "*/*"

every_operation = pytest.mark.parametrize("key", OPERATIONS)


def validator(schema: dict[str, Any]) -> jsonschema.Draft202012Validator:
    """References are found below the schema itself."""
    whole = {**schema, "components": DOCUMENT["components"]}
    return jsonschema.Draft202012Validator(whole, format_checker=jsonschema.FormatChecker())


def examples_of(holder: dict[str, Any]) -> list[Any]:
    """The examples of a parameter, a header or a media type."""
    if "examples" in holder:
        return [example["value"] for example in holder["examples"].values()]
    return [holder["example"]] if "example" in holder else []


def check_examples(where: str, holder: dict[str, Any]) -> None:
    found = examples_of(holder)
    assert found, f"{where} has no example"
    for example in found:
        errors = [error.message for error in validator(holder["schema"]).iter_errors(example)]
        assert not errors, f"{where}: the example {example!r} is not valid: {errors}"


def media_of(operation: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    holders = {"the body": operation.get("requestBody", {}), **operation["responses"]}
    for where, holder in holders.items():
        for kind, media in holder.get("content", {}).items():
            yield where, kind, media


# -- the document ----------------------------------------------------------------------------------------------


def test_the_document_is_valid_openapi() -> None:
    errors = [f"{list(error.path)}: {error.message}" for error in OpenAPIV31SpecValidator(DOCUMENT).iter_errors()]
    assert errors == []


async def test_every_route_of_the_server_is_in_it(tmp_path: Path) -> None:
    app = create_app(make_services(tmp_path), RESOURCES)
    mount_socket(app, None)  # type: ignore[arg-type] - never called
    served = {
        f"{method} {template(route.path)}"
        for route in app.router.routes
        for method in route.methods
        if method not in ("HEAD", "OPTIONS")
    }
    missing = [key for key in served - set(OPERATIONS) if not ELSEWHERE.fullmatch(key.partition(" ")[2])]
    # Sanic knows one spelling of the root of the API, with and without a slash at its end.
    assert [key for key in missing if key != "GET /api/v1"] == []
    assert set(OPERATIONS) == set(ROUTES)


def test_every_tag_scheme_and_header_is_explained() -> None:
    assert DOCUMENT["info"]["description"]
    assert all(tag["description"] for tag in DOCUMENT["tags"])
    assert all(scheme["description"] for scheme in DOCUMENT["components"]["securitySchemes"].values())
    for name, header in DOCUMENT["components"]["headers"].items():
        assert header["description"]
        check_examples(name, header)


# -- each operation --------------------------------------------------------------------------------------------


@every_operation
def test_inputs(key: str) -> None:
    operation = OPERATIONS[key]
    for parameter in operation.get("parameters", ()):
        where = f"{key}, {parameter['in']} {parameter['name']}"
        assert parameter.get("description"), f"{where} has no description"
        check_examples(where, parameter)
    route = ROUTES[key]
    assert ("requestBody" in operation) == (route.body is not None or route.upload is not None)
    assert operation["summary"]


@every_operation
def test_every_content_has_a_schema_and_a_valid_example(key: str) -> None:
    for where, kind, media in media_of(OPERATIONS[key]):
        jsonschema.Draft202012Validator.check_schema(media["schema"])
        if kind != FILES:
            check_examples(f"{key}, {where}", media)


@every_operation
def test_every_json_answer_is_in_the_envelope(key: str) -> None:
    route = ROUTES[key]
    for status, response in OPERATIONS[key]["responses"].items():
        found = response.get("content", {})
        if int(status) >= 400 and int(status) not in route.also:
            assert found["application/json"]["schema"] == {"$ref": "#/components/schemas/ErrorBody"}
        elif route.result is None or route.bare or status == "304":
            continue
        else:
            schema = found["application/json"]["schema"]
            data = schema.get("anyOf", [schema])[0]["properties"]
            assert data["success"] == {"const": True}
            assert data["data"], "`data` may be anything"


@every_operation
def test_statuses(key: str) -> None:
    route, responses = ROUTES[key], OPERATIONS[key]["responses"]
    expected = {str(route.status), *map(str, route.also), "400", "503"}
    if route.limited or route.limit:
        expected.add("429")
    if route.auth is not Auth.NONE:
        expected |= {"401", "403"}
    if route.segments:
        expected.add("404")
    if route.body or route.upload:
        expected |= {"408", "413", "415"}
    if route.idempotent:
        expected.add("409")
    assert expected <= set(responses)
    assert "500" not in responses, "a failure of ours is no part of the contract"
    for status, response in responses.items():
        assert response["description"]
        assert bool(response.get("content")) == (status not in ("204", "304")), f"the content of {status}"


@every_operation
def test_headers(key: str) -> None:
    route, operation = ROUTES[key], OPERATIONS[key]
    for status, response in operation["responses"].items():
        headers = set(response["headers"])
        assert "X-Request-ID" in headers
        if route.limited or route.limit:
            assert headers >= {"X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"}
        if status == "429" or (status == "503" and 503 not in route.also):
            assert "Retry-After" in headers
        if status == "401":
            assert "WWW-Authenticate" in headers
        if operation.get("deprecated"):
            assert {"Deprecation", "Link"} <= headers
        for reference in response["headers"].values():
            assert reference["$ref"].removeprefix("#/components/headers/") in DOCUMENT["components"]["headers"]


@every_operation
def test_authentication(key: str) -> None:
    route, security = ROUTES[key], OPERATIONS[key]["security"]
    if route.auth is Auth.NONE:
        assert security == []
    else:
        assert {"bearer": []} in security
        assert ({} in security) == (route.auth is Auth.OPTIONAL)


@every_operation
def test_a_deprecated_address_names_its_successor(key: str) -> None:
    route, operation = ROUTES[key], OPERATIONS[key]
    at_root = key == f"{route.method} {route.path}" and route.legacy
    assert operation.get("deprecated", False) == at_root
    if at_root:
        assert route.pattern in operation["description"]
