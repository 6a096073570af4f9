"""A service's process: started so that it cannot outlive us, asked how it is, stopped."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from veza.errors import StartupError
from veza.storage.embedded.places import Account

LAUNCHER = Path(__file__).with_name("launcher.py")
MAX_LOG_BYTES = 8 * 1024 * 1024
TELLING = re.compile(r"PANIC|FATAL|[Ee]rror|could not")
# What PostgreSQL answered our own question whether it is ready.
BESIDE_THE_POINT = re.compile(r"database system is (starting up|shutting down|not yet accepting)")


class Child:
    """One program in a session of its own, so that Ctrl-C at the terminal does not reach it.

    The kernel sends it `death_signal` when we die. Linux does so as soon as the *thread* that started it ends, so
    it is made in the main thread only.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        log: Path,
        death_signal: signal.Signals,
        environment: Mapping[str, str],
        account: Account | None = None,
        standard_input: bytes = b"",
        pass_fds: Sequence[int] = (),
    ) -> None:
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError("a service is started in the main thread")
        self._log = log
        _rotate(log)
        uid, gid = (account.uid, account.gid) if account else (-1, -1)
        launcher = [sys.executable, "-I", "-S", str(LAUNCHER), str(os.getpid())]
        with log.open("ab") as stream:
            self._log_begin = stream.tell()
            self._process = subprocess.Popen(  # noqa: S603 - our own program and arguments
                [*launcher, str(int(death_signal)), str(uid), str(gid), *argv],
                stdin=subprocess.PIPE,
                stdout=stream,
                stderr=stream,
                start_new_session=True,
                pass_fds=pass_fds,
                env=dict(environment),
            )
        if self._process.stdin is not None:
            # A broken pipe means that it ended at once, which `exit_status` tells.
            with contextlib.suppress(BrokenPipeError), self._process.stdin as pipe:
                pipe.write(standard_input)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def exit_status(self) -> int | None:
        """None while it runs. Asking reaps it: a zombie postmaster would still hold its lock file."""
        return self._process.poll()

    def signal(self, number: signal.Signals) -> None:
        if self.exit_status is None:
            self._process.send_signal(number)

    def wait(self, timeout: float) -> bool:
        """Whether it ends within `timeout` seconds."""
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            return False
        return True

    def last_words(self) -> str:
        """The line of its log, since it was started, that most likely says why it ended."""
        with self._log.open("rb") as stream:
            stream.seek(self._log_begin)
            lines = stream.read(MAX_LOG_BYTES).decode(errors="replace").strip().splitlines()[-50:]
        telling = [line for line in lines if TELLING.search(line) and not BESIDE_THE_POINT.search(line)]
        return (telling or lines or ["it said nothing"])[-1].strip()


def _rotate(log: Path) -> None:
    log.parent.mkdir(parents=True, exist_ok=True)
    if log.exists() and log.stat().st_size > MAX_LOG_BYTES:
        log.rename(log.with_suffix(".log.1"))


def complete(child: Child, *, timeout: float, what: str) -> None:
    """Wait for a program that is meant to end; raises StartupError when it fails or takes too long."""
    try:
        if not child.wait(timeout):
            raise StartupError(f"{what} did not finish within {timeout:.0f} s.")
        if child.exit_status != 0:
            raise StartupError(f"{what} failed: {child.last_words()}")
    finally:
        if child.exit_status is None:
            child.signal(signal.SIGKILL)
            child.wait(5)
