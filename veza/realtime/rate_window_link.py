"""Batches that arrive in order and each once, over connections that break.

One batch is under way at a time, the same one until it is known to have arrived. Each has a number above all that its
sender used before, so that what comes late or again is known for it. What is lost is only late, while both sides live.
"""

from collections.abc import Iterator
from typing import Generic, TypeVar

T = TypeVar("T")

# Items of a batch: what takes some milliseconds to work through.
BATCH_ITEMS = 1000


class Outgoing(Generic[T]):
    """What waits for one peer. Both sides answer for every key once, so keys bound it."""

    def __init__(self, numbers: Iterator[int]) -> None:
        self._numbers = numbers
        self._items: list[T] = []
        self._under_way: tuple[int, list[T]] | None = None

    def __len__(self) -> int:
        return len(self._items)

    def put(self, item: T) -> None:
        self._items.append(item)

    def batch(self) -> tuple[int, list[T]] | None:
        """The number and the items to send now, None when there is nothing."""
        if self._under_way is None and self._items:
            self._under_way = next(self._numbers), self._items[:BATCH_ITEMS]
            del self._items[:BATCH_ITEMS]
        return self._under_way

    def arrived(self, number: int) -> None:
        if self._under_way is not None and self._under_way[0] == number:
            self._under_way = None


class Incoming:
    """Which batches of each sender have been taken."""

    def __init__(self) -> None:
        self._last: dict[str, int] = {}

    def news(self, sender: str, number: int) -> bool:
        """Whether it is to be taken: not when it came before."""
        newer = number > self._last.get(sender, 0)
        if newer:
            self._last[sender] = number
        return newer

    def forget(self, sender: str) -> None:
        """It is dead."""
        self._last.pop(sender, None)
