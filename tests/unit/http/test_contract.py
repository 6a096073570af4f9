"""Every declared route, as the OpenAPI document tells it."""

import re
from collections.abc import Iterator
from typing import Any

import jsonschema
import msgspec
import pytest

from veza.http.errors import status_of
from veza.http.gateway import RESOURCES
from veza.http.openapi import openapi_document
from veza.http.routing import Route

ROUTES = [route for resource in RESOURCES for route in resource.routes]
DOCUMENT: dict[str, Any] = msgspec.json.decode(openapi_document(RESOURCES))
OPERATIONS = [operation for methods in DOCUMENT["paths"].values() for operation in methods.values()]
every_route = pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)


def path_of(route: Route) -> str:
    return re.sub(r"<(\w+)>", r"{\1}", route.pattern)


def operation_of(route: Route) -> dict[str, Any]:
    found: dict[str, Any] = DOCUMENT["paths"][path_of(route)][route.method.lower()]
    return found


def resolve(reference: str) -> Any:
    assert reference.startswith("#/"), reference
    node: Any = DOCUMENT
    for step in reference.removeprefix("#/").split("/"):
        node = node[step.replace("~1", "/").replace("~0", "~")]
    return node


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for value in node.values():
            yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def schemas() -> Iterator[dict[str, Any]]:
    """Every schema of the document that is not part of another."""
    yield from DOCUMENT["components"]["schemas"].values()
    for operation in OPERATIONS:
        yield from (parameter["schema"] for parameter in operation.get("parameters", ()))
        for holder in (operation.get("requestBody", {}), *operation["responses"].values()):
            yield from (media["schema"] for media in holder.get("content", {}).values())


# -- each route ------------------------------------------------------------------------------------------------


@every_route
def test_summary_and_group(route: Route) -> None:
    operation = operation_of(route)
    assert operation["summary"]
    assert len(operation["summary"]) <= 100
    assert operation["tags"] == [route.resource]


@every_route
def test_every_listed_error_is_answered_for(route: Route) -> None:
    responses = operation_of(route)["responses"]
    for error in route.errors:
        status = status_of(error)
        assert 400 <= status < 600
        assert status != 500, f"{error.__name__} has no status of its own"
        assert f"`{error.code}`" in responses[str(int(status))]["description"]


@every_route
def test_every_response_has_a_schema(route: Route) -> None:
    responses = operation_of(route)["responses"]
    assert str(route.status) in responses
    for status, response in responses.items():
        assert response["description"]
        for media_type, media in response["content"].items():
            schema = media["schema"]
            if int(status) >= 400:
                assert schema == {"$ref": "#/components/schemas/ErrorBody"}
            elif media_type == "application/json" and route.result is not None:
                assert schema["properties"]["success"] == {"const": True}
                assert schema["properties"]["data"], "`data` may be anything"
            else:
                assert schema == {"type": "string"}


@every_route
def test_parameters_are_those_of_the_path(route: Route) -> None:
    parameters = operation_of(route).get("parameters", [])
    places = [(parameter["in"], parameter["name"]) for parameter in parameters]
    assert len(set(places)) == len(places)
    in_path = {name for place, name in places if place == "path"}
    assert in_path == set(re.findall(r"{(\w+)}", path_of(route)))
    assert all(parameter["required"] for parameter in parameters if parameter["in"] == "path")


# -- the document ----------------------------------------------------------------------------------------------


def test_names_are_given_once_and_are_plain() -> None:
    assert len(OPERATIONS) == len(ROUTES)
    ids = [operation["operationId"] for operation in OPERATIONS]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[a-z]\w*", found) for found in ids)
    tags = [tag["name"] for tag in DOCUMENT["tags"]]
    assert len(set(tags)) == len(tags)
    # Two types of one name would have their modules in their names here.
    assert all(re.fullmatch(r"[A-Z][A-Za-z]+", name) for name in DOCUMENT["components"]["schemas"])


def test_two_paths_never_match_the_same_address() -> None:
    shapes = [re.sub(r"{\w+}", "{}", path) for path in DOCUMENT["paths"]]
    assert len(set(shapes)) == len(shapes)


def test_the_frame_is_openapi_3_1() -> None:
    assert re.fullmatch(r"3\.1\.\d", DOCUMENT["openapi"])
    assert set(DOCUMENT) <= {"openapi", "info", "servers", "tags", "paths", "components"}
    assert {"title", "version"} <= set(DOCUMENT["info"])
    methods = {method for path in DOCUMENT["paths"].values() for method in path}
    assert methods <= {"get", "put", "post", "delete", "patch"}
    fields = {"tags", "operationId", "summary", "description", "parameters", "requestBody", "responses", "security"}
    tags = {tag["name"] for tag in DOCUMENT["tags"]}
    schemes = DOCUMENT["components"]["securitySchemes"]
    for operation in OPERATIONS:
        assert set(operation) <= fields
        assert set(operation["tags"]) <= tags
        assert all(re.fullmatch(r"[1-5]\d\d", status) for status in operation["responses"])
        assert all(scheme in schemes for needed in operation["security"] for scheme in needed)


def test_schemas_are_json_schema_and_their_references_resolve() -> None:
    found = list(schemas())
    for schema in found:
        # The dialect that OpenAPI 3.1 takes as its own.
        jsonschema.Draft202012Validator.check_schema(schema)
    targets = [resolve(reference) for reference in set(references(DOCUMENT))]
    assert targets
    assert all(target in found for target in targets)
