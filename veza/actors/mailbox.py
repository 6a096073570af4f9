"""Queues between actors: a mailbox that one task empties, and an outbox with one call in flight."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Generic, TypeVar

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

    async def put(self, items: Iterable[T]) -> None:
        while len(self._items) >= self._limit:
            self._emptied.clear()
            await self._emptied.wait()
        self._items.extend(items)
        self._filled.set()

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
        taken, self._items = self._items[:at_most], self._items[at_most:]
        self._emptied.set()
        return taken


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
        self._limit = limit
        self._call_bytes = call_bytes
        self._items: list[tuple[int, T]] = []
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._items)

    def put(self, item: T, *, always: bool = False) -> bool:
        weight = self._weigh(item)
        if self.bytes + weight > self._limit and not always:
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
                    await self._send(self._next_call())
                self._wake.clear()
                self._idle.set()
        finally:
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
