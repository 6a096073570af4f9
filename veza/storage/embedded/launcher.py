"""Run by path, before a service's own program: gives up root, ties its life to the parent's, then becomes it.

    python -I -S launcher.py PARENT_PID SIGNAL UID GID PROGRAM ARGUMENT…

It is a program and not a `preexec_fn`, because forking Python code out of a process with Ray's threads in it
can deadlock. It imports nothing of the package, so that it starts in 20 ms.
"""

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> None:
    """Never returns; a UID of -1 keeps the caller's."""
    parent, death_signal, uid, gid = map(int, arguments[:4])
    libc = ctypes.CDLL(None, use_errno=True)
    if uid >= 0:
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    # After setuid, which would clear it.
    if libc.prctl(PR_SET_PDEATHSIG, death_signal, 0, 0, 0) != 0:
        sys.exit(f"prctl failed: {os.strerror(ctypes.get_errno())}")
    if os.getppid() != parent:
        sys.exit("the parent died first")
    os.execv(arguments[4], arguments[4:])  # noqa: S606 - the service itself


if __name__ == "__main__":
    main(sys.argv[1:])
