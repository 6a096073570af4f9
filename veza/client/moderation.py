"""Roles and sanctions in rooms, over REST."""

from typing import Any, Literal

from veza.client.models import Sanctioned, Sanctions
from veza.client.transport import Transport, part

Role = Literal["moderator", "member"]
Action = Literal["warn", "mute", "kick", "ban"]
Lasting = Literal["mute", "ban"]


class ModerationCalls:
    """`veza.moderation`. For the owner and the moderators of a room, towards whoever stands below them."""

    def __init__(self, transport: Transport) -> None:
        self._call = transport.call

    async def warn(self, room_id: str, user_id: str, reason: str = "") -> Sanctioned:
        """Tell them. The third warning also mutes (a setting of the server)."""
        return await self.sanction(room_id, user_id, "warn", reason=reason)

    async def mute(self, room_id: str, user_id: str, duration_s: int | None = None, reason: str = "") -> Sanctioned:
        """They may read and not write, for `duration_s` seconds or until lifted."""
        return await self.sanction(room_id, user_id, "mute", duration_s, reason)

    async def kick(self, room_id: str, user_id: str, reason: str = "") -> Sanctioned:
        """They are out, and may come back."""
        return await self.sanction(room_id, user_id, "kick", reason=reason)

    async def ban(self, room_id: str, user_id: str, duration_s: int | None = None, reason: str = "") -> Sanctioned:
        """They are out and not let in again, for `duration_s` seconds or until lifted."""
        return await self.sanction(room_id, user_id, "ban", duration_s, reason)

    async def lift(self, room_id: str, user_id: str, action: Lasting) -> None:
        """End a mute or a ban."""
        await self._call("DELETE", f"conversations/{part(room_id)}/sanctions/{part(user_id)}/{part(action)}", object)

    async def list(self, room_id: str, limit: int = 20, offset: int = 0) -> Sanctions:
        """What was imposed in a room, newest first."""
        query = {"limit": limit, "offset": offset}
        return await self._call("GET", f"conversations/{part(room_id)}/sanctions", Sanctions, query=query)

    async def set_role(self, room_id: str, user_id: str, role: Role) -> None:
        """Make a member a moderator, or a moderator a member."""
        await self._call("PUT", f"conversations/{part(room_id)}/members/{part(user_id)}", object, body={"role": role})

    async def sanction(
        self, room_id: str, user_id: str, action: Action, duration_s: int | None = None, reason: str = ""
    ) -> Sanctioned:
        """Any of the four."""
        body: dict[str, Any] = {
            "user_id": user_id,
            "action": action,
            "duration_s": duration_s,
            "reason": reason or None,
        }
        return await self._call("POST", f"conversations/{part(room_id)}/sanctions", Sanctioned, body=body)
