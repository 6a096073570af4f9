"""A gateway's side of the shards: who owns what, what waits for an answer, what must be sent again.

Pure: `submit`, `reroute` and `not_owned` return what to send to whom; the gateway's outboxes send it. Order is
kept for each partition: what waits is sent again before anything newer.
"""

from collections.abc import Callable, Mapping
from uuid import UUID

import msgspec

from veza.realtime import commands as c
from veza.realtime import stream_commands as s
from veza.realtime.partition import PARTITIONS, ROOMS, partition_of

Sends = list[tuple[str, c.Routed]]
# partition → (epoch, owner). The epoch orders two maps partition by partition, whatever order they arrive in.
PartitionMap = Mapping[int, tuple[int, str]]


class Waiting:
    """A command without an answer yet. `sent_to` is None while nobody is known to own its partition."""

    __slots__ = ("command", "deadline", "partition", "resolve", "sent_to")

    def __init__(self, command: c.Routed, partition: int, resolve: "Resolve", deadline: float) -> None:
        self.command = command
        self.partition = partition
        self.resolve = resolve
        self.deadline = deadline
        self.sent_to: str | None = None


Answer = c.Answer | c.Refusal | c.Subscribed | s.StreamFollowed
# Called once with the answer, or with None when the deadline passed without one.
Resolve = Callable[[Answer | None], None]


class Router:
    """The partition map as this gateway knows it, and its waiting commands by `ref`: of the kind of shard whose
    partitions begin with `first`.
    """

    def __init__(self, first: int = ROOMS) -> None:
        self._first = first
        self._owners: list[str | None] = [None] * PARTITIONS
        self._epochs = [-1] * PARTITIONS
        self._waiting: dict[int, Waiting] = {}
        self._next_ref = 1

    # -- commands --------------------------------------------------------------------------------------------

    def next_ref(self) -> int:
        ref = self._next_ref
        self._next_ref += 1
        return ref

    def partition(self, subject: UUID) -> int:
        return partition_of(subject, self._first)

    def owner(self, subject: UUID) -> str | None:
        return self._owners[partition_of(subject)]

    def owners(self) -> set[str]:
        return {owner for owner in self._owners if owner is not None}

    def one_of_each_owner(self) -> list[UUID]:
        """For each owner a subject in one of its partitions, to ask how it is."""
        found = {owner: partition for partition, owner in enumerate(self._owners) if owner is not None}
        return [UUID(int=partition) for partition in found.values()]

    @property
    def complete(self) -> bool:
        """Whether every partition has an owner."""
        return None not in self._owners

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def submit(self, command: c.Routed, subject: UUID, resolve: Resolve | None = None, deadline: float = 0.0) -> Sends:
        """Send a command about `subject` (a room or a user). With `resolve`, its `ref` gets an answer."""
        partition = partition_of(subject)
        owner = self._owners[partition]
        command.epoch = self._epochs[partition]
        if resolve is not None:
            waiting = Waiting(command, partition, resolve, deadline)
            waiting.sent_to = owner
            self._waiting[command.ref] = waiting  # type: ignore[attr-defined]  # who wants an answer has a ref
        return [] if owner is None else [(owner, command)]

    def answered(self, answer: Answer) -> None:
        """Hand an answer on; a second answer to a command that was sent twice is dropped.

        What is stored is stored, whoever says so. Anything else from a shard that lost the partition since is not the
        last word: the command was sent to the next owner, who answers too.
        """
        waiting = self._waiting.get(answer.ref)
        if waiting is None or (not isinstance(answer, c.Answer) and answer.epoch != waiting.command.epoch):
            return
        del self._waiting[answer.ref]
        waiting.resolve(answer)

    def give_up(self, command: c.Routed) -> None:
        """It could not be sent and will not be."""
        waiting = self._waiting.pop(getattr(command, "ref", 0), None)
        if waiting is not None:
            waiting.resolve(None)

    def expire(self, now: float) -> None:
        """Give up on what waited too long; whether it was stored is unknown."""
        for ref in [ref for ref, waiting in self._waiting.items() if waiting.deadline <= now]:
            self._waiting.pop(ref).resolve(None)

    # -- ownership -------------------------------------------------------------------------------------------

    def reroute(self, partitions: PartitionMap) -> tuple[Sends, set[int]]:
        """A new map: what to send again, in order, and the partitions that must be followed anew.

        That is also so where the owner is the same under a newer epoch: it may have lost and regained the partition,
        and with it forgotten who follows its rooms. What is older than known changes nothing; the same again fills
        in an owner that was given up by mistake.
        """
        ours = {p - self._first: entry for p, entry in partitions.items() if 0 <= p - self._first < PARTITIONS}
        moved = {
            partition
            for partition, (epoch, _) in ours.items()
            if epoch > self._epochs[partition] or (epoch == self._epochs[partition] and self._owners[partition] is None)
        }
        for partition in moved:
            self._epochs[partition], self._owners[partition] = ours[partition]
        return self._resend(moved), {self._first + partition for partition in moved}

    def not_owned(self, shard: str, refs: list[tuple[int, int]]) -> bool:
        """A shard refused these, `(ref, epoch)`. True when its partitions are now without a known owner, so that a
        newer map is needed; refusals of an owner that was replaced already need none.
        """
        lost = set()
        for ref, epoch in refs:
            waiting = self._waiting.get(ref)
            if waiting is not None and waiting.sent_to == shard and waiting.command.epoch == epoch:
                waiting.sent_to = None
                if self._owners[waiting.partition] == shard:
                    lost.add(waiting.partition)
        for partition in lost:
            self._owners[partition] = None
        return bool(lost)

    def shard_lost(self, shard: str) -> None:
        """The actor is dead: hold what is meant for it until a new map comes."""
        for partition, owner in enumerate(self._owners):
            if owner == shard:
                self._owners[partition] = None
        for waiting in self._waiting.values():
            if waiting.sent_to == shard:
                waiting.sent_to = None

    def _resend(self, partitions: set[int]) -> Sends:
        sends: Sends = []
        for waiting in self._waiting.values():
            owner, epoch = self._owners[waiting.partition], self._epochs[waiting.partition]
            if waiting.partition not in partitions or owner is None:
                continue
            # The same owner under a newer epoch takes no command of an older one.
            if waiting.sent_to == owner and waiting.command.epoch == epoch:
                continue
            waiting.command = _again(waiting.command, epoch)
            waiting.sent_to = owner
            sends.append((owner, waiting.command))
        return sends


def _again(command: c.Routed, epoch: int) -> c.Routed:
    # A copy, for the one that was sent may still wait in an outbox. What is stored has an id.
    if hasattr(command, "id"):
        return msgspec.structs.replace(command, again=True, epoch=epoch)
    return msgspec.structs.replace(command, epoch=epoch)
