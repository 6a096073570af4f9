"""The JobRunner's work about streams: that one has started is told to those who follow its owner."""

import asyncio
import logging
from typing import Any

from veza.actors.tasks import TaskSet
from veza.storage import stream_news
from veza.storage.database import FAILURES
from veza.storage.wakeups import STREAM_NEWS, Wakeups

log = logging.getLogger(__name__)

# How long a missed wakeup could go unnoticed.
LOOK_S = 5.0
AWAY_S = 1.0
# After a full batch: shards push notifications in the order in which they came, and the few about other things that
# come meanwhile should not wait behind a million.
PAUSE_S = 0.1


class StreamNews:
    """`start` begins it in `tasks`. Two of these at once do no harm: rows are locked."""

    def __init__(self, pool: Any, wakeups: Wakeups) -> None:
        self._pool = pool
        self._wakeups = wakeups

    def start(self, tasks: TaskSet) -> None:
        tasks.start(self._tell_forever(), "stream news")

    async def _tell_forever(self) -> None:
        while True:
            try:
                told = await stream_news.tell_some(self._pool)
            except FAILURES as error:
                log.warning("followers not told of streams", extra={"reason": type(error).__name__})
                await asyncio.sleep(AWAY_S)
                continue
            if told is None:
                await self._wakeups.wait(STREAM_NEWS, LOOK_S)
            elif told.more:
                await asyncio.sleep(PAUSE_S)
