"""References and expectations of a scenario; README.md says what they mean."""

import json
import re
from collections.abc import Mapping
from typing import Any

_REFERENCE = re.compile(r"\$\{([^}]+)\}")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")


def resolve(value: Any, known: Mapping[str, Any]) -> Any:
    """A value of a scenario with `${name.path}` replaced by what is known by then."""
    if isinstance(value, str):
        if whole := _REFERENCE.fullmatch(value):
            return _look_up(whole[1], known)
        return _REFERENCE.sub(lambda found: str(_look_up(found[1], known)), value)
    if isinstance(value, list):
        return [resolve(one, known) for one in value]
    if isinstance(value, dict):
        if "$text" in value:
            text, times = value["$text"]
            return str(text) * int(times)
        return {name: resolve(member, known) for name, member in value.items()}
    return value


def _look_up(path: str, known: Mapping[str, Any]) -> Any:
    found = at(path, known)
    if found is None:
        raise AssertionError(f"nothing is known as {path}")
    return found


def at(path: str, value: Any) -> Any:
    """The member at a dotted path; the whole for an empty one."""
    for name in path.split(".") if path else ():
        if isinstance(value, list):
            value = value[int(name)] if int(name) < len(value) else None
        else:
            value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _is_kind(kind: str, value: Any) -> bool:
    match kind:
        case "uuid":
            return isinstance(value, str) and _UUID.fullmatch(value) is not None
        case "time":
            return isinstance(value, str) and _TIME.fullmatch(value) is not None
        case "string":
            return isinstance(value, str)
        case "number":
            return _is_number(value)
    raise AssertionError(f"there is no kind {kind}")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _operate(name: str, argument: Any, value: Any) -> bool:
    match name:
        case "$is":
            return _is_kind(argument, value)
        case "$not":
            return mismatch(argument, value) is not None
        case "$at_least":
            return _is_number(value) and bool(value >= argument)
        case "$at_most":
            return _is_number(value) and bool(value <= argument)
        case "$count":
            return isinstance(value, list) and len(value) == argument
        case "$has":
            return isinstance(value, list) and all(any(mismatch(e, one) is None for one in value) for e in argument)
    raise AssertionError(f"there is no operator {name}")


def mismatch(expected: Any, value: Any, where: str = "it") -> str | None:
    """What is not as expected, as a sentence; None when all is."""
    if _is_operator(expected):
        failed = [(name, argument) for name, argument in expected.items() if not _operate(name, argument, value)]
        return f"{where} is {show(value)}, which is not {failed[0][0]} {show(failed[0][1])}" if failed else None
    if isinstance(expected, list):
        if not isinstance(value, list) or len(value) != len(expected):
            return f"{where} is {show(value)}, not {len(expected)} elements"
        return _first(
            mismatch(one, got, f"{where}[{i}]") for i, (one, got) in enumerate(zip(expected, value, strict=True))
        )
    if isinstance(expected, dict):
        if not isinstance(value, Mapping):
            return f"{where} is {show(value)}, not an object"
        return _first(mismatch(one, value.get(name), f"{where}.{name}") for name, one in expected.items())
    same = type(expected) is type(value) or (_is_number(expected) and _is_number(value))
    return None if same and expected == value else f"{where} is {show(value)}, not {show(expected)}"


def _is_operator(expected: Any) -> bool:
    return isinstance(expected, dict) and any(name.startswith("$") for name in expected)


def _first(found: Any) -> str | None:
    return next((one for one in found if one is not None), None)


def show(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 300 else f"{text[:300]}…"
