"""Delivers the webhooks in the outbox, and does what was put off when it is due."""

import asyncio
import logging
import sqlite3
import time
from typing import Any

import httpx

from veza.realtime.payment_events import sign
from veza.sandbox import outbox, payments
from veza.sandbox.book import Book
from veza.sandbox.outbox import Parcel

log = logging.getLogger(__name__)

SIGNATURE = "X-Webhook-Signature-512"
AT_ONCE = 8
ANSWER_SECONDS = 10.0
# Only in case that a wake-up is missed: everything that happens wakes us.
LONGEST_SLEEP_SECONDS = 5.0
BREATH_SECONDS = 1.0


class Courier:
    """Owned by the application: `start`, `wake` after every change of the book, `stop`."""

    def __init__(self, book: Book, url: str, secret: str) -> None:
        self._book = book
        self._url = url
        self._secret = secret
        self._awake = asyncio.Event()
        self._flying: dict[int, asyncio.Task[None]] = {}
        self._loop: asyncio.Task[None] | None = None
        self._client = httpx.AsyncClient(timeout=ANSWER_SECONDS, trust_env=False)

    def start(self) -> None:
        self._loop = asyncio.create_task(self._run())

    def wake(self) -> None:
        self._awake.set()

    async def stop(self) -> None:
        tasks: list[asyncio.Task[Any]] = [*self._flying.values()]
        if self._loop is not None:
            tasks.append(self._loop)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._client.aclose()

    async def _run(self) -> None:
        while True:
            self._awake.clear()
            try:
                pause = await self._round()
            except Exception:
                # A full disk, perhaps. What was not done is done in the next round; without one all would stand still.
                log.exception("The outbox could not be read")
                pause = BREATH_SECONDS
            try:
                async with asyncio.timeout(pause):
                    await self._awake.wait()
            except TimeoutError:
                continue

    async def _round(self) -> float:
        """Send what can be sent, and say for how long there is nothing more to do."""
        now = time.time()
        flying = set(self._flying)
        room = AT_ONCE - len(flying)

        def look(db: sqlite3.Connection) -> tuple[list[Parcel], list[float | None]]:
            settles = payments.settle(db, now)
            parcels, later = outbox.due(db, now, room, flying)
            return parcels, [settles, later]

        parcels, moments = await self._book.do(look)
        for parcel in parcels:
            self._flying[parcel.seq] = asyncio.create_task(self._deliver(parcel))
        pauses = [moment - time.time() for moment in moments if moment is not None]
        return max(0.0, min([LONGEST_SLEEP_SECONDS, *pauses]))

    async def _deliver(self, parcel: Parcel) -> None:
        try:
            accepted = await self._send(parcel.body)
            if accepted:
                await self._book.do(lambda db: outbox.delivered(db, parcel))
            else:
                await self._book.do(lambda db: outbox.failed(db, parcel, time.time()))
        except Exception:
            # It is sent again, which a receiver must bear.
            log.exception("A delivery could not be written down")
            await asyncio.sleep(BREATH_SECONDS)
        finally:
            self._flying.pop(parcel.seq, None)
            self.wake()

    async def _send(self, body: bytes) -> bool:
        headers = {"Content-Type": "application/json", SIGNATURE: sign(body, self._secret)}
        try:
            answer = await self._client.post(self._url, content=body, headers=headers)
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            log.info("A webhook was not delivered: %r", error)
            return False
        return answer.is_success
