"""Wakes whoever works off a queue in a table: told in the transaction that fills it, heard once that is committed."""

import asyncio
import logging
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from veza.errors import Unavailable
from veza.storage.database import UNREACHABLE, Connection, open_connection

log = logging.getLogger(__name__)

TRANSFERS = "veza_transfers"
REFUNDS = "veza_refunds"
WEBHOOKS = "veza_webhooks"
STREAM_NEWS = "veza_stream_news"

RETRY_S = 1.0
CHECK_S = 10.0


async def wake(connection: Connection, channel: str) -> None:
    await connection.execute("SELECT pg_notify($1, '')", channel)


class Wakeups:
    """Sets an event for each of `channels` when somebody wakes it, and all of them whenever one may have been missed:
    what is in the tables counts, this only says when to look.
    """

    def __init__(self, database_url: str, name: str, channels: Iterable[str]) -> None:
        self._url = database_url
        self._name = name
        self._events = {channel: asyncio.Event() for channel in channels}

    async def wait(self, channel: str, timeout: float) -> None:
        """Until the channel was woken since the last wait, or `timeout` seconds."""
        event = self._events[channel]
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await event.wait()
        event.clear()

    def wake_all(self) -> None:
        """There may be something in each of the tables; or whoever waits is to stop."""
        for event in self._events.values():
            event.set()

    async def run(self) -> None:
        """Listen for ever."""
        while True:
            try:
                connection = await open_connection(self._url, name=f"{self._name} wakeups")
            except Unavailable as error:
                log.warning("wakeups not heard", extra={"reason": error.message})
                await asyncio.sleep(RETRY_S)
                continue
            try:
                await self._listen(connection)
            except UNREACHABLE as error:
                log.warning("wakeups lost", extra={"reason": type(error).__name__})
            finally:
                connection.terminate()

    async def _listen(self, connection: Any) -> None:
        for channel in self._events:
            await connection.add_listener(channel, self._heard)
        self.wake_all()
        while True:
            await asyncio.sleep(CHECK_S)
            # A connection that is gone without a word is found out by using it.
            await connection.execute("SELECT")

    def _heard(self, _connection: Any, _pid: int, channel: str, _payload: str) -> None:
        self._events[channel].set()
