"""Spares an actor the long pauses of Python's garbage collector.

A full collection visits every object there is: a gateway with 5,000 sockets stands still for 0.2 s. Nearly all that it
visits is alive, and what dies is freed by its reference count. So what has survived a second is frozen (taken out of
the collector's sight), and a full collection is made only when the number of objects has grown by half: cycles among
the frozen, which nobody else frees, cannot take more than that.
"""

import gc
import time
from collections.abc import Callable

CHECK_S = 60.0
# What is new is looked at after so many objects more; of 700, Python's own number, most are still at work.
YOUNG = 10_000
GROWTH = 1.5
# Fewer than this more are not worth a pause.
MARGIN = 100_000


class Heap:
    """`beat` is called each second; `on_pause` is told the seconds that a full collection took."""

    def __init__(self, on_pause: Callable[[float], None]) -> None:
        self._on_pause = on_pause
        gc.set_threshold(YOUNG)
        self._allowed = 0.0  # objects
        self._checked = float("-inf")

    def beat(self, now: float) -> None:
        """`now` is monotonic seconds."""
        gc.collect(1)
        gc.freeze()
        if now - self._checked < CHECK_S:
            return
        self._checked = now
        # Walks a list of all objects: some milliseconds for a million.
        if gc.get_freeze_count() > self._allowed:
            self._collect()

    def _collect(self) -> None:
        began = time.perf_counter()
        gc.unfreeze()
        gc.collect()
        gc.freeze()
        self._on_pause(time.perf_counter() - began)
        self._allowed = gc.get_freeze_count() * GROWTH + MARGIN
