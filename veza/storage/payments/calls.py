"""What the calls to both providers have in common: time limits, what is tried again, and what is known after a failure.

A call goes out again only if the last one was never sent, or if it only reads.
"""

import asyncio
import math
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

import msgspec

from veza.storage.payments.interface import OutcomeUnknown, ProviderError, ProviderUnreachable

T = TypeVar("T")

MOST_RETRIES = 2
# Longer than this is no pause but an outage, which our own back-off handles.
LONGEST_RETRY_AFTER_SECONDS = 24 * 3600.0


class Limits(msgspec.Struct, frozen=True):
    """How long a connection and a whole call may take, retries included; `pause` comes before the first retry.

    Three connections and the pauses between them fit into a call, so that a host which never answers is unreachable
    and not an unknown outcome.
    """

    connect_seconds: float = 3.0
    call_seconds: float = 10.0
    pause_seconds: float = 0.1


class KeyRefused(ProviderUnreachable):
    """The provider does not let us in. Nothing was done, and asking again would not help."""


async def persistently(once: Callable[[], Awaitable[T]], limits: Limits, *, reads: bool) -> T:
    """What `once` returns or raises, after at most two retries and within the whole call's time."""
    retries = 0
    try:
        async with asyncio.timeout(limits.call_seconds):
            while True:
                try:
                    return await once()
                except (ProviderUnreachable, OutcomeUnknown) as error:
                    if retries == MOST_RETRIES or not _worthwhile(error, reads=reads):
                        raise
                spread = random.uniform(0.5, 1.5)  # noqa: S311 - spreads load
                await asyncio.sleep(limits.pause_seconds * 2**retries * spread)
                retries += 1
    except TimeoutError as error:
        raise OutcomeUnknown(f"No answer within {limits.call_seconds:g} seconds.") from error


def _worthwhile(error: ProviderError, *, reads: bool) -> bool:
    return not isinstance(error, KeyRefused) and (reads or isinstance(error, ProviderUnreachable))


def retry_after(header: str | None) -> float | None:
    """The seconds of a Retry-After header; None for none and for a date, which neither provider sends."""
    try:
        seconds = float(header or "")
    except ValueError:
        return None
    return min(seconds, LONGEST_RETRY_AFTER_SECONDS) if math.isfinite(seconds) and seconds >= 0 else None


def check_key(variable: str, key: str) -> None:
    """Raises KeyRefused for a key that no header can carry: the HTTP library's own error would show it."""
    if not key or not key.isascii() or not key.isprintable() or " " in key:
        raise KeyRefused(f"{variable} is no usable key.")


def without(key: str, message: str) -> str:
    """A provider's message, in which it may have repeated our key."""
    return message.replace(key, "***")[:500]
