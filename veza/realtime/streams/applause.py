"""Reactions to a stream: summed over a second, for a thousand hearts are one number."""

from collections.abc import Mapping

# Of different emoji in one second. More than a picture can show, and a bound on what strangers can make us keep.
KINDS = 32
TELL_EVERY_S = 1.0


class Applause:
    """`total` is of the whole stream; `due` gives what came since it was last told."""

    __slots__ = ("_counts", "_told_at", "total")

    def __init__(self, total: int = 0) -> None:
        self.total = total
        self._counts: dict[str, int] = {}
        self._told_at = float("-inf")

    def add(self, counts: Mapping[str, int]) -> None:
        """Of emoji beyond KINDS in a second nothing is shown; they count in the total."""
        for emoji, count in counts.items():
            if count <= 0:
                continue
            self.total += count
            if emoji in self._counts or len(self._counts) < KINDS:
                self._counts[emoji] = self._counts.get(emoji, 0) + count

    def due(self, now: float) -> dict[str, int] | None:
        if not self._counts or now - self._told_at < TELL_EVERY_S:
            return None
        counts, self._counts = self._counts, {}
        self._told_at = now
        return counts
