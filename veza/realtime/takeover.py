"""Partitions that this shard took over a while ago, when all who live have said who is online in them."""

from collections.abc import Iterable, Mapping

# Gateways repeat their users to a new owner as soon as they hear of it. Who was shown as present before, and is in none
# of their reports by then, left with a gateway that died together with the shard. Partitions may move twice on the way
# and a ghost is still gone within 15 s.
SETTLE_S = 3.0


class Takeovers:
    """`due` gives each partition once."""

    def __init__(self) -> None:
        self._since: dict[int, float] = {}

    def note(self, owned_before: Mapping[int, int], owned: Mapping[int, int], now: float) -> set[int]:
        """What is owned from now on, partition → epoch. Returns what is taken over: also one that comes back under a
        newer epoch, for it was somebody else's, though this shard may not have heard of it.
        """
        taken = {p for p, epoch in owned.items() if epoch > owned_before.get(p, -1)}
        self._since = {p: now if p in taken else self._since[p] for p in owned if p in taken or p in self._since}
        return taken

    def __contains__(self, partition: int) -> bool:
        """Whether it was taken over and is not due yet."""
        return partition in self._since

    def due(self, now: float) -> list[int]:
        found = [partition for partition, since in self._since.items() if now - since >= SETTLE_S]
        for partition in found:
            del self._since[partition]
        return found

    def again(self, partitions: Iterable[int], now: float) -> None:
        """They could not be looked at."""
        for partition in partitions:
            self._since.setdefault(partition, now - SETTLE_S)
