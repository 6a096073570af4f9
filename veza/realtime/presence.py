"""Who is online, over all gateways: the owner of a user's partition adds up what the gateways report."""

from uuid import UUID

# A user whose last socket closed stays online this long, so that a reconnect (or 5,000 of them) is no news.
GRACE_S = 3.0

OFFLINE = "offline"
# What a user chose, strongest first: one busy or invisible device speaks for all of them.
_STRENGTH = ("invisible", "busy", "online", "away")


class _Attendance:
    __slots__ = ("gateways", "leaves_at", "shown")

    def __init__(self) -> None:
        self.gateways: dict[str, str] = {}  # gateway → the status there
        self.shown = OFFLINE  # what others were last told
        self.leaves_at: float | None = None  # when the grace of an absent user ends


class PresenceBook:
    """`attend` and `gateway_lost` note; `changes` says what others must be told, at most once a change."""

    def __init__(self) -> None:
        self._users: dict[UUID, _Attendance] = {}
        self._dirty: set[UUID] = set()

    def attend(
        self, gateway: str, user_id: UUID, sockets: int, status: str, now: float, *, again: bool = False
    ) -> None:
        """`again`: a report repeated to a new owner, so that others know the status already."""
        user = self._users.get(user_id)
        if user is None:
            if not sockets:
                return
            user = self._users[user_id] = _Attendance()
            if again:
                user.shown = OFFLINE if status == "invisible" else status
        if sockets:
            user.gateways[gateway] = status
            user.leaves_at = None
        else:
            user.gateways.pop(gateway, None)
            if not user.gateways:
                user.leaves_at = now + GRACE_S
        self._dirty.add(user_id)

    def gateway_lost(self, gateway: str, now: float) -> None:
        for user_id, user in self._users.items():
            if user.gateways.pop(gateway, None) is not None:
                if not user.gateways:
                    user.leaves_at = now + GRACE_S
                self._dirty.add(user_id)

    def forget(self, user_ids: set[UUID]) -> None:
        """These users' partitions went to another shard; the gateways tell it anew."""
        for user_id in user_ids:
            self._users.pop(user_id, None)
        self._dirty -= user_ids

    def users(self) -> set[UUID]:
        return set(self._users)

    def status(self, user_id: UUID) -> str:
        """What others may see: invisible is shown as offline."""
        user = self._users.get(user_id)
        return OFFLINE if user is None else _effective(user)

    def changes(self, now: float) -> list[tuple[UUID, str]]:
        """Users whose visible status changed since the last call, with the new one."""
        changed: list[tuple[UUID, str]] = []
        waiting: set[UUID] = set()
        for user_id in self._dirty:
            user = self._users[user_id]
            if user.leaves_at is not None and user.leaves_at > now:
                waiting.add(user_id)
                continue
            status = _effective(user) if user.gateways else OFFLINE
            if status != user.shown:
                user.shown = status
                changed.append((user_id, status))
            if not user.gateways:
                del self._users[user_id]
        self._dirty = waiting
        return changed


def _effective(user: _Attendance) -> str:
    statuses = set(user.gateways.values())
    if not statuses:
        return user.shown  # still within the grace
    strongest = next((status for status in _STRENGTH if status in statuses), "online")
    return OFFLINE if strongest == "invisible" else strongest
