"""What one does in a room: messages, what happens to them, people."""

import uuid
from collections.abc import Sequence
from os import PathLike
from typing import TYPE_CHECKING

from veza.client.attachments import Download
from veza.client.models import (
    Attachment,
    Changed,
    HistoryPage,
    Members,
    Message,
    Messages,
    Sanctioned,
    Sanctions,
    Stored,
    attachment_ids,
)
from veza.client.moderation import Lasting, Role

if TYPE_CHECKING:
    from veza.client.socket import Chat


class RoomCommands:
    """The commands of a room. What changes it returns when the change is stored, whatever happens to the connection.

    All raise the server's refusal: `MessageNotFound`, `PermissionDenied`, `Muted`, `RateLimited`, ….
    """

    def __init__(self, chat: "Chat", room_id: str) -> None:
        self.id = room_id
        self._chat = chat

    # Messages.

    async def send(
        self,
        content: str,
        *,
        client_msg_id: str | None = None,
        parent_id: str | None = None,
        attachments: Sequence[Attachment | str] = (),
        timeout: float | None = None,
    ) -> Stored:
        """Send a message; return when it is stored, once, whatever happens to the connection meanwhile.

        `parent_id` is the message it replies to; `attachments` come from `upload_attachment`. Tries with one id
        until the server answers. Raises the server's refusal (`RateLimited`, `Muted`, `UserBlocked`, …), after
        which it is not stored, or `CommandTimeout` after `timeout` seconds, when that is not known: sending again
        with the same `client_msg_id` is safe.
        """
        arguments = {
            "room_id": self.id,
            "content": content,
            "client_msg_id": client_msg_id or str(uuid.uuid4()),
            "parent_id": parent_id,
            "attachments": attachment_ids(attachments),
        }
        return await self._chat.ask("send_message", arguments, Stored, timeout=timeout)

    async def edit(self, message_id: str, content: str) -> Changed:
        """Replace the content of an own message, within 15 minutes of sending it."""
        return await self._on("edit_message", message_id, content=content)

    async def delete(self, message_id: str) -> Changed:
        """Delete an own message, or as a moderator anybody's: its place in the room stays, its content goes."""
        return await self._on("delete_message", message_id)

    async def add_reaction(self, message_id: str, emoji: str) -> Changed:
        """Up to 10 different ones a message and person."""
        return await self._on("add_reaction", message_id, emoji=emoji)

    async def remove_reaction(self, message_id: str, emoji: str) -> Changed:
        return await self._on("remove_reaction", message_id, emoji=emoji)

    async def pin(self, message_id: str) -> Changed:
        return await self._on("pin_message", message_id)

    async def unpin(self, message_id: str) -> Changed:
        return await self._on("unpin_message", message_id)

    async def history(
        self, limit: int = 50, *, before_seq: int | None = None, after_seq: int | None = None
    ) -> Messages:
        """Up to 100 messages before or after a seq; without either, the newest."""
        arguments = {"room_id": self.id, "limit": limit, "before_seq": before_seq, "after_seq": after_seq}
        return await self._chat.ask("get_history", arguments, Messages)

    async def thread(self, parent_id: str, after_seq: int = 0, limit: int = 50) -> Messages:
        """Up to 100 replies to a message, oldest first. While `has_more`, ask on after the last one's seq."""
        arguments = {"room_id": self.id, "parent_id": parent_id, "after_seq": after_seq, "limit": limit}
        return await self._chat.ask("get_thread", arguments, Messages)

    async def search(self, q: str, limit: int = 20, cursor: str | None = None) -> HistoryPage:
        """Messages with all the words of `q`, newest first; the last word may be the beginning of one.

        `cursor` is the `next_cursor` of the page before.
        """
        return await self._chat.calls.conversations.search(self.id, q, limit, cursor)

    async def pins(self) -> list[Message]:
        """The pinned messages."""
        return await self._chat.calls.conversations.pins(self.id)

    async def mark_read(self, seq: int) -> None:
        """Everything up to `seq` was read."""
        await self._chat.ask("mark_read", {"room_id": self.id, "seq": seq}, object)

    async def typing(self, is_typing: bool) -> None:
        """Tell the others; the server forgets it after 5 s. Not while the connection is cut: late it would be wrong."""
        if self._chat.connected:
            await self._chat.request("typing", {"room_id": self.id, "is_typing": is_typing})

    # Files.

    async def upload_attachment(
        self, source: bytes | str | PathLike[str], name: str | None = None, mime_type: str | None = None
    ) -> Attachment:
        """Upload the file at a path, or bytes; pass the result to `send`. See `AttachmentCalls.upload`."""
        return await self._chat.calls.attachments.upload(self.id, source, name, mime_type)

    def download_attachment(self, attachment: Attachment | str) -> Download:
        """`async with room.download_attachment(id) as file`, then `read`, `save` or iterate. See `Download`."""
        return self._chat.calls.attachments.download(self.id, attachment)

    # People.

    async def members(self) -> Members:
        """Who is in the room, with presence and how far each has read."""
        return await self._chat.ask("get_members", {"room_id": self.id}, Members)

    async def set_role(self, user_id: str, role: Role) -> None:
        await self._chat.calls.moderation.set_role(self.id, user_id, role)

    async def warn(self, user_id: str, reason: str = "") -> Sanctioned:
        """See `ModerationCalls`, here and below."""
        return await self._chat.calls.moderation.warn(self.id, user_id, reason)

    async def mute(self, user_id: str, duration_s: int | None = None, reason: str = "") -> Sanctioned:
        return await self._chat.calls.moderation.mute(self.id, user_id, duration_s, reason)

    async def kick(self, user_id: str, reason: str = "") -> Sanctioned:
        return await self._chat.calls.moderation.kick(self.id, user_id, reason)

    async def ban(self, user_id: str, duration_s: int | None = None, reason: str = "") -> Sanctioned:
        return await self._chat.calls.moderation.ban(self.id, user_id, duration_s, reason)

    async def lift(self, user_id: str, action: Lasting) -> None:
        await self._chat.calls.moderation.lift(self.id, user_id, action)

    async def sanctions(self, limit: int = 20, offset: int = 0) -> Sanctions:
        return await self._chat.calls.moderation.list(self.id, limit, offset)

    async def _on(self, command: str, message_id: str, **more: str) -> Changed:
        arguments = {"room_id": self.id, "message_id": message_id, **more}
        return await self._chat.ask(command, arguments, Changed)
