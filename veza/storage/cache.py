"""Redis: what may be lost. Without it the platform is degraded, not down."""

import asyncio

import redis.asyncio
from redis.exceptions import RedisError

from veza.errors import Unavailable

# Below what a request can wait: a cache that is slower than the database is of no use.
SOCKET_TIMEOUT_S = 2.0


def open_cache(url: str) -> redis.asyncio.Redis:
    """A client with a bounded pool; it connects when it is first used. Close it with `aclose()`."""
    return redis.asyncio.from_url(
        url,
        socket_timeout=SOCKET_TIMEOUT_S,
        socket_connect_timeout=SOCKET_TIMEOUT_S,
        max_connections=32,
        health_check_interval=30,
    )


async def check(cache: redis.asyncio.Redis, *, timeout: float = 2.0) -> None:
    """Raises Unavailable when Redis does not answer within `timeout` seconds."""
    try:
        async with asyncio.timeout(timeout):
            await cache.ping()
    except (RedisError, OSError, TimeoutError) as error:
        raise Unavailable(f"Redis does not answer: {error or type(error).__name__}") from error
