"""Which partition a thing is in, and who should own which partition."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from uuid import UUID

PARTITIONS = 256
# The first partition of what a kind of shard owns: rooms and users have 0 to 255, streams 256 to 511.
ROOMS, STREAMS = 0, 256


def partition_of(subject: UUID, first: int = ROOMS) -> int:
    """The partition of a room, stream or user: its UUID modulo 256, the same in every process and language."""
    return first + subject.int % PARTITIONS


def plan(current: Mapping[int, str | None], owners: Iterable[str], first: int = ROOMS) -> dict[int, str]:
    """A balanced assignment of the 256 partitions from `first` on to `owners` that moves as few as it can.

    Every owner ends with ⌊256/n⌋ or ⌈256/n⌉; a partition leaves a living owner only if that owner has too many.
    """
    names = sorted(owners)
    if not names:
        return {}
    held: dict[str, list[int]] = defaultdict(list)
    homeless: list[int] = []
    for partition in range(first, first + PARTITIONS):
        owner = current.get(partition)
        if owner in names:
            held[str(owner)].append(partition)
        else:
            homeless.append(partition)
    # Those who hold most keep the odd ones, so that nothing moves for symmetry's sake.
    names.sort(key=lambda name: -len(held[name]))
    base, odd = divmod(PARTITIONS, len(names))
    quota = {name: base + (1 if index < odd else 0) for index, name in enumerate(names)}
    for name in names:
        while len(held[name]) > quota[name]:
            homeless.append(held[name].pop())
    for name in names:
        while len(held[name]) < quota[name]:
            held[name].append(homeless.pop())
    return {partition: name for name in names for partition in held[name]}
