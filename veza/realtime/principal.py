"""Who is asking: the identity that a credential stands for."""

import enum
from datetime import datetime
from uuid import UUID

import msgspec


class Role(enum.StrEnum):
    """Platform roles; each includes those before it."""

    USER = "user"
    CREATOR = "creator"
    MODERATOR = "moderator"
    ADMIN = "admin"

    @property
    def rank(self) -> int:
        return list(Role).index(self)

    def includes(self, other: "Role") -> bool:
        return self.rank >= other.rank


class Principal(msgspec.Struct, frozen=True):
    """An authenticated caller. `session_id` is None for an API key; `key_id` and `expires_at` are of such a key."""

    user_id: UUID
    username: str
    role: Role
    session_id: UUID | None = None
    scopes: frozenset[str] = frozenset({"read", "write"})
    key_id: UUID | None = None
    expires_at: datetime | None = None
