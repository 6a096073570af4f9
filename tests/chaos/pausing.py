"""A PostgreSQL that hangs: it neither answers nor refuses."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager

from system.running import Running


@contextmanager
def paused(victim: Running) -> Iterator[None]:
    """While the block runs, every process of the platform's PostgreSQL stands still."""
    postmaster = victim.postmaster()
    # The postmaster first: it makes no more.
    postmaster.send_signal(signal.SIGSTOP)
    children = postmaster.children(recursive=True)
    try:
        for child in children:
            child.send_signal(signal.SIGSTOP)
        yield
    finally:
        for process in (*children, postmaster):
            if process.is_running():
                process.send_signal(signal.SIGCONT)
