"""Who is muted in or banned from a room, and how often each was warned."""

from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

import msgspec

from veza.errors import Banned, Muted
from veza.realtime.protocol import timestamp

ACTIONS = ("warn", "mute", "kick", "ban")
# What lasts, and can be lifted.
LASTING = ("mute", "ban")
REASON_CHARS = 500
LONGEST_S = 10 * 365 * 24 * 3600


class Policy(msgspec.Struct, frozen=True):
    """Every `warnings_before_mute`th warning mutes for `warning_mute_s` seconds; 0 warnings: none does."""

    warnings_before_mute: int = 3
    warning_mute_s: int = 3600


class Sanctioned(msgspec.Struct, frozen=True):
    """One row: what is in force. A warning counts however old it is; `until` None lasts until lifted."""

    user_id: UUID
    action: str
    until: datetime | None


class Sanctions:
    """The sanctions of one room."""

    __slots__ = ("_lasting", "_warnings")

    def __init__(self, rows: Iterable[Sanctioned] = ()) -> None:
        self._lasting: dict[tuple[UUID, str], datetime | None] = {}
        self._warnings: dict[UUID, int] = {}
        for row in rows:
            if row.action == "warn":
                self.warn(row.user_id)
            else:
                self.impose(row.user_id, row.action, row.until)

    def impose(self, user_id: UUID, action: str, until: datetime | None) -> None:
        """The longer of two stands."""
        key = (user_id, action)
        if key in self._lasting:
            known = self._lasting[key]
            until = None if known is None or until is None else max(known, until)
        self._lasting[key] = until

    def lift(self, user_id: UUID, action: str) -> bool:
        """Whether there was one."""
        return self._lasting.pop((user_id, action), self) is not self

    def warn(self, user_id: UUID) -> int:
        """Count one more; returns how many those are."""
        count = self._warnings[user_id] = self._warnings.get(user_id, 0) + 1
        return count

    def in_force(self, user_id: UUID, action: str, now: datetime) -> tuple[bool, datetime | None]:
        """Whether a mute or ban holds, and until when (None: until lifted)."""
        key = (user_id, action)
        if key not in self._lasting:
            return False, None
        until = self._lasting[key]
        return until is None or until > now, until

    def banned(self, now: datetime) -> list[UUID]:
        """All whose ban holds."""
        return sorted(
            user_id
            for (user_id, action), until in self._lasting.items()
            if action == "ban" and (until is None or until > now)
        )

    def require_voice(self, user_id: UUID, now: datetime) -> None:
        """Raises Muted."""
        if not self._lasting:
            return
        holds, until = self.in_force(user_id, "mute", now)
        if holds:
            raise Muted(f"You are muted in this room{until_text(until)}.")

    def require_admission(self, user_id: UUID, now: datetime) -> None:
        """Raises Banned."""
        holds, until = self.in_force(user_id, "ban", now)
        if holds:
            raise Banned(f"This person is banned from the room{until_text(until)}.")


def until_text(moment: datetime | None) -> str:
    """How a sentence about a mute or ban ends."""
    return "" if moment is None else f" until {timestamp(moment)}"
