"""How busy each partition is: commands a second, of which the past counts ever less."""

from collections.abc import Iterable
from uuid import UUID

from veza.realtime import commands as c
from veza.realtime.partition import PARTITIONS, ROOMS

# Long enough that a burst of one room is no trend, short enough that an evening's change is seen in a minute.
HALF_LIFE_S = 10.0
# Readings closer together than this say nothing; below this rate a partition is not worth a word.
SHORTEST_S = 0.05
WORTH_TELLING = 0.1


class LoadMeter:
    """Counts commands by partition. `rates` folds what was counted since the last reading into a decaying mean.

    `first` is the first partition of its kind of shard.
    """

    def __init__(self, first: int = ROOMS) -> None:
        self._first = first
        self._counts = [0] * PARTITIONS
        self._rates = [0.0] * PARTITIONS
        self._read_at: float | None = None  # the first reading begins it

    def took(self, queue: Iterable[tuple[str, c.Routed]]) -> None:
        counts = self._counts
        for _, command in queue:
            subject = subject_of(command)
            if subject is not None:
                counts[subject.int % PARTITIONS] += 1

    def rates(self, now: float) -> dict[int, float]:
        """Commands a second by partition; those that are as good as idle are left out."""
        if self._read_at is None:
            self._read_at, self._counts = now, [0] * PARTITIONS
            return {}
        passed = now - self._read_at
        if passed >= SHORTEST_S:
            weight = 1 - 0.5 ** (passed / HALF_LIFE_S)
            for partition, count in enumerate(self._counts):
                self._rates[partition] += (count / passed - self._rates[partition]) * weight
            self._counts = [0] * PARTITIONS
            self._read_at = now
        rates = enumerate(self._rates, self._first)
        return {partition: round(rate, 2) for partition, rate in rates if rate >= WORTH_TELLING}

    def forget(self, partitions: Iterable[int]) -> None:
        """They are somebody else's now."""
        for partition in partitions:
            self._counts[partition - self._first], self._rates[partition - self._first] = 0, 0.0


def subject_of(command: c.Routed) -> UUID | None:
    """What a command is about: a room or a stream, else a user."""
    for name in ("room_id", "stream_id", "user_id"):
        found: UUID | None = getattr(command, name, None)
        if found is not None:
            return found
    return None
