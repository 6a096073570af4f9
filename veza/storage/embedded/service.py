"""What the embedded services have in common: start, ready, watch, stop."""

import abc
import asyncio
import logging
import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

from veza.errors import StartupError
from veza.storage.embedded.leftovers import INSTANCE_VARIABLE
from veza.storage.embedded.process import Child

log = logging.getLogger(__name__)

READY_POLL_SECONDS = 0.02
WATCH_POLL_SECONDS = 0.1
RESTART_PAUSE_SECONDS = 1.0


async def answers_http(host: str, port: int, path: str, status: int) -> bool:
    """Whether a server answers a GET with this status."""
    try:
        reader, writer = await asyncio.open_connection(host, port)
    except OSError:
        return False
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        return (await reader.readline()).startswith(f"HTTP/1.1 {status}".encode())
    except OSError:
        return False
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


class Service(abc.ABC):
    """A real server below the data directory. `start` in the main thread, then `ready` from any loop."""

    name: ClassVar[str]
    # From polite to final.
    stop_signals: ClassVar[tuple[signal.Signals, ...]] = (signal.SIGTERM, signal.SIGKILL)

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self._child: Child | None = None

    @property
    @abc.abstractmethod
    def url(self) -> str:
        """Where clients connect."""

    @property
    def pid(self) -> int | None:
        return self._child.pid if self._child and self._child.exit_status is None else None

    def start(self) -> None:
        """Prepare what is missing on disk and start the server. Raises StartupError."""
        try:
            self._prepare()
            self._child = self._spawn()
        except OSError as error:
            place = error.filename or self.data_dir
            raise StartupError(f"{self.name} cannot be started: {error.strerror or error} ({place}).") from error

    async def ready(self, timeout: float = 60.0) -> None:
        """Wait until it answers. Raises StartupError when it ends instead, or takes longer."""
        try:
            async with asyncio.timeout(timeout):
                while not await self._answers():
                    self._check_alive()
                    await asyncio.sleep(READY_POLL_SECONDS)
        except TimeoutError:
            raise StartupError(f"{self.name} did not answer within {timeout:.0f} s; see {self._log}.") from None
        self._check_alive()

    async def watch(self) -> None:
        """Restart it whenever it dies, until cancelled. Runs on the main thread's loop."""
        while True:
            if self._child is None or self._child.exit_status is None:
                await asyncio.sleep(WATCH_POLL_SECONDS)
                continue
            log.error("%s died and is started again", self.name, extra={"status": self._child.exit_status})
            try:
                await asyncio.to_thread(self._clear)
                self.start()
                await self.ready()
            except StartupError as error:
                log.warning("%s could not be started again: %s", self.name, error.message)
                await asyncio.sleep(RESTART_PAUSE_SECONDS)

    def ask_to_stop(self) -> None:
        if self._child:
            self._child.signal(self.stop_signals[0])

    def stop(self, timeout: float = 5.0) -> None:
        """Stop it: politely first, in the end by SIGKILL. Does nothing when it does not run."""
        child, self._child = self._child, None
        if child is None:
            return
        # Most of the time goes to the polite one, which spares the next start its recovery.
        deadline = time.monotonic() + timeout
        for number in self.stop_signals:
            child.signal(number)
            if child.wait(max((deadline - time.monotonic()) * 0.7, 0.1)):
                break
        self._clear()

    @property
    def _log(self) -> Path:
        return self.data_dir / "logs" / f"{type(self).__name__.lower()}.log"

    def _environment(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "TMPDIR", "HOME") if name in os.environ}
        return {**kept, "LANG": "C.UTF-8", "TZ": "UTC", INSTANCE_VARIABLE: str(self.data_dir)}

    def _check_alive(self) -> None:
        if self._child is None or self._child.exit_status is not None:
            words = self._child.last_words() if self._child else "it was not started"
            raise StartupError(f"{self.name} stopped while starting: {words} (see {self._log}).")

    def _clear(self) -> None:
        """Take away what a server that ended left behind, if it leaves anything."""
        return

    @abc.abstractmethod
    def _prepare(self) -> None:
        """Make what must exist on disk before the server is started."""

    @abc.abstractmethod
    def _spawn(self) -> Child: ...

    @abc.abstractmethod
    async def _answers(self) -> bool: ...
