"""The process a person sees, and the session in which everything else runs.

A terminal's Ctrl-C, or a supervisor's signal to a process group, would reach Ray's processes together with us,
and take away what a drain needs. So the platform runs in a session of its own; the process in the caller's group
only passes requests to stop on, and waits.
"""

import contextlib
import ctypes
import os
import signal
import time
from collections.abc import Callable
from types import FrameType

from veza.serve.stopping import SAME_SIGNAL_SECONDS, StopRequests

PR_SET_PDEATHSIG = 1
# A terminal that goes away asks for the same as a supervisor.
PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# The first drains, the second hastens, the third ends it whatever it is doing.
REQUESTS_BEFORE_KILL = 2


def in_own_session(run: Callable[[StopRequests], int]) -> int:
    """The result of `run` (0 to 125), called in a child. Fork early: no other thread may exist yet."""
    signal.pthread_sigmask(signal.SIG_BLOCK, PASSED_ON)
    reader, writer = os.pipe()
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        os.close(writer)
        os.setsid()
        # When the relay is killed outright, so is the platform: as a crash of the whole, which it survives.
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)
        requests = StopRequests(reader)
        requests.catch_signals()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, PASSED_ON)
        return run(requests)
    os.close(reader)
    return _wait(child, writer)


def _wait(child: int, writer: int) -> int:
    noted: list[float] = []

    def pass_on(_number: int, _frame: FrameType | None) -> None:
        now = time.monotonic()
        if noted and now - noted[-1] < SAME_SIGNAL_SECONDS:
            return
        noted.append(now)
        if len(noted) > REQUESTS_BEFORE_KILL:
            os.kill(child, signal.SIGKILL)
        else:
            with contextlib.suppress(BrokenPipeError):  # it has just ended
                os.write(writer, b"x")

    for number in PASSED_ON:
        signal.signal(number, pass_on)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, PASSED_ON)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code
