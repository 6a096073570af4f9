"""One run on one data directory: the lock that makes it the only one, and what it tells other commands."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import psutil

from veza.config import Settings
from veza.errors import StartupError

STATE_FILE = "state.json"
# How long a process that was killed may take to be gone.
DYING_SECONDS = 1.5


class State(msgspec.Struct, frozen=True, kw_only=True):
    """Written by `veza serve`, for its owner's eyes only: the addresses hold passwords."""

    pid: int
    created: float
    started_at: str
    url: str
    database_url: str
    redis_url: str
    s3_endpoint_url: str
    services: dict[str, int | None]
    # What the sandbox is spoken to with, by field of the settings; empty without one.
    sandbox: dict[str, str] = {}


def run_directory(data_dir: Path) -> Path:
    """Where a run keeps what is of no use after it. Raises StartupError when it cannot be made."""
    path = data_dir / "run"
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StartupError(f"VEZA_DATA_DIR {data_dir} cannot be used: {error.strerror} ({path}).") from error
    return path


@contextmanager
def only_instance(data_dir: Path) -> Iterator[None]:
    """Hold the lock of the data directory. Raises StartupError when another process does."""
    path = run_directory(data_dir) / "lock"
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise StartupError(f"VEZA_DATA_DIR {data_dir} cannot be used: {error.strerror} ({path}).") from error
    try:
        try:
            _lock(descriptor)
        except BlockingIOError:
            holder = os.read(descriptor, 20).decode(errors="replace").strip() or "unknown"
            raise StartupError(
                f"{data_dir} is already served by process {holder}; stop it, or set another VEZA_DATA_DIR."
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield
    finally:
        # Closing gives the lock back; the file stays, because removing it would race with the next holder.
        os.close(descriptor)


def _lock(descriptor: int) -> None:
    """A killed process holds its lock until its memory is given back, so a held one is looked at again."""
    deadline = time.monotonic() + DYING_SECONDS
    while True:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def write_state(data_dir: Path, state: State) -> None:
    path = run_directory(data_dir) / STATE_FILE
    temporary = path.with_suffix(".new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(msgspec.json.format(msgspec.json.encode(state)))
    temporary.rename(path)


def remove_state(data_dir: Path) -> None:
    (data_dir / "run" / STATE_FILE).unlink(missing_ok=True)


def running(data_dir: Path) -> State | None:
    """What the run on `data_dir` wrote, if that very process is alive. Raises StartupError when unreadable."""
    path = data_dir / "run" / STATE_FILE
    try:
        state = msgspec.json.decode(path.read_bytes(), type=State)
        alive = psutil.Process(state.pid).create_time() == state.created
    except (FileNotFoundError, NotADirectoryError, psutil.NoSuchProcess):
        return None
    except (OSError, msgspec.MsgspecError) as error:
        raise StartupError(f"{path} cannot be read: {error}.") from error
    return state if alive else None


def public_url(settings: Settings) -> str:
    """Where a browser on this machine finds the gateways."""
    host = "localhost" if settings.host in {"0.0.0.0", "::", "127.0.0.1"} else settings.host  # noqa: S104
    return f"http://[{host}]:{settings.port}" if ":" in host else f"http://{host}:{settings.port}"


def own_url(settings: Settings) -> str:
    """Where a process on this machine finds the gateways, whatever names are known to it."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1", "localhost": "127.0.0.1"}.get(settings.host, settings.host)  # noqa: S104
    return f"http://[{host}]:{settings.port}" if ":" in host else f"http://{host}:{settings.port}"
