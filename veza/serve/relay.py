"""The process a person sees, and the session in which everything else runs.

A terminal's Ctrl-C, or a supervisor's signal to a process group, would reach Ray's processes together with us,
and take away what a drain needs. So the platform runs in a session of its own; the process in the caller's group
only passes signals on and waits.
"""

import ctypes
import os
import signal
from collections.abc import Callable
from types import FrameType

PR_SET_PDEATHSIG = 1
PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def in_own_session(run: Callable[[], int]) -> int:
    """The result of `run` (0 to 125), called in a child. Fork early: no other thread may exist yet."""
    signal.pthread_sigmask(signal.SIG_BLOCK, PASSED_ON)
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        os.setsid()
        # When this process is killed outright, so is the platform: as a crash of the whole, which it survives.
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, PASSED_ON)
        return run()
    return _wait(child)


def _wait(child: int) -> int:
    def pass_on(number: int, _frame: FrameType | None) -> None:
        # A terminal that went away asks for the same as a supervisor.
        os.kill(child, signal.SIGTERM if number == signal.SIGHUP else number)

    for number in PASSED_ON:
        signal.signal(number, pass_on)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, PASSED_ON)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code
