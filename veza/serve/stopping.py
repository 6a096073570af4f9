"""Requests to stop: noted when they come, acted on where it is safe."""

import os
import signal
import threading
import time
from types import FrameType

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)
# `make` and a supervisor both pass a signal on: two this close are one.
SAME_SIGNAL_SECONDS = 0.5
POLL_SECONDS = 0.1


class Interrupted(BaseException):
    """A request to stop came while starting."""


class StopRequests:
    """What the relay wrote into `pipe`, and signals sent to this process itself.

    Nothing is raised when a request comes: an exception that strikes inside an import leaves the import's lock
    held for ever, and one that strikes inside Ray aborts the process.
    """

    def __init__(self, pipe: int) -> None:
        os.set_blocking(pipe, False)
        self._pipe = pipe
        self._lock = threading.Lock()
        self._first_at: float | None = None
        self._again = False

    def catch_signals(self) -> None:
        """In the main thread; again after a library has put handlers of its own in place."""
        for number in STOP_SIGNALS:
            signal.signal(number, self._on_signal)

    @property
    def asked(self) -> bool:
        self._read()
        return self._first_at is not None

    @property
    def again(self) -> bool:
        """Asked a second time: to hasten."""
        self._read()
        return self._again

    def check(self) -> None:
        """Raises Interrupted when asked."""
        if self.asked:
            raise Interrupted

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._note()

    def _read(self) -> None:
        with self._lock:
            try:
                if os.read(self._pipe, 64):
                    self._note()
            except BlockingIOError:
                return

    def _note(self) -> None:
        now = time.monotonic()
        if self._first_at is None:
            self._first_at = now
        elif now - self._first_at > SAME_SIGNAL_SECONDS:
            self._again = True
