"""The live OpenAPI document, as far as an attacker reads it: what can be called, and where a value goes."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from system.running import Running

PREFIX = "/api/v1/"


@dataclass
class Operation:
    """One call. `body` is an example that is valid, None where there is no JSON body; `texts` are its string fields."""

    method: str
    path: str
    segments: tuple[str, ...]
    query: Mapping[str, Any]
    body: Any
    texts: tuple[str, ...]
    upload: bool
    security: Any = field(repr=False)

    @property
    def key(self) -> str:
        return f"{self.method} {self.path.removeprefix(PREFIX.rstrip('/'))}"

    def at(self, values: Mapping[str, str]) -> str:
        """The path below the API's prefix, with its segments filled in."""
        path = self.path.removeprefix(PREFIX)
        for name in self.segments:
            path = path.replace(f"{{{name}}}", values[name])
        return path


async def operations(system: Running) -> list[Operation]:
    """Everything under the API's prefix."""
    document = (await system.http.get(f"{system.url}/swagger/openapi.json")).json()
    return [
        _operation(document, method.upper(), path, found)
        for path, methods in document["paths"].items()
        for method, found in methods.items()
        # What a browser asks before it asks is about no object.
        if path.startswith(PREFIX) and method != "options"
    ]


def _operation(document: Any, method: str, path: str, found: Any) -> Operation:
    parameters = found.get("parameters", ())
    content = found.get("requestBody", {}).get("content", {})
    body = content.get("application/json")
    return Operation(
        method,
        path,
        tuple(each["name"] for each in parameters if each["in"] == "path"),
        {each["name"]: each.get("example") for each in parameters if each["in"] == "query"},
        body and body["example"],
        tuple(_texts(document, body["schema"])) if body else (),
        "multipart/form-data" in content,
        found["security"],
    )


def _texts(document: Any, schema: Any) -> Iterator[str]:
    """The names of the fields at the top of a body that may hold text, or a list of texts."""
    for each in (schema, *schema.get("anyOf", ())):
        if "$ref" in each:
            yield from _texts(document, document["components"]["schemas"][each["$ref"].rpartition("/")[2]])
        for name, kind in each.get("properties", {}).items():
            if '"string"' in json.dumps(kind) or "$ref" in json.dumps(kind):
                yield name
