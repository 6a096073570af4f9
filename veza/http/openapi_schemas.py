"""The schemas of an OpenAPI document: of each type that a route names, once, and examples of them."""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from veza.http.envelope import ErrorBody
from veza.http.examples import Examples
from veza.http.inputs import holds_time
from veza.http.routing import Route

_REF = "#/components/schemas/{name}"


class Schemas:
    """Schemas by type. Types are kept in a list: some, such as `dict[str, X]` of a struct, do not hash alike."""

    def __init__(self, routes: Iterable[Route]) -> None:
        """Raises TypeError for a type that has no JSON schema."""
        self._types: list[Any] = [ErrorBody]
        for route in routes:
            inputs = [given.type for given in (route.body, route.query) if given is not None]
            for kind in (*inputs, *([route.result] if route.result is not None else [])):
                if kind not in self._types:
                    self._types.append(kind)
        schemas, self.components = msgspec.json.schema_components(self._types, ref_template=_REF)
        self._schemas: Sequence[dict[str, Any]] = schemas
        for kind in msgspec.inspect.multi_type_info(self._types):
            _mark_times(kind, self.components, set())
        self._examples = Examples(self.components)

    def of(self, kind: Any) -> dict[str, Any]:
        return self._schemas[self._types.index(kind)]

    def content(self, kind: Any) -> dict[str, Any]:
        """The type and an example of it, as JSON."""
        schema = self.of(kind)
        return {"application/json": {"schema": schema, "example": self._examples.of(schema)}}

    def example(self, schema: dict[str, Any], name: str = "") -> Any:
        return self._examples.of(schema, name)


def _mark_times(kind: Any, components: dict[str, Any], seen: set[Any]) -> None:
    """Say of each field that holds a time that it does: msgspec says so only where a time zone is demanded."""
    if isinstance(kind, msgspec.inspect.StructType):
        if kind.cls in seen:
            return
        seen.add(kind.cls)
        properties = components[kind.cls.__name__]["properties"]
        for field in kind.fields:
            if holds_time(field.type):
                found = properties[field.encode_name]
                (found if "type" in found else found["anyOf"][0])["format"] = "date-time"
            _mark_times(field.type, components, seen)
    elif isinstance(kind, msgspec.inspect.UnionType):
        for each in kind.types:
            _mark_times(each, components, seen)
    elif isinstance(kind, msgspec.inspect.CollectionType):
        _mark_times(kind.item_type, components, seen)
    elif isinstance(kind, msgspec.inspect.DictType):
        _mark_times(kind.value_type, components, seen)
    elif isinstance(kind, msgspec.inspect.Metadata):
        _mark_times(kind.type, components, seen)


def flat_schema(fields: Any) -> dict[str, Any]:
    """The schema of a struct whose fields stand for themselves: of a query, or of a form."""
    found: dict[str, Any] = msgspec.json.schema(fields)
    definitions = found["$defs"]
    definition = dict(definitions[fields.__name__])
    # Enumerations are definitions too; here they are written out.
    definition["properties"] = {name: _inlined(field, definitions) for name, field in definition["properties"].items()}
    return definition


def _inlined(node: Any, definitions: dict[str, Any]) -> Any:
    if isinstance(node, list):
        return [_inlined(each, definitions) for each in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        rest = {name: value for name, value in node.items() if name != "$ref"}
        return {**_inlined(definitions[node["$ref"].rpartition("/")[2]], definitions), **rest}
    return {name: _inlined(value, definitions) for name, value in node.items()}
