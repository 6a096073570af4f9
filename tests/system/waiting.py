"""Waits that are bounded and say what they waited for."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

T = TypeVar("T")

POLL_S = 0.05


@asynccontextmanager
async def within(seconds: float, what: str) -> AsyncIterator[None]:
    """Fail with a sentence when the block takes longer."""
    try:
        async with asyncio.timeout(seconds) as limit:
            yield
    except TimeoutError:
        if not limit.expired():
            raise
        raise AssertionError(f"waited {seconds:g} s for {what}") from None


async def until(ask: Callable[[], Awaitable[T]], what: str, seconds: float = 10.0) -> T:
    """Ask again and again until the answer is true; for what nobody announces. Returns the answer."""
    started = time.monotonic()
    while not (found := await ask()):
        if time.monotonic() - started > seconds:
            raise AssertionError(f"waited {seconds:g} s for {what}; the last answer was {found!r}")
        await asyncio.sleep(POLL_S)
    return found
