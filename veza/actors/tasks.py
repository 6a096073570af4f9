"""Tasks that are owned: none is forgotten, and none dies unseen."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

log = logging.getLogger(__name__)


class TaskSet:
    """Tasks of one owner. One that fails is logged with its traceback and reported to `on_failure`; `close` cancels
    and awaits them all.
    """

    def __init__(self, owner: str, on_failure: Callable[[BaseException], None] | None = None) -> None:
        self._owner = owner
        self._on_failure = on_failure
        self._tasks: set[asyncio.Task[Any]] = set()

    def start(self, work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        task = asyncio.get_running_loop().create_task(work, name=f"{self._owner} {name}")
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("task failed: %s", task.get_name(), exc_info=error)
            if self._on_failure is not None:
                self._on_failure(error)

    async def finish(self, seconds: float) -> None:
        """Let them come to their ends for so long, then `close`."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=seconds)
        await self.close()

    async def close(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class Life:
    """What an actor's `lifeline` method waits for.

    The call never returns while the actor is well, so that its failure tells the Supervisor of a crash at once,
    be it of the process (Ray's error) or of a task the actor cannot do without.
    """

    def __init__(self) -> None:
        self._ended = asyncio.Event()
        self._error: BaseException | None = None

    def fail(self, error: BaseException) -> None:
        self._error = self._error or error
        self._ended.set()

    def end(self) -> None:
        self._ended.set()

    async def wait(self) -> None:
        await self._ended.wait()
        if self._error is not None:
            raise RuntimeError(f"a task failed: {type(self._error).__name__}")
