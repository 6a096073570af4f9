"""Queues between actors: a mailbox that one task empties, and an outbox with one call in flight."""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Hashable
from typing import Generic, TypeVar

from veza.realtime.fairness import take_fairly

T = TypeVar("T")
log = logging.getLogger(__name__)


class Mailbox(Generic[T]):
    """What waits for the one writer. Full, `put` waits, and so does whoever sent the call: nothing is dropped."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._items: list[T] = []
        self._filled = asyncio.Event()
        self._emptied = asyncio.Event()

    def __len__(self) -> int:
        return len(self._items)

    async def put(self, items: Collection[T]) -> list[T]:
        """Returns what is not taken. Nothing at all needs no room."""
        if not items:
            return []
        while len(self._items) >= self._limit:
            self._emptied.clear()
            await self._emptied.wait()
        accepted, refused = self._admit(items)
        if accepted:
            self._items.extend(accepted)
            self._filled.set()
        return refused

    def _admit(self, items: Collection[T]) -> tuple[Collection[T], list[T]]:
        return items, []

    def put_back(self, items: list[T]) -> None:
        """To the front: taken, but to be handled in the next round."""
        if items:
            self._items[:0] = items
            self._filled.set()

    async def take(self, at_most: int) -> list[T]:
        """Everything there is, in order; waits while there is nothing."""
        while not self._items:
            self._filled.clear()
            await self._filled.wait()
        taken = self._next(at_most)
        self._emptied.set()
        return taken

    def _next(self, at_most: int) -> list[T]:
        taken, self._items = self._items[:at_most], self._items[at_most:]
        return taken


class FairMailbox(Mailbox[T]):
    """A mailbox of many rooms, none of which makes the others wait: under load each gets its share of a batch, and what
    one has waiting is bounded.
    """

    def __init__(self, limit: int, *, key: Callable[[T], Hashable], key_limit: int) -> None:
        super().__init__(limit)
        self._key = key
        self._key_limit = key_limit
        self._counts: Counter[Hashable] = Counter()

    def _admit(self, items: Collection[T]) -> tuple[Collection[T], list[T]]:
        """One more of a key that has `key_limit` waiting is refused."""
        accepted: list[T] = []
        refused: list[T] = []
        for item in items:
            key = self._key(item)
            if self._counts[key] < self._key_limit:
                self._counts[key] += 1
                accepted.append(item)
            else:
                refused.append(item)
        return accepted, refused

    def put_back(self, items: list[T]) -> None:
        self._counts.update(map(self._key, items))
        super().put_back(items)

    def _next(self, at_most: int) -> list[T]:
        taken, self._items = take_fairly(self._items, self._key, at_most)
        if self._items:
            for item in taken:
                self._uncount(self._key(item))
        else:
            self._counts.clear()
        return taken

    def _uncount(self, key: Hashable) -> None:
        """A key is remembered while something of it waits."""
        self._counts[key] -= 1
        if not self._counts[key]:
            del self._counts[key]


class Outbox(Generic[T]):
    """Sends what was put, in order, with one call in flight: idle, an item leaves at once; under load, what came
    meanwhile goes together. No timer.

    `weigh` gives an item's size in bytes; beyond `limit` bytes `put` answers False and keeps nothing.
    """

    def __init__(
        self,
        send: Callable[[list[T]], Awaitable[None]],
        *,
        weigh: Callable[[T], int],
        limit: int = 16 * 1024 * 1024,
        call_bytes: int = 4 * 1024 * 1024,
    ) -> None:
        self._send = send
        self._weigh = weigh
        self.limit = limit
        self._call_bytes = call_bytes
        self._items: list[tuple[int, T]] = []
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self.bytes = 0  # of what waits; what is in flight does not count
        self.calling = False

    def __len__(self) -> int:
        return len(self._items)

    def put(self, item: T, *, always: bool = False) -> bool:
        weight = self._weigh(item)
        if self.bytes + weight > self.limit and not always:
            return False
        self.bytes += weight
        self._items.append((weight, item))
        self._idle.clear()
        self._wake.set()
        return True

    def put_back(self, items: list[T]) -> None:
        """To the front: sent in vain, and to be sent again."""
        if items:
            weighed = [(self._weigh(item), item) for item in items]
            self._items[:0] = weighed
            self.bytes += sum(weight for weight, _ in weighed)
            self._wake.set()

    def drop(self, unwanted: Callable[[T], bool]) -> None:
        """Take out waiting items; what is in flight is not affected."""
        self._items = [(weight, item) for weight, item in self._items if not unwanted(item)]
        self.bytes = sum(weight for weight, _ in self._items)

    async def run(self) -> None:
        """Send until cancelled, or until `send` raises: then the peer is gone and so is what waited."""
        try:
            while True:
                await self._wake.wait()
                while self._items:
                    self.calling = True
                    await self._send(self._next_call())
                    self.calling = False
                self._wake.clear()
                self._idle.set()
        finally:
            self.calling = False
            self._idle.set()

    async def flushed(self) -> None:
        """Wait until everything put so far has been sent, or never will be."""
        await self._idle.wait()

    def _next_call(self) -> list[T]:
        size, count = 0, 0
        for weight, _ in self._items:
            size += weight
            count += 1
            if size >= self._call_bytes:
                break
        call = [item for _, item in self._items[:count]]
        del self._items[:count]
        self.bytes -= size
        return call
