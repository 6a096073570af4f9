"""No process is left behind: whatever was started below us, by whomever, stays ours to end."""

import ctypes
import os
from collections.abc import Set

import psutil

PR_SET_CHILD_SUBREAPER = 36
KILL_SECONDS = 2.0


def adopt_orphans() -> None:
    """Become the parent of descendants whose own parent dies, so that `end_children` finds them."""
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl failed")


def end_children(spare: Set[int] = frozenset()) -> None:
    """SIGKILL every descendant but those in `spare` and below them, and reap what is ours to reap."""
    for _ in range(3):  # a process may fork between the look and the kill
        spared = set(spare)
        for pid in spare:
            if psutil.pid_exists(pid):
                spared |= {below.pid for below in psutil.Process(pid).children(recursive=True)}
        found = [child for child in psutil.Process(os.getpid()).children(recursive=True) if child.pid not in spared]
        if not found:
            return
        for child in found:
            try:
                child.kill()
            except psutil.NoSuchProcess:
                continue
        psutil.wait_procs(found, timeout=KILL_SECONDS)
