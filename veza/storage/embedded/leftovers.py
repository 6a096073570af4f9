"""Processes that an earlier run on the same data directory left behind, when everything was killed at once.

The caller holds the lock of the data directory, so no living run owns them. Two things prove a process ours: the
variable that every child of ours inherits, or a working directory inside our PostgreSQL cluster (which no other
program has, and whose processes overwrite their environment with their titles).
"""

import os
import signal
from pathlib import Path

import psutil

# Every process that a run starts carries the path of its data directory in this variable.
INSTANCE_VARIABLE = "VEZA_INSTANCE"
PATIENCE_SECONDS = 10.0


def find(data_dir: Path) -> list[psutil.Process]:
    """Processes of `data_dir` other than this one and its children."""
    ours = {os.getpid(), *(child.pid for child in psutil.Process().children(recursive=True))}
    return [
        process
        for process in psutil.process_iter()
        if process.pid not in ours and (in_cluster(process, data_dir) or _marked(process, data_dir))
    ]


def in_cluster(process: psutil.Process, data_dir: Path) -> bool:
    try:
        return Path(process.cwd()) == data_dir / "postgres"
    except (psutil.Error, OSError):
        return False


def _marked(process: psutil.Process, data_dir: Path) -> bool:
    try:
        return process.environ().get(INSTANCE_VARIABLE) == str(data_dir)
    except (psutil.Error, OSError):
        return False


def end(processes: list[psutil.Process], data_dir: Path) -> None:
    """End them and wait until they are gone; PostgreSQL by its crash-safe immediate shutdown."""
    for process in processes:
        _send(process, signal.SIGQUIT if in_cluster(process, data_dir) else signal.SIGKILL)
    _, stubborn = psutil.wait_procs(processes, timeout=PATIENCE_SECONDS / 2)
    for process in stubborn:
        _send(process, signal.SIGKILL)
    psutil.wait_procs(stubborn, timeout=PATIENCE_SECONDS / 2)


def end_cluster_processes(data_dir: Path) -> None:
    """Backends that a killed postmaster left: while one lives, PostgreSQL must not start on the same files."""
    end([process for process in psutil.process_iter() if in_cluster(process, data_dir)], data_dir)


def _send(process: psutil.Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return
