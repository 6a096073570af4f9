"""How many requests pass in a fixed window, over all gateways: what a limit is, and whose windows an actor keeps.

A limit of L is L *units*. Each lets one request pass in each window, and is with one gateway, or at home with the
limiter that owns the key; units move between them and are never made. Whoever passes a unit on says in which window
it is, and whether it was spent there; who takes it over is never in an earlier window afterwards. So no more than L
requests pass in any window, and a gateway that has units enough asks nobody.
"""

from hashlib import blake2b
from typing import Literal, NamedTuple

import msgspec


class Policy(msgspec.Struct, frozen=True):
    """At most `limit` requests in each window of `period_s` seconds, which begins at a whole multiple of it.

    Counted for each client address, for each user who is signed in, or for everybody together. Two policies do not
    share a `name`.
    """

    name: str
    limit: int
    period_s: int
    per: Literal["address", "user", "all"] = "address"

    def share(self, gateways: int) -> int:
        """What a gateway lets pass in a window by itself while nobody can be asked."""
        return max(1, self.limit // max(1, gateways))


class Now(NamedTuple):
    """`wall` is Unix time, which tells windows; `steady` never jumps, and tells how long something takes."""

    wall: float
    steady: float


class Limiters(msgspec.Struct, frozen=True):
    """Who keeps the windows of everybody, and for whom: the living actors by name. Of two that differ the later has
    the higher `version`; the limiters are the same ever since the version `since`.
    """

    version: int
    since: int
    limiters: tuple[str, ...]
    gateways: tuple[str, ...]

    def owner(self, policy: str, subject: str) -> str | None:
        """The limiter that owns a key: of those there are, another only if that one comes or goes."""
        names = self.limiters
        if len(names) < 2:
            return names[0] if names else None
        return max(names, key=lambda name: _weight(name, policy, subject))


def _weight(name: str, policy: str, subject: str) -> bytes:
    return blake2b(f"{name}\0{policy}\0{subject}".encode(), digest_size=8).digest()


def window_of(now: float, period_s: int, told: int = 0) -> int:
    """The window by our clock, or the one after it when a message is `told` to be there already: two clocks are never
    quite the same. A clock that is further ahead is wrong, and must not keep a key from its next windows.
    """
    here = int(now) // period_s
    return min(told, here + 1) if told > here else here
