"""Commands that were sent and not yet answered."""

from typing import Generic, TypeVar

T = TypeVar("T")


class TooManyPendingError(Exception):
    """More commands are open than the table holds."""


class PendingCommands(Generic[T]):
    """Gives each command an id and finds it again by the reply.

    An id is never used twice in the life of a table, so a late reply to a command that was given up can't be
    taken for another's.
    """

    def __init__(self, limit: int = 4096) -> None:
        self._limit = limit
        self._open: dict[str, T] = {}
        self._issued = 0

    def __len__(self) -> int:
        return len(self._open)

    def open(self, waiter: T) -> str:
        """Register a command; return its id. Raises `TooManyPendingError` at the limit."""
        if len(self._open) >= self._limit:
            raise TooManyPendingError(f"{self._limit} commands wait for their reply")
        self._issued += 1
        command_id = str(self._issued)
        self._open[command_id] = waiter
        return command_id

    def settle(self, command_id: str) -> T | None:
        """Take the command out, because it was answered or given up; None when it is not open (any more)."""
        return self._open.pop(command_id, None)

    def drain(self) -> list[T]:
        """Take out everything, oldest first, because the connection is gone."""
        waiters = list(self._open.values())
        self._open.clear()
        return waiters
