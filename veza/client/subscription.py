"""Who listens to the transient events."""

import asyncio
import weakref
from collections import deque
from typing import Generic, TypeVar

from veza.client.errors import ClientError

T = TypeVar("T")


class Subscription(Generic[T]):
    """`async for event in chat.events()`. `dropped` counts what its consumer was too slow for."""

    def __init__(self, limit: int) -> None:
        self.dropped = 0
        self._items: deque[T] = deque(maxlen=limit)
        self._filled = asyncio.Event()
        self._closed = False
        self._error: ClientError | None = None

    def __aiter__(self) -> "Subscription[T]":
        return self

    async def __anext__(self) -> T:
        while not self._items:
            if self._error is not None:
                raise self._error
            if self._closed:
                raise StopAsyncIteration
            self._filled.clear()
            await self._filled.wait()
        return self._items.popleft()

    def put(self, event: T) -> None:
        if len(self._items) == self._items.maxlen:
            self.dropped += 1
        self._items.append(event)
        self._filled.set()

    def close(self, error: ClientError | None) -> None:
        self._closed = True
        self._error = error
        self._filled.set()


class Subscriptions(Generic[T]):
    """All subscriptions to one source; one that nobody holds any more is forgotten."""

    def __init__(self) -> None:
        self._all: weakref.WeakSet[Subscription[T]] = weakref.WeakSet()

    def open(self, limit: int, ended: ClientError | None) -> Subscription[T]:
        subscription: Subscription[T] = Subscription(limit)
        if ended is not None:
            subscription.close(ended)
        self._all.add(subscription)
        return subscription

    def publish(self, event: T) -> None:
        for subscription in self._all:
            subscription.put(event)

    def close(self, error: ClientError | None) -> None:
        for subscription in self._all:
            subscription.close(error)
