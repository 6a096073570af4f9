"""Order in the chats of live streams, over REST."""

from typing import Literal

from veza.client.live_models import StreamModerators, StreamSanctioned, StreamSanctions
from veza.client.transport import Transport, part

Action = Literal["mute", "ban"]


class LiveModerationCalls:
    """`veza.live_moderation`. For the owner and the moderators of a stream, and for administrators."""

    def __init__(self, transport: Transport) -> None:
        self._call = transport.call

    async def delete_message(self, stream_id: str, message_id: str) -> None:
        """Take a message out of the chat; one's own needs nobody's leave."""
        await self._call("DELETE", f"live/streams/{part(stream_id)}/messages/{part(message_id)}", object)

    async def mute(
        self, stream_id: str, user_id: str, duration_s: int | None = None, reason: str = ""
    ) -> StreamSanctioned:
        """They may read and not write, for `duration_s` seconds or until lifted."""
        return await self.sanction(stream_id, user_id, "mute", duration_s, reason)

    async def ban(
        self, stream_id: str, user_id: str, duration_s: int | None = None, reason: str = ""
    ) -> StreamSanctioned:
        """They are told nothing more and cannot watch, for `duration_s` seconds or until lifted."""
        return await self.sanction(stream_id, user_id, "ban", duration_s, reason)

    async def sanction(
        self, stream_id: str, user_id: str, action: Action, duration_s: int | None = None, reason: str = ""
    ) -> StreamSanctioned:
        """Either of the two."""
        body = {"user_id": user_id, "action": action, "duration_s": duration_s, "reason": reason or None}
        return await self._call("POST", f"live/streams/{part(stream_id)}/sanctions", StreamSanctioned, body=body)

    async def lift(self, stream_id: str, user_id: str, action: Action) -> None:
        """End a mute or a ban."""
        path = f"live/streams/{part(stream_id)}/sanctions/{part(user_id)}/{part(action)}"
        await self._call("DELETE", path, object)

    async def sanctions(
        self, stream_id: str, limit: int = 20, cursor: str | None = None, *, include_ended: bool = False
    ) -> StreamSanctions:
        """Mutes and bans in force, newest first; with `include_ended` those before, too."""
        query = {"limit": limit, "cursor": cursor, "include_ended": include_ended or None}
        return await self._call("GET", f"live/streams/{part(stream_id)}/sanctions", StreamSanctions, query=query)

    async def add_moderator(self, stream_id: str, user_id: str) -> None:
        """Make somebody a moderator of a stream of one's own; again is harmless."""
        await self._call("PUT", f"live/streams/{part(stream_id)}/moderators/{part(user_id)}", object)

    async def remove_moderator(self, stream_id: str, user_id: str) -> None:
        """They moderate no more; again is harmless."""
        await self._call("DELETE", f"live/streams/{part(stream_id)}/moderators/{part(user_id)}", object)

    async def moderators(self, stream_id: str, limit: int = 20, offset: int = 0) -> StreamModerators:
        """Who moderates, the latest first."""
        query = {"limit": limit, "offset": offset}
        return await self._call("GET", f"live/streams/{part(stream_id)}/moderators", StreamModerators, query=query)
