"""Who is online, over all gateways: the owner of a user's partition adds up what the gateways report."""

from collections.abc import Collection, Iterable
from uuid import UUID

from veza.realtime.partition import partition_of

# A user whose last socket closed stays online this long, so that a reconnect (or 5,000 of them) is no news.
GRACE_S = 3.0
# A gateway that nothing was heard of for so long is taken for lost. With the grace, a ghost is gone within 12 s.
LEASE_S = 8.0
# Gateways are heard of this often; three in a row may be late.
BEAT_S = 2.0
# Who looks at the leases later than this was asleep, and heard nothing because of that.
AWAKE_S = 1.0

OFFLINE = "offline"
# What a user chose, strongest first: one busy or invisible device speaks for all of them.
_STRENGTH = ("invisible", "busy", "online", "away")


def strongest(statuses: set[str]) -> str:
    """Of several devices; a word that is not known counts as online."""
    return next((status for status in _STRENGTH if status in statuses), "online")


class _Attendance:
    __slots__ = ("gateways", "leaves_at", "shown")

    def __init__(self) -> None:
        self.gateways: dict[str, tuple[int, str]] = {}  # gateway → sockets and the status there
        self.shown = OFFLINE  # what others were last told
        self.leaves_at: float | None = None  # when the grace of an absent user ends

    @property
    def sockets(self) -> int:
        return sum(sockets for sockets, _ in self.gateways.values())


class PresenceBook:
    """`attend` and `gateway_lost` note; `changes` says what others must be told, at most once a change."""

    def __init__(self, max_sockets: int = 64) -> None:
        self._max_sockets = max_sockets
        self._users: dict[UUID, _Attendance] = {}
        self._dirty: set[UUID] = set()
        self._taken_over: set[int] = set()  # partitions whose users others may know of, unlike this book
        # user → gateway → how many it added beyond the limit, the last to add at the end
        self._crowded: dict[UUID, dict[str, int]] = {}

    def attend(
        self, gateway: str, user_id: UUID, sockets: int, status: str, now: float, *, again: bool = False
    ) -> None:
        """`again`: a report repeated to a new owner, so that others know the status already, unless it was the first
        and nobody took it. `settled` finds that out; who reports for the first time after that is news in any case.
        """
        user = self._users.get(user_id)
        if user is None:
            if not sockets:
                return
            user = self._users[user_id] = _Attendance()
            if again and partition_of(user_id) in self._taken_over:
                user.shown = OFFLINE if status == "invisible" else status
        before = user.gateways.get(gateway, (0, ""))[0]
        if sockets:
            user.gateways[gateway] = sockets, status
            user.leaves_at = None
        elif user.gateways.pop(gateway, None) is not None and not user.gateways:
            user.leaves_at = now + GRACE_S
        self._note_crowd(gateway, user_id, user, sockets - before)
        self._dirty.add(user_id)

    def _note_crowd(self, gateway: str, user_id: UUID, user: _Attendance, change: int) -> None:
        added = self._crowded.get(user_id, {})
        if change > 0 and user.sockets > self._max_sockets:
            self._crowded[user_id] = added
            added[gateway] = added.pop(gateway, 0) + change
        elif change < 0 and gateway in added:
            # What closed beyond what was too much is no credit for what opens later.
            added[gateway] = max(0, added[gateway] + change)

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
            self._crowded.pop(user_id, None)
        self._dirty -= user_ids

    def took_over(self, partitions: Iterable[int]) -> None:
        """Somebody else has told others of the users of these partitions until now."""
        self._taken_over.update(partitions)

    def settled(self, partitions: Iterable[int], present: Collection[UUID]) -> dict[UUID, str]:
        """All gateways that live have said who is in these partitions, of whose users the owner before showed these as
        present. Returns of whom others must be told what, because they came or went in between.
        """
        due = set(partitions)
        self._taken_over -= due
        told = {user_id: OFFLINE for user_id in present if user_id not in self._users and partition_of(user_id) in due}
        for user_id, user in self._users.items():
            if partition_of(user_id) in due and (user.shown != OFFLINE) != (user_id in present):
                told[user_id] = user.shown
        return told

    def users(self) -> set[UUID]:
        return set(self._users)

    def gateways(self, user_id: UUID) -> tuple[str, ...]:
        """Where a user has sockets now."""
        user = self._users.get(user_id)
        return () if user is None else tuple(user.gateways)

    def status(self, user_id: UUID) -> str:
        """What others may see: invisible is shown as offline."""
        user = self._users.get(user_id)
        return OFFLINE if user is None else _effective(user)

    def changes(self, now: float, at_most: int | None = None) -> list[tuple[UUID, str]]:
        """Users whose visible status changed since the last call, with the new one. What is beyond `at_most` is told
        by the next call, if it is still true then.
        """
        changed: list[tuple[UUID, str]] = []
        waiting: set[UUID] = set()
        for user_id in self._dirty:
            user = self._users[user_id]
            if (user.leaves_at is not None and user.leaves_at > now) or len(changed) == at_most:
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

    def crowds(self) -> list[tuple[str, UUID, int]]:
        """Which gateways must close how many of a user's newest sockets.

        Asked now and then rather than at once: a client that moves a socket from one gateway to another may be
        reported by the new one first.
        """
        found: list[tuple[str, UUID, int]] = []
        for user_id, added in self._crowded.items():
            user = self._users.get(user_id)
            excess = 0 if user is None else user.sockets - self._max_sockets
            for gateway in reversed(added):
                share = min(added[gateway], excess)
                if share > 0:
                    found.append((gateway, user_id, share))
                    excess -= share
        self._crowded = {}
        return found


def _effective(user: _Attendance) -> str:
    if not user.gateways:
        return user.shown  # still within the grace
    status = strongest({status for _, status in user.gateways.values()})
    return OFFLINE if status == "invisible" else status


class Leases:
    """Which gateways are there: those that were heard of in the last LEASE_S."""

    def __init__(self) -> None:
        self._heard: dict[str, float] = {}
        self._ended: set[str] = set()
        self._looked_at: float | None = None

    def heard(self, gateway: str, now: float) -> bool:
        """Something came from it. True when its lease had ended: it must be told to say everything again."""
        self._heard[gateway] = now
        returned = gateway in self._ended
        self._ended.discard(gateway)
        return returned

    def lost(self, gateway: str) -> None:
        """It is dead, and is not waited for."""
        self._heard.pop(gateway, None)
        self._ended.discard(gateway)

    def ended(self, now: float) -> list[str]:
        """Gateways whose lease ended since the last call."""
        slept = 0.0 if self._looked_at is None else now - self._looked_at
        self._looked_at = now
        if slept > AWAKE_S:
            self._heard = {gateway: heard + slept for gateway, heard in self._heard.items()}
        silent = [gateway for gateway, heard in self._heard.items() if now - heard > LEASE_S]
        for gateway in silent:
            del self._heard[gateway]
        self._ended.update(silent)
        return silent
