"""Argon2id, off the event loop.

A hash takes 50 ms of a core and 19 MiB: a pool of a few threads bounds both, and a bounded queue before it turns
a flood of logins into 503 instead of a queue nobody would live to see the end of.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from argon2 import PasswordHasher, Type
from argon2.exceptions import InvalidHashError, VerificationError

from veza.errors import Unavailable

T = TypeVar("T")

THREADS = 2
# At 50 ms each on two threads, the last of these waits 1.6 s.
MAX_WAITING = 64

# OWASP's choice: 19 MiB, two passes, one lane. A third of the time of the library's default.
MEMORY_KIB = 19 * 1024
PASSES = 2
_hasher = PasswordHasher(time_cost=PASSES, memory_cost=MEMORY_KIB, parallelism=1, type=Type.ID)

# No password has this hash. An unknown e-mail is verified against it, so that it costs what a known one does.
_NOBODY = f"$argon2id$v=19$m={MEMORY_KIB},t={PASSES},p=1${'A' * 22}${'A' * 43}"


class Passwords:
    """Hashes and verifies; `performed` counts the hashes computed so far."""

    def __init__(self, threads: int = THREADS) -> None:
        self.performed = 0
        self._waiting = 0
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="argon2")

    def close(self) -> None:
        """Let what runs finish, drop what waits."""
        self._threads.shutdown(wait=True, cancel_futures=True)

    async def hash(self, password: str) -> str:
        """The hash to store. Raises Unavailable when too many wait."""
        return await self._run(lambda: _hasher.hash(password))

    async def verify(self, stored: str | None, password: str) -> bool:
        """Whether `password` belongs to `stored`. None (nobody has this e-mail) takes as long and is False.

        Raises Unavailable when too many wait.
        """
        return await self._run(lambda: _matches(stored or _NOBODY, password))

    async def _run(self, work: Callable[[], T]) -> T:
        if self._waiting >= MAX_WAITING:
            raise Unavailable("Too many people are signing in right now; try again shortly.", 2.0)
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self._waiting -= 1
            self.performed += 1


def _matches(stored: str, password: str) -> bool:
    try:
        return _hasher.verify(stored, password)
    except (VerificationError, InvalidHashError):
        return False
