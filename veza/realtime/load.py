"""How busy each partition is: commands a second, of which the past counts ever less."""

from collections.abc import Iterable
from uuid import UUID

from veza.realtime import commands as c
from veza.realtime.partition import PARTITIONS

# Long enough that a burst of one room is no trend, short enough that an evening's change is seen in a minute.
HALF_LIFE_S = 10.0
# Readings closer together than this say nothing; below this rate a partition is not worth a word.
SHORTEST_S = 0.05
WORTH_TELLING = 0.1


class LoadMeter:
    """Counts commands by partition. `rates` folds what was counted since the last reading into a decaying mean."""

    def __init__(self) -> None:
        self._counts = [0] * PARTITIONS
        self._rates = [0.0] * PARTITIONS
        self._read_at: float | None = None  # the first reading begins it

    def took(self, queue: Iterable[tuple[str, c.ShardCommand]]) -> None:
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
        return {partition: round(rate, 2) for partition, rate in enumerate(self._rates) if rate >= WORTH_TELLING}

    def forget(self, partitions: Iterable[int]) -> None:
        """They are somebody else's now."""
        for partition in partitions:
            self._counts[partition], self._rates[partition] = 0, 0.0


def subject_of(command: c.ShardCommand) -> UUID | None:
    """What a command is about: a room, else a user."""
    found: UUID | None = getattr(command, "room_id", None) or getattr(command, "user_id", None)
    return found
