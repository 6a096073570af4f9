"""The OpenAPI document and the page that shows it."""

import re
from collections.abc import Iterator
from typing import Any

import httpx
import msgspec
import pytest
from http_samples import sample_resource

from veza.http.context import Context
from veza.http.docs_page import ASSETS
from veza.http.openapi import openapi_document
from veza.http.routing import Resource


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return msgspec.json.decode(openapi_document([sample_resource]), type=dict[str, Any])


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if "$ref" in node:
            yield node["$ref"]
        for value in node.values():
            yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def test_every_reference_resolves(document: dict[str, Any]) -> None:
    found = set(references(document))
    assert "#/components/schemas/Song" in found
    for reference in found:
        node = document
        for step in reference.removeprefix("#/").split("/"):
            node = node[step]


def test_operations_are_those_declared(document: dict[str, Any]) -> None:
    assert document["openapi"] == "3.1.0"
    operations = [(method.upper(), path) for path, methods in document["paths"].items() for method in methods]
    declared = [(route.method, re.sub(r"<(\w+)>", r"{\1}", route.pattern)) for route in sample_resource.routes]
    assert sorted(operations) == sorted(declared)
    ids = [operation["operationId"] for methods in document["paths"].values() for operation in methods.values()]
    assert len(set(ids)) == len(ids)


def test_a_body_an_envelope_and_errors(document: dict[str, Any]) -> None:
    operation = document["paths"]["/api/v1/songs"]["post"]
    assert operation["summary"] == "Create a song"
    assert operation["description"] == "Its title has at most 20 characters."
    assert operation["security"] == []
    body = operation["requestBody"]["content"]["application/json"]["schema"]
    assert body == {"$ref": "#/components/schemas/Song"}
    answer = operation["responses"]["201"]["content"]["application/json"]["schema"]
    assert answer["properties"]["data"] == body
    assert answer["properties"]["success"] == {"const": True}
    assert {"400", "409", "413", "415", "429", "503"} <= set(operation["responses"])
    failure = operation["responses"]["409"]["content"]["application/json"]["schema"]
    assert failure == {"$ref": "#/components/schemas/ErrorBody"}
    assert document["components"]["schemas"]["Song"]["properties"]["title"]["maxLength"] == 20


def test_parameters_and_security(document: dict[str, Any]) -> None:
    listed = document["paths"]["/api/v1/songs"]["get"]["parameters"]
    limit = next(parameter for parameter in listed if parameter["name"] == "limit")
    assert (limit["in"], limit["required"]) == ("query", False)
    assert {"minimum": 1, "maximum": 100, "default": 20}.items() <= limit["schema"].items()
    removed = document["paths"]["/api/v1/songs/{song_id}"]["delete"]
    [song_id] = removed["parameters"]
    expected = {"name": "song_id", "in": "path", "required": True, "schema": {"type": "string", "format": "uuid"}}
    assert expected.items() <= song_id.items()
    assert removed["security"] == [{"bearer": []}, {"apiKey": []}]
    assert {"401", "403", "404"} <= set(removed["responses"])
    assert document["paths"]["/api/v1/maybe-me"]["get"]["security"][0] == {}
    assert document["components"]["securitySchemes"]["apiKey"]["name"] == "X-API-Key"


async def test_page_needs_nothing_from_elsewhere(client: httpx.AsyncClient) -> None:
    page = await client.get("/swagger")
    assert page.status_code == 200
    policy = page.headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=|https?://", page.text)
    for path in re.findall(r'(?:src|href)="([^"]+)"', page.text):
        found = await client.get(path)
        assert found.status_code == 200, path
        assert found.content
        assert found.headers["x-content-type-options"] == "nosniff"
    assert (await client.get("/swagger/openapi.json")).json()["openapi"] == "3.1.0"


async def test_assets_are_served_by_name_only(client: httpx.AsyncClient) -> None:
    for name in ASSETS:
        assert (await client.head(f"/swagger/{name}")).status_code == 200
    for path in ("/swagger/index.html", "/swagger/..%2f..%2fapp.py", "/swagger/swagger-ui.css.map"):
        assert (await client.get(path)).status_code == 404


async def test_wrong_declarations_are_refused() -> None:
    resource = Resource("wrong", "Wrong in several ways.")

    async def without_context(name: str) -> str:
        """No context."""
        return name

    async def without_return(ctx: Context):  # type: ignore[no-untyped-def]
        """No return annotation."""

    async def without_summary(ctx: Context) -> str:
        return ""

    async def other_segment(ctx: Context, other: str) -> str:
        """Another path parameter."""
        return other

    for handler in (without_context, without_return, without_summary, other_segment):
        with pytest.raises(TypeError):
            resource.get("/wrong/<name>" if handler is other_segment else "/wrong")(handler)
    assert resource.routes == []


class Picture(msgspec.Struct):
    """The fields beside the file."""

    title: str
    tags: str = ""


def test_an_upload_is_a_form_with_a_file() -> None:
    resource = Resource("pictures", "Pictures.")

    @resource.post("/pictures", status=201, upload=Picture)
    async def upload(ctx: Context) -> str:
        """Upload a picture."""
        return ctx.request_id

    document = msgspec.json.decode(openapi_document([resource]), type=dict[str, Any])
    operation = document["paths"]["/api/v1/pictures"]["post"]
    form = operation["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert form["required"] == ["file", "title"]
    assert form["properties"]["file"]["format"] == "binary"
    assert form["properties"]["tags"] == {"type": "string", "default": ""}
    assert operation["requestBody"]["required"] is True
    assert {"201", "400", "408", "413", "415"} <= set(operation["responses"])


def test_an_upload_has_no_other_body() -> None:
    resource = Resource("pictures", "Pictures.")

    async def upload(ctx: Context, body: Picture) -> str:
        """Upload a picture."""
        return body.title

    with pytest.raises(TypeError):
        resource.post("/pictures", upload=Picture)(upload)
