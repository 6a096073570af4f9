"""Tasks of a terminal client, and how they end."""

import asyncio
from collections.abc import Coroutine

from veza.client import ClientError

Task = asyncio.Task[None]


async def until_ended(work: Coroutine[None, None, None], connection: Task | None) -> None:
    """Do `work`, but stop when `connection` has ended for good: then what ended it is raised."""
    working = asyncio.create_task(work, name="chat-work")
    waited = {working} if connection is None else {working, connection}
    try:
        await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
        if connection is not None and connection.done():
            connection.result()
        await working
    finally:
        await stop(working)


async def stop(task: Task | None) -> None:
    """End a task; what it failed with is raised, except for what `until_ended` has told already."""
    if task is not None:
        task.cancel()
        await asyncio.wait([task])
        failure = None if task.cancelled() else task.exception()
        if failure is not None and not isinstance(failure, ClientError):
            raise failure
