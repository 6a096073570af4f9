"""Virtual time and chance: the only sources of both in the simulation."""

from collections.abc import Callable
from heapq import heappop, heappush
from random import Random

Call = Callable[[], None]


class Clock:
    """Seconds since the beginning. What is due at the same moment happens in the order in which it was put."""

    def __init__(self) -> None:
        self.now = 0.0
        self.steps = 0
        self._due: list[tuple[float, int, Call]] = []
        self._count = 0

    def at(self, when: float, call: Call) -> None:
        self._count += 1
        heappush(self._due, (when, self._count, call))

    def later(self, seconds: float, call: Call) -> None:
        self.at(self.now + seconds, call)

    def run(self, until: float) -> None:
        due = self._due
        while due and due[0][0] <= until:
            self.now, _, call = heappop(due)
            self.steps += 1
            call()
        self.now = until


class Chance:
    """One stream of chance for each name, so that what is left out of a story changes nothing elsewhere in it."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._streams: dict[str, Random] = {}

    def of(self, name: str) -> Random:
        found = self._streams.get(name)
        if found is None:
            found = self._streams[name] = Random(f"{self._seed} {name}")  # noqa: S311 - repeatable, not secret
        return found
