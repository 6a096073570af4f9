"""What `veza.actors.mailbox.Outbox` does, in virtual time: one call in flight, the rest goes with the next."""

from collections.abc import Callable
from random import Random
from typing import Generic, TypeVar

from simulation.clock import Clock

T = TypeVar("T")


class Outbox(Generic[T]):
    """`send` gets what goes in one call; whoever made it says `returned` then. Calls are cut anywhere, for a large
    batch goes in several.
    """

    def __init__(self, clock: Clock, chance: Random, send: Callable[[list[T]], None]) -> None:
        self.items: list[T] = []
        self.closed = False
        self._clock = clock
        self._chance = chance
        self._send = send
        self._busy = False
        self._woken = False

    def introduce(self) -> None:
        """Call once with nothing, ahead of everything."""
        self._busy = True
        self._send([])

    def put(self, item: T) -> None:
        self.items.append(item)
        self._wake()

    def put_back(self, items: list[T]) -> None:
        self.items[:0] = items

    def _wake(self) -> None:
        if not self._woken and not self._busy:
            self._woken = True
            self._clock.later(0.0, self._go)

    def _go(self) -> None:
        self._woken = False
        if self._busy or self.closed or not self.items:
            return
        count = len(self.items) if self._chance.random() < 0.7 else self._chance.randint(1, len(self.items))
        call, self.items = self.items[:count], self.items[count:]
        self._busy = True
        self._send(call)

    def returned(self) -> None:
        self._busy = False
        if self.items:
            self._wake()
