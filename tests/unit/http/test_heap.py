"""What lives is frozen. What dies goes: with its last reference, or with a full collection once the heap has grown."""

import gc
import weakref
from collections.abc import Iterator

import pytest
from gateway_parts import ADA, parts, until

from veza.actors import heap
from veza.actors.heap import CHECK_S, Heap


class Thing:
    """Something in a cycle with itself."""

    def __init__(self) -> None:
        self.me = self


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """The full collections of a heap that may grow by nothing."""
    threshold = gc.get_threshold()
    monkeypatch.setattr(heap, "MARGIN", 0)
    yield []
    gc.unfreeze()
    gc.set_threshold(*threshold)


def test_cycles_that_lived_long_go_when_the_heap_has_grown(pauses: list[float]) -> None:
    minded = Heap(pauses.append)
    things = [Thing() for _ in range(1000)]
    minded.beat(0.0)
    assert len(pauses) == 1
    gone = weakref.ref(things[0])
    grown = [Thing() for _ in range(gc.get_freeze_count())]
    minded.beat(1.0)
    things.clear()
    gc.collect()
    assert gone() is not None, "what is frozen is not visited"
    minded.beat(CHECK_S - 1)
    assert len(pauses) == 1, "the heap was looked at a moment ago"
    minded.beat(CHECK_S)
    assert len(pauses) == 2
    assert gone() is None
    assert grown


def test_a_heap_that_has_not_grown_is_left_alone(pauses: list[float]) -> None:
    minded = Heap(pauses.append)
    for minute in range(5):
        minded.beat(minute * CHECK_S)
    assert len(pauses) == 1


async def test_a_closed_socket_needs_no_collection() -> None:
    """Or each of them would stay until the heap has grown by half."""
    gc.disable()
    try:
        async with parts() as made:
            made.hub.arrive(made.session.socket, ADA.id)
            made.hub.depart(made.session.socket, ADA.id)
            made.session.socket.session = None
            made.session.socket.write = made.session.socket._transport.write  # in place of the harness's own
            socket = weakref.ref(made.session.socket)  # which its session holds
        del made
        await until(lambda: socket() is None)
    finally:
        gc.enable()
