"""The scenarios of this folder, and what runs them."""

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent

# Makes the people of a scenario, signed in.
Cast = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]


def scenarios() -> list[Any]:
    """All of them, as parameters of a test."""
    found = [
        pytest.param(scenario, id=f"{path.stem}: {scenario['name']}")
        for path in sorted(HERE.glob("*.json"))
        for scenario in json.loads(path.read_text())["scenarios"]
    ]
    assert len({one.id for one in found}) == len(found), "two scenarios have the same name"
    return found
