"""`docs/api.md`: the OpenAPI document as a page to read."""

import json
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any

_HEAD = """\
# API

Made from the routes by `make docs`; a running server shows the same at `/swagger`, and `veza openapi` prints the
document. A `?` marks what may be left out.
"""


def markdown(document: Mapping[str, Any]) -> str:
    """The page."""
    return "\n".join([_HEAD, document["info"]["description"], *_contents(document), *_areas(document)])


def _operations(document: Mapping[str, Any], tag: str) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if tag in operation["tags"] and not operation.get("deprecated"):
                yield method.upper(), path, operation


def _contents(document: Mapping[str, Any]) -> Iterator[str]:
    yield "| area | what |\n|---|---|"
    for tag in document["tags"]:
        yield f"| [{tag['name']}](#{tag['name']}) | {tag['description']} |"
    yield ""
    old = [
        path for path, methods in document["paths"].items() if any(each.get("deprecated") for each in methods.values())
    ]
    if old:
        listed = ", ".join(f"`{path}`" for path in old)
        yield f"Also at the root, deprecated, with `Deprecation` and `Link` headers: {listed}.\n"


def _areas(document: Mapping[str, Any]) -> Iterator[str]:
    for tag in document["tags"]:
        yield f"## {tag['name']}\n\n{tag['description']}\n"
        for method, path, operation in _operations(document, tag["name"]):
            yield from _operation(document, method, path, operation)


def _operation(document: Mapping[str, Any], method: str, path: str, operation: Mapping[str, Any]) -> Iterator[str]:
    yield f"### {method} {path}\n\n{operation['summary']}.\n"
    if "description" in operation:
        yield operation["description"] + "\n"
    yield f"**Credential:** {_credential(operation['security'])}\n"
    if parameters := operation.get("parameters"):
        yield "| parameter | in | type | |\n|---|---|---|---|"
        for each in parameters:
            name = f"`{each['name']}`" + ("" if each["required"] else "?")
            yield f"| {name} | {each['in']} | {_type(each['schema'])} | {each['description']} |"
        yield ""
    if body := operation.get("requestBody"):
        yield from _body(document, body)
    yield from _responses(operation["responses"])


def _credential(security: list[Mapping[str, Any]]) -> str:
    if not security:
        return "none"
    names = " or ".join(
        {"bearer": "access token", "apiKey": "API key"}.get(name, name) for each in security for name in each
    )
    return f"{names}, or none" if {} in security else names


def _body(document: Mapping[str, Any], body: Mapping[str, Any]) -> Iterator[str]:
    [(kind, media)] = body["content"].items()
    yield f"**Body**{'' if body['required'] else ' (may be left out)'}, `{kind}`:\n"
    schema = _resolved(document, media["schema"])
    if "properties" in schema:
        required = schema.get("required", ())
        yield "| field | type | |\n|---|---|---|"
        for name, field in schema["properties"].items():
            mark = "" if name in required else "?"
            yield f"| `{name}`{mark} | {_type(field)} | {_notes(field)} |"
        yield ""
    if about := schema.get("description"):
        yield f"{' '.join(about.split())}\n"
    if kind == "application/json":
        yield _block(media["example"])


def _responses(responses: Mapping[str, Any]) -> Iterator[str]:
    for status, response in responses.items():
        if int(status) >= 400:
            continue
        media = response.get("content", {}).get("application/json")
        title = f"**{status} {HTTPStatus(int(status)).phrase}**"
        if media is None:
            kinds = ", ".join(f"`{kind}`" for kind in response.get("content", ()))
            yield f"{title}{': ' + kinds if kinds else ''}\n"
        elif "example" in media:
            yield f"{title}:\n\n{_block(media['example'])}"
    refused = [f"{status} {_codes(response)}" for status, response in responses.items() if int(status) >= 400]
    yield f"**Refused:** {'; '.join(refused)}\n"


def _codes(response: Mapping[str, Any]) -> str:
    examples = response["content"]["application/json"]["examples"]
    return ", ".join(f"`{code}`" for code in examples if code != "answer")


def _block(example: Any) -> str:
    return f"```json\n{json.dumps(example, indent=2, ensure_ascii=False)}\n```\n"


def _resolved(document: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schema itself, behind references and `null`."""
    for each in schema.get("anyOf", ()):
        if each.get("type") != "null":
            return _resolved(document, each)
    if "$ref" not in schema:
        return schema
    found: Mapping[str, Any] = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return found


def _type(schema: Mapping[str, Any]) -> str:
    if "$ref" in schema:
        return str(schema["$ref"].rpartition("/")[2])
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if choices := schema.get("anyOf"):
        return " or ".join(_type(each) for each in choices)
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}))}"
    return str(schema.get("format") or schema.get("type") or "anything")


def _notes(schema: Mapping[str, Any]) -> str:
    """Bounds, default and description."""
    words = {
        "minLength": "at least {} long",
        "maxLength": "at most {} long",
        "minimum": "from {}",
        "maximum": "up to {}",
        "maxItems": "at most {}",
        "default": "default `{}`",
    }
    found = [text.format(json.dumps(schema[name])) for name, text in words.items() if name in schema]
    found += [notes for each in schema.get("anyOf", ()) if (notes := _notes(each))]
    return "; ".join([*found, *([schema["description"]] if "description" in schema else [])])
