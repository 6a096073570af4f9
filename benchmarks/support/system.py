"""The platform, started as anybody starts it, on ports and a data directory of its own."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil

from benchmarks.support import processes
from benchmarks.support.paths import BUILD, VEZA

START_S = 90.0
STOP_S = 25.0
IDLE_CORE = 0.02
# A person writes 60 messages a minute at most, an address asks so much a second; the figures are about the system, not
# about these limits.
UNLIMITED = {
    "CHAT_MESSAGES_PER_MINUTE": "100000000",
    "CHAT_MESSAGE_BURST": "10000000",
    "RATE_LIMIT_GLOBAL": "1000000",
    "RATE_LIMIT_PER_IP": "1000000",
}


class System:
    """A running platform: where it is, the directory of its data, and its processes; those of nodes that it joined are
    `beside` it.
    """

    def __init__(self, home: Path, pid: int, port: int, beside: Sequence[int] = ()) -> None:
        self.home = home
        self.pid = pid
        self.port = port
        self._beside = beside
        self.url = f"http://127.0.0.1:{port}"

    def processes(self) -> list[psutil.Process]:
        return [process for pid in (self.pid, *self._beside) for process in processes.tree(pid)]

    def actors(self, kind: str) -> list[psutil.Process]:
        """The processes of one class of actors, such as `Gateway`."""
        return [process for process in self.processes() if processes.name(process).startswith(f"ray::{kind}")]

    def cpu_seconds(self) -> float:
        """Processor time that all of it has used."""
        return processes.cpu_seconds(self.processes())

    @contextmanager
    def using(self, cores: dict[str, float]) -> Iterator[None]:
        """Fill `cores` with how many each kind of process kept busy during the block; idle ones are left out."""
        before, began = processes.cpu_by_name(self.processes()), time.monotonic()
        yield
        lasted = time.monotonic() - began
        for name, used in processes.cpu_by_name(self.processes()).items():
            share = (used - before.get(name, 0.0)) / lasted
            if share > IDLE_CORE:
                cores[name] = round(share, 2)


@contextmanager
def new_home() -> Iterator[Path]:
    """A directory for a system's data; it is removed with the block."""
    BUILD.mkdir(exist_ok=True)
    # Below the sources, not in a temporary directory: that may be memory, where nothing is ever synchronised to disk.
    home = Path(tempfile.mkdtemp(prefix="data-", dir=BUILD))
    # The embedded database does not run as root: another user must be able to reach its data.
    home.chmod(0o755)
    try:
        yield home
    finally:
        shutil.rmtree(home, ignore_errors=True)


@contextmanager
def running(**settings: str) -> Iterator[System]:
    """Start the platform anew with its defaults, but for `settings`; stop it with the block."""
    with new_home() as home, running_at(home, **settings) as system:
        yield system


@contextmanager
def running_at(home: Path, beside: Sequence[int] = (), /, **settings: str) -> Iterator[System]:
    """The same on a directory that may hold the data of an earlier run."""
    port = free_port()
    environment = {
        # Nothing of the caller's settings, and no `.env`: the working directory has none.
        "PATH": os.environ["PATH"],
        "HOME": os.environ.get("HOME", str(home)),
        "LANG": "C.UTF-8",
        "VEZA_DATA_DIR": str(home / "data"),
        "PORT": str(port),
        "RTMP_PORT": str(free_port()),
        **settings,
    }
    log = home / "serve.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [str(VEZA), "serve"], env=environment, cwd=home, stdin=subprocess.DEVNULL, stdout=out, stderr=out
        )
    try:
        _wait_until_ready(process, log)
        yield System(home, process.pid, port, beside)
    finally:
        _stop(process)


def free_port() -> int:
    """One that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_until_ready(process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_S
    while b"Ready in" not in log.read_bytes():
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"veza serve did not start:\n{log.read_text(errors='replace')[-4000:]}")
        time.sleep(0.1)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """A stop signal, as Ctrl-C is. What is left after it is ended and reported: it would disturb the next run."""
    below = processes.tree(process.pid)[1:] if process.poll() is None else []
    process.send_signal(signal.SIGINT)
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(STOP_S)
    for child in processes.end_all(below):
        print(f"  left behind by the stop: {child.pid}", flush=True)
