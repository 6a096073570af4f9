"""Every error of ours arrives whole: through pickle, between actors, and as a shard's refusal at a gateway."""

import importlib
import inspect
import pickle
import pkgutil
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest

import veza
from veza import errors
from veza.actors.shard_links import error_of
from veza.errors import Conflict, Detailed, InvalidArgument, RateLimited, RetryLater, RoomNotFound, VezaError
from veza.realtime import commands as c
from veza.realtime.batch import refusal

SAMPLES = {str: "A sentence.", str | None: "A sentence.", UUID: UUID(int=7)}
DETAILS = (("content", "must not be empty"), ("seq", "0 to 3"))


def import_everything() -> None:
    for module in pkgutil.walk_packages(veza.__path__, "veza."):
        # Migrations are read by the tool that runs them; a `__main__` runs.
        if ".migrations." not in module.name and not module.name.endswith("__main__"):
            importlib.import_module(module.name)


def subclasses(kind: type[VezaError]) -> Iterator[type[VezaError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from subclasses(child)


import_everything()
KINDS = sorted(
    {kind for kind in subclasses(VezaError) if kind.__module__.startswith("veza.")}, key=lambda k: k.__name__
)
OURS = [kind for kind in KINDS if kind.__module__ == errors.__name__]


def samples(kind: type[VezaError]) -> list[VezaError]:
    parameters = inspect.signature(kind).parameters.values()
    needed = [p for p in parameters if p.default is p.empty and p.kind is not p.VAR_POSITIONAL]
    if needed:
        arguments: list[Any] = [SAMPLES[parameter.annotation] for parameter in needed]
        return [kind(*arguments)]
    found = [kind(), kind("A sentence.")]
    if issubclass(kind, Detailed):
        found.append(kind("A sentence.", DETAILS))
    if issubclass(kind, RetryLater):
        found += [kind("A sentence.", 2.5), kind(None, 3)]
    return found


def same(one: VezaError, other: VezaError) -> bool:
    extras = [getattr(error, "details", None) for error in (one, other)]
    waits = [getattr(error, "retry_after", None) for error in (one, other)]
    return (
        type(one) is type(other)
        and one.args == other.args
        and one.message == other.message
        and extras[0] == extras[1]
        and waits[0] == waits[1]
    )


@pytest.mark.parametrize("kind", KINDS)
def test_pickle(kind: type[VezaError]) -> None:
    for error in samples(kind):
        assert same(pickle.loads(pickle.dumps(error)), error)  # noqa: S301 - our own bytes


@pytest.mark.parametrize("kind", OURS)
def test_refusal(kind: type[VezaError]) -> None:
    """Over the wire between a shard and a gateway; a shard raises nothing but what `veza.errors` has."""
    for error in samples(kind):
        sent = c.DeliveryBatch("shard", [refusal(7, error, 3)])
        received = c.decode_deliveries(c.encode(sent)).items[0]
        assert isinstance(received, c.Refusal)
        assert (received.ref, received.epoch) == (7, 3)
        assert same(error_of(received), error)


def test_shards_raise_nothing_else() -> None:
    assert not [kind for kind in KINDS if kind.__module__.startswith(("veza.realtime", "veza.actors"))]


@pytest.mark.parametrize("kind", KINDS)
def test_codes_and_messages_are_for_the_public(kind: type[VezaError]) -> None:
    assert kind.code == kind.code.lower()
    assert all(error.message for error in samples(kind))


def test_a_refusal_names_one_of_our_errors() -> None:
    with pytest.raises(TypeError):
        error_of(c.Refusal(1, "ClassVar", []))
    with pytest.raises(AttributeError):
        error_of(c.Refusal(1, "NoSuchError", []))


def test_details_and_waits() -> None:
    assert InvalidArgument().details == ()
    assert InvalidArgument("No.", DETAILS).details == DETAILS
    assert RateLimited().retry_after == 1.0
    assert RateLimited("Slow.", 2.5).retry_after == 2.5
    assert issubclass(RoomNotFound, errors.NotFound)
    assert issubclass(Conflict, Detailed)
