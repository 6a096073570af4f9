"""Who listens to the transient events."""

import asyncio
import weakref
from collections import deque

from veza.client.errors import ClientError
from veza.client.events import Transient


class Subscription:
    """`async for event in chat.events()`. `dropped` counts what its consumer was too slow for."""

    def __init__(self, limit: int) -> None:
        self.dropped = 0
        self._items: deque[Transient] = deque(maxlen=limit)
        self._filled = asyncio.Event()
        self._closed = False
        self._error: ClientError | None = None

    def __aiter__(self) -> "Subscription":
        return self

    async def __anext__(self) -> Transient:
        while not self._items:
            if self._error is not None:
                raise self._error
            if self._closed:
                raise StopAsyncIteration
            self._filled.clear()
            await self._filled.wait()
        return self._items.popleft()

    def put(self, event: Transient) -> None:
        if len(self._items) == self._items.maxlen:
            self.dropped += 1
        self._items.append(event)
        self._filled.set()

    def close(self, error: ClientError | None) -> None:
        self._closed = True
        self._error = error
        self._filled.set()


class Subscriptions:
    """All subscriptions of a chat; one that nobody holds any more is forgotten."""

    def __init__(self) -> None:
        self._all: weakref.WeakSet[Subscription] = weakref.WeakSet()

    def open(self, limit: int, ended: ClientError | None) -> Subscription:
        subscription = Subscription(limit)
        if ended is not None:
            subscription.close(ended)
        self._all.add(subscription)
        return subscription

    def publish(self, event: Transient) -> None:
        for subscription in self._all:
            subscription.put(event)

    def close(self, error: ClientError | None) -> None:
        for subscription in self._all:
            subscription.close(error)
