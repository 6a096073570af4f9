"""The Gateway as others see it: light to load, and complete."""

import inspect
import subprocess
import sys
from typing import Any

import pytest

from veza.config import load_settings
from veza.http import gateway
from veza.http.gateway_actor import Gateway

LOADED = "import sys, veza.http.gateway_actor; print(*sorted(name for name in sys.modules))"


def methods(kind: type) -> dict[str, Any]:
    return {name: found for name, found in inspect.getmembers(kind, inspect.isfunction) if not name.startswith("_")}


def test_to_load_the_class_loads_nothing_that_serves() -> None:
    """A shard loads it at its first word to a gateway."""
    done = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True, check=True)
    loaded = done.stdout.split()
    assert "veza.http.gateway_actor" in loaded
    assert not [name for name in loaded if name.partition(".")[0] in {"sanic", "asyncpg", "msgspec"}]
    assert [name for name in loaded if name.startswith("veza.http.")] == ["veza.http.gateway_actor"]


def test_it_has_what_the_gateway_does() -> None:
    # Batches do not come by a call of Ray's.
    assert methods(Gateway).keys() == methods(gateway.Gateway).keys() - {"deliver"}
    for name, method in methods(Gateway).items():
        meant = inspect.signature(getattr(gateway.Gateway, name)).parameters
        assert list(inspect.signature(method).parameters) == list(meant), name


@pytest.mark.parametrize("name", methods(Gateway))
async def test_each_call_is_passed_on_with_what_it_is_given(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[object, ...]] = []

    class Recording:
        def __init__(self, *arguments: object) -> None:
            calls.append(arguments)

        def __getattr__(self, called: str) -> Any:
            async def call(*arguments: object) -> str:
                calls.append((called, *arguments))
                return "answer"

            return call

    monkeypatch.setattr(gateway, "Gateway", Recording)
    settings = load_settings({"APP_ENV": "test"}, None, keep_secrets=False)
    actor = Gateway("Gateway-1", settings)
    arguments = ["given"] * (len(inspect.signature(methods(Gateway)[name]).parameters) - 1)
    answer = await getattr(actor, name)(*arguments)
    assert calls == [("Gateway-1", settings), (name, *arguments)]
    assert answer == (
        "answer" if name in {"endpoint", "streams_endpoint", "playbacks_endpoint", "windows_endpoint", "ping"} else None
    )
