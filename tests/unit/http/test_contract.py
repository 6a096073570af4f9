"""Every declared route, as the OpenAPI document tells it."""

import re
from typing import Any

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
def test_parameters_are_those_of_the_path(route: Route) -> None:
    parameters = operation_of(route).get("parameters", [])
    places = [(parameter["in"], parameter["name"]) for parameter in parameters]
    assert len(set(places)) == len(places)
    in_path = {name for place, name in places if place == "path"}
    assert in_path == set(re.findall(r"{(\w+)}", path_of(route)))
    assert all(parameter["required"] for parameter in parameters if parameter["in"] == "path")


# -- the document ----------------------------------------------------------------------------------------------


def test_names_are_given_once_and_are_plain() -> None:
    # Deprecated ones are the same again, at the root.
    assert len(OPERATIONS) == len(ROUTES) + sum(route.legacy for route in ROUTES)
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
