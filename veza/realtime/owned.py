"""The partitions that a shard owns: under which epoch, since when, and whether what was read of them still holds."""

from collections.abc import Iterable, Mapping
from uuid import UUID

from veza.realtime.partition import partition_of


class Owned:
    """Of every kind of shard; `first` is the first partition of its kind."""

    def __init__(self, first: int) -> None:
        self.first = first
        self.epochs: dict[int, int] = {}  # partition → the epoch under which it is owned
        self._since: dict[int, int] = {}  # partition → the epoch at which it was granted
        self._read: dict[UUID, int] = {}  # what is read for this round → the partition's epoch before

    def partition(self, subject: UUID) -> int:
        return partition_of(subject, self.first)

    def owns(self, subject: UUID) -> bool:
        return self.partition(subject) in self.epochs

    def epoch_of(self, subject: UUID) -> int:
        """That of its partition, which is ours."""
        return self.epochs[self.partition(subject)]

    def owned_since(self, subject: UUID, epoch: int) -> bool:
        """Whether it is ours and was when a gateway sent, under this epoch, what concerns it."""
        since = self._since.get(self.partition(subject))
        return since is not None and epoch >= since

    def newer(self, epochs: Mapping[int, int]) -> dict[int, int]:
        """Those that are new, or whose epoch rose: what is known of them is out of date. A lower epoch than known is
        old news, for this shard has renewed it since.
        """
        return {p: epoch for p, epoch in epochs.items() if epoch > self.epochs.get(p, -1)}

    def own(self, epochs: Mapping[int, int]) -> None:
        self.epochs.update(epochs)
        self._since.update(epochs)

    def disown(self, partitions: Iterable[int]) -> set[int]:
        """Returns those that were owned."""
        gone = set(partitions) & self.epochs.keys()
        for partition in gone:
            del self.epochs[partition], self._since[partition]
        return gone

    def renewed(self, epochs: Mapping[int, int]) -> None:
        """The same ownership under newer epochs: nobody else wrote meanwhile, so all that is known stays."""
        self.epochs.update({p: max(epoch, self.epochs[p]) for p, epoch in epochs.items() if p in self.epochs})

    # -- reading ---------------------------------------------------------------------------------------------

    def reading(self, subjects: Iterable[UUID]) -> None:
        """These are read for this round."""
        self._read = {subject: self.epoch_of(subject) for subject in subjects}

    def current(self, subject: UUID) -> bool:
        """Whether it was read in this round, under the epoch that still holds."""
        return subject in self._read and self._read[subject] == self.epochs.get(self.partition(subject))

    def unread(self, partitions: set[int]) -> None:
        """What was read of these for this round has gone with them."""
        self._read = {s: epoch for s, epoch in self._read.items() if self.partition(s) not in partitions}
