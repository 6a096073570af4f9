"""A queue between the socket's reader and the consumer of one room."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from veza.client.errors import ClientError

T = TypeVar("T")


class Buffer(Generic[T]):
    """Bounded by `limit`, which the producer asks about (`full`, `until_low`) before it puts.

    `put` itself never refuses: a page that was asked for at the low-water mark is always taken whole.
    """

    def __init__(self, limit: int, on_space: Callable[[], None]) -> None:
        if limit < 2:
            raise ValueError("a buffer holds at least 2 events")
        self._limit = limit
        self._on_space = on_space
        self._items: deque[T] = deque()
        self._filled = asyncio.Event()
        self._low = asyncio.Event()
        self._low.set()
        self._closed = False
        self._error: ClientError | None = None

    def __len__(self) -> int:
        return len(self._items)

    @property
    def full(self) -> bool:
        return len(self._items) >= self._limit

    @property
    def closed(self) -> bool:
        return self._closed

    def put(self, item: T) -> None:
        self._items.append(item)
        self._filled.set()
        if len(self._items) > self._limit // 2:
            self._low.clear()

    async def until_low(self) -> None:
        """Wait until at most half of the limit is used, or the buffer is closed."""
        await self._low.wait()

    async def get(self) -> T:
        """The oldest item. After the last one of a closed buffer: its error, else StopAsyncIteration.

        Nothing is lost when the waiting is cancelled.
        """
        while not self._items:
            if self._error is not None:
                raise self._error
            if self._closed:
                raise StopAsyncIteration
            self._filled.clear()
            await self._filled.wait()
        item = self._items.popleft()
        if len(self._items) <= self._limit // 2:
            self._low.set()
        self._on_space()
        return item

    def close(self, error: ClientError | None = None) -> None:
        """No more items come; the first close decides how the consumer's loop ends."""
        if not self._closed:
            self._closed = True
            self._error = error
            self._filled.set()
            self._low.set()
