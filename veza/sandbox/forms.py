"""Stripe's forms: `metadata[order]=7` in a body or query, read into nested mappings and checked field by field."""

from itertools import pairwise
from typing import Any
from urllib.parse import parse_qsl

from veza.sandbox.desk import Problem, Reply, said

MOST_FIELDS = 1000
DEEPEST = 6
MOST_METADATA, LONGEST_METADATA_KEY, LONGEST_METADATA_VALUE = 50, 40, 500
LONGEST_TEXT = 5000


def error(
    status: int, message: str, *, code: str | None = None, param: str | None = None, kind: str = "invalid_request_error"
) -> Reply:
    """An error in Stripe's form."""
    told = {"type": kind, "code": code, "message": message, "param": param}
    return said({"error": {name: value for name, value in told.items() if value is not None}}, status)


def invalid(message: str, *, code: str | None = None, param: str | None = None) -> Problem:
    """The request itself is wrong: nothing is kept of it."""
    return Problem(error(400, message, code=code, param=param), lasting=False)


def parse(raw: bytes) -> dict[str, Any]:
    """A form as nested mappings and lists. Raises Problem."""
    try:
        pairs = parse_qsl(
            raw.decode(), keep_blank_values=True, errors="strict", max_num_fields=MOST_FIELDS, encoding="utf-8"
        )
    except ValueError as problem:
        raise invalid("Invalid request (check that your POST content type is correct).") from problem
    tree: dict[str, Any] = {}
    for name, value in pairs:
        _put(tree, name, value)
    return tree


def _put(tree: dict[str, Any], name: str, value: str) -> None:
    steps = name.replace("]", "").split("[")
    if len(steps) > DEEPEST or not steps[0]:
        raise invalid(f"Invalid parameter: {name[:100]}", param=name[:100])
    node = tree
    for step, following in pairwise(steps):
        node = node.setdefault(step, [] if not following else {})
        if isinstance(node, list) and not following:
            node.append(value)
            return
        if not isinstance(node, dict):
            raise invalid(f"Invalid parameter: {name[:100]}", param=name[:100])
    node[steps[-1]] = value


class Params:
    """The fields of one form; asking for one that is wrong raises Problem as Stripe words it."""

    def __init__(self, tree: dict[str, Any]) -> None:
        self.tree = tree

    def only(self, *names: str) -> None:
        for name in self.tree:
            if name not in names:
                raise invalid(f"Received unknown parameter: {name}", code="parameter_unknown", param=name)

    def text(self, name: str) -> str | None:
        """Stripe takes an empty text for none."""
        value = self.tree.get(name)
        if value is not None and not isinstance(value, str):
            raise invalid(f"Invalid string: {name}", param=name)
        if value is not None and len(value) > LONGEST_TEXT:
            raise invalid(f"Invalid string: {name} must be at most {LONGEST_TEXT} characters", param=name)
        return value or None

    def need(self, name: str) -> str:
        value = self.text(name)
        if value is None:
            raise invalid(f"Missing required param: {name}.", code="parameter_missing", param=name)
        return value

    def integer(self, name: str, *, least: int, most: int) -> int | None:
        value = self.text(name)
        if value is None:
            return None
        if not (value.removeprefix("-").isascii() and value.removeprefix("-").isdigit()) or len(value) > 18:
            raise invalid(f"Invalid integer: {value[:40]}", code="parameter_invalid_integer", param=name)
        number = int(value)
        if number < least:
            raise invalid(f"This value must be greater than or equal to {least}.", param=name)
        if number > most:
            raise invalid(f"This value must be less than or equal to {most}.", param=name)
        return number

    def currency(self, name: str) -> str:
        """In capitals."""
        value = self.need(name)
        if not (len(value) == 3 and value.isascii() and value.isalpha()):
            raise invalid(f"Invalid currency: {value[:40]}.", param=name)
        return value.upper()

    def metadata(self) -> dict[str, str]:
        value = self.tree.get("metadata") or {}
        if not isinstance(value, dict) or not all(isinstance(one, str) for one in value.values()):
            raise invalid("Invalid hash", param="metadata")
        if len(value) > MOST_METADATA:
            raise invalid(f"Metadata can have up to {MOST_METADATA} keys.", param="metadata")
        for key, one in value.items():
            if len(key) > LONGEST_METADATA_KEY or len(one) > LONGEST_METADATA_VALUE:
                raise invalid(
                    "Metadata keys can have up to 40 characters, and values up to 500.", param=f"metadata[{key[:40]}]"
                )
        return {key: one for key, one in value.items() if one}
