"""What asyncio asks of a running loop, in virtual time: as much as code needs that only looks at the time."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from simulation.clock import Clock

T = TypeVar("T")


class VirtualLoop:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def time(self) -> float:
        return self._clock.now

    def call_later(self, delay: float, callback: Callable[..., object], *args: Any) -> None:
        self._clock.later(delay, lambda: callback(*args))


@contextmanager
def running(clock: Clock) -> Iterator[None]:
    """`asyncio.get_running_loop` finds a loop with this clock."""
    asyncio._set_running_loop(VirtualLoop(clock))  # type: ignore[arg-type]
    try:
        yield
    finally:
        asyncio._set_running_loop(None)


def at_once(coroutine: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that has nothing to wait for."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        result: T = stop.value
        return result
    raise AssertionError("it waits")
