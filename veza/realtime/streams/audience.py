"""Who watches a stream, over all gateways: a person counts once, an anonymous socket for itself."""

from collections import Counter
from collections.abc import Collection
from uuid import UUID

# Viewers are told how many they are at most this often.
TELL_EVERY_S = 1.0


class Audience:
    """What the gateways report, added up. `peak` is the most there ever were at once."""

    __slots__ = ("_anonymous", "_everywhere", "_people", "_told", "_told_at", "peak")

    def __init__(self, peak: int = 0, told_at: float = float("-inf")) -> None:
        self.peak = peak
        self._people: dict[str, set[UUID]] = {}  # by gateway
        self._everywhere: Counter[UUID] = Counter()  # on how many gateways each is
        self._anonymous: dict[str, int] = {}
        self._told: int | None = None
        self._told_at = told_at

    @property
    def count(self) -> int:
        return len(self._everywhere) + sum(self._anonymous.values())

    @property
    def gateways(self) -> Collection[str]:
        """Those with viewers."""
        return self._people.keys() | self._anonymous.keys()

    def report(
        self, gateway: str, came: Collection[UUID], left: Collection[UUID], anonymous: int, *, whole: bool = False
    ) -> None:
        """What changed on a gateway since its last report; `whole` when `came` is everybody it has. `anonymous` is
        always all of them.
        """
        if whole:
            self._forget_people(gateway)
        people = self._people.setdefault(gateway, set())
        for user_id in came:
            if user_id not in people:
                people.add(user_id)
                self._everywhere[user_id] += 1
        for user_id in left:
            if user_id in people:
                people.discard(user_id)
                self._gone(user_id)
        if not people:
            del self._people[gateway]
        if anonymous > 0:
            self._anonymous[gateway] = anonymous
        else:
            self._anonymous.pop(gateway, None)
        self.peak = max(self.peak, self.count)

    def gateway_lost(self, gateway: str) -> None:
        self._forget_people(gateway)
        self._anonymous.pop(gateway, None)

    def due(self, now: float) -> int | None:
        """The count, when viewers must be told of it now."""
        count = self.count
        if count == self._told or now - self._told_at < TELL_EVERY_S:
            return None
        self._told, self._told_at = count, now
        return count

    def _forget_people(self, gateway: str) -> None:
        for user_id in self._people.pop(gateway, ()):
            self._gone(user_id)

    def _gone(self, user_id: UUID) -> None:
        self._everywhere[user_id] -= 1
        if not self._everywhere[user_id]:
            del self._everywhere[user_id]
