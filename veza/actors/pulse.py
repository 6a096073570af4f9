"""What every actor measures of itself: how late its event loop is, what its process takes; and it minds the heap."""

import asyncio
import os
import resource
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from veza import metrics
from veza.actors.heap import Heap

# How late the loop wakes is looked at each `BEAT_S`; everything else, and the worst of it, each second.
BEAT_S = 0.25
BEATS = 4
# The worst of so many seconds is shown: as long as Prometheus usually takes to look again.
WINDOW = 15
_PAGE_BYTES = resource.getpagesize()


class Pulse:
    """`sample` is called each second, to set the gauges of what the actor holds and to flush its tallies."""

    def __init__(self, kind: str, actor: str, sample: Callable[[], None]) -> None:
        self.lag_ms = 0.0  # the worst of the last WINDOW seconds
        self._sample = sample
        self._heap = Heap(metrics.FULL_COLLECTIONS.labels(kind).observe)
        self._lag = metrics.LOOP_LAG.labels(kind)
        self._worst = metrics.LOOP_LAG_WORST.labels(actor)
        self._bytes = metrics.PROCESS_BYTES.labels(actor)
        self._cpu = metrics.PROCESS_CPU.labels(kind)
        self._cores = metrics.PROCESS_CORES.labels(actor)
        self._lags: deque[float] = deque([0.0], maxlen=WINDOW)
        self._spent: deque[tuple[float, float]] = deque(maxlen=WINDOW + 1)  # (when, processor seconds until then)

    async def run(self) -> None:
        now = time.monotonic  # the loop's own clock stands still while it works
        while True:
            worst = 0.0
            for _ in range(BEATS):
                due = now() + BEAT_S
                await asyncio.sleep(BEAT_S)
                lag = max(0.0, now() - due)
                self._lag.observe(lag)
                worst = max(worst, lag)
            self._heap.beat(now())
            self.beat(worst, now(), time.process_time())

    def beat(self, lag: float, now: float, cpu: float) -> None:
        """One second's numbers: the loop's worst lag in it, and the processor seconds the process has used so far."""
        self._lags.append(lag)
        worst = max(self._lags)
        self.lag_ms = round(worst * 1000, 1)
        self._worst.set(worst)
        self._bytes.set(resident_bytes())
        since, before = self._spent[-1] if self._spent else (now, 0.0)
        self._cpu.inc(cpu - before)
        self._spent.append((now, cpu))
        since, before = self._spent[0]
        if now > since:
            self._cores.set((cpu - before) / (now - since))
        self._sample()


def resident_bytes() -> int:
    """Resident memory of this process."""
    return int(Path(f"/proc/{os.getpid()}/statm").read_text().split()[1]) * _PAGE_BYTES
