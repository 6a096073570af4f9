"""Rooms over REST."""

import uuid
from collections.abc import AsyncIterator, Sequence
from typing import Any, Literal

from veza.client.models import (
    Attachment,
    Conversation,
    Conversations,
    HistoryPage,
    Message,
    PublicRooms,
    Stored,
    attachment_ids,
)
from veza.client.transport import Transport, part

Kind = Literal["direct", "group", "public"]


class ConversationCalls:
    """`veza.conversations`. Every call raises a `ClientError` when refused."""

    def __init__(self, transport: Transport) -> None:
        self._call = transport.call

    async def create(
        self, kind: Kind = "group", name: str | None = None, member_ids: Sequence[str] = ()
    ) -> Conversation:
        """Make a room. A second `direct` room with the same person is the first one."""
        body = {"type": kind, "name": name, "member_ids": list(member_ids)}
        return await self._call("POST", "conversations", Conversation, body=body)

    async def get(self, room_id: str) -> Conversation:
        return await self._call("GET", f"conversations/{part(room_id)}", Conversation)

    async def update(self, room_id: str, name: str | None = None, *, retention_days: int | None = None) -> Conversation:
        """Rename, or set how many days events are kept (0: for ever); what is None stays."""
        body = {"name": name, "retention_days": retention_days}
        return await self._call("PUT", f"conversations/{part(room_id)}", Conversation, body=body)

    async def delete(self, room_id: str) -> None:
        await self._call("DELETE", f"conversations/{part(room_id)}", object)

    async def mine(self, limit: int = 20, offset: int = 0) -> Conversations:
        """The rooms one is a member of, with last message and unread count."""
        return await self._call("GET", "conversations", Conversations, query={"limit": limit, "offset": offset})

    async def discover(self, q: str | None = None, limit: int = 20, offset: int = 0) -> PublicRooms:
        """Public rooms to join, newest first; `q` is a part of the name."""
        query = {"q": q, "limit": limit, "offset": offset}
        return await self._call("GET", "conversations/public", PublicRooms, query=query)

    # The name of the address, too.
    public = discover

    async def join(self, room_id: str) -> None:
        """Become a member of a public room."""
        await self._call("POST", f"conversations/{part(room_id)}/join", object)

    async def leave(self, room_id: str) -> None:
        await self._call("POST", f"conversations/{part(room_id)}/leave", object)

    async def add_member(self, room_id: str, user_id: str, role: str | None = None) -> None:
        body = {"user_id": user_id, "role": role}
        await self._call("POST", f"conversations/{part(room_id)}/members", object, body=body)

    async def remove_member(self, room_id: str, user_id: str) -> None:
        await self._call("DELETE", f"conversations/{part(room_id)}/members/{part(user_id)}", object)

    async def history(self, room_id: str, limit: int = 50, cursor: str | None = None) -> HistoryPage:
        """A page of messages, newest first; `cursor` is the `next_cursor` of the page before."""
        query = {"limit": limit, "cursor": cursor}
        return await self._call("GET", f"conversations/{part(room_id)}/history", HistoryPage, query=query)

    async def search(self, room_id: str, q: str, limit: int = 20, cursor: str | None = None) -> HistoryPage:
        """Messages with all the words of `q`, newest first; the last word may be the beginning of one.

        `cursor` is the `next_cursor` of the page before.
        """
        query = {"q": q, "limit": limit, "cursor": cursor}
        return await self._call("GET", f"conversations/{part(room_id)}/search", HistoryPage, query=query)

    async def pins(self, room_id: str) -> list[Message]:
        """The pinned messages."""
        return (await self._call("GET", f"conversations/{part(room_id)}/pins", HistoryPage)).messages

    async def walk(self, room_id: str, page: int = 100) -> AsyncIterator[Message]:
        """All messages from the newest to the first, fetched `page` at a time."""
        cursor: str | None = None
        while True:
            found = await self.history(room_id, page, cursor)
            for message in found.messages:
                yield message
            cursor = found.next_cursor
            if not found.has_more or cursor is None:
                return

    async def send(
        self,
        room_id: str,
        content: str,
        client_msg_id: str | None = None,
        parent_id: str | None = None,
        attachments: Sequence[Attachment | str] = (),
    ) -> Stored:
        """Send without a socket. With the `client_msg_id` of an earlier try the message is stored once."""
        body: dict[str, Any] = {
            "content": content,
            "client_msg_id": client_msg_id or str(uuid.uuid4()),
            "parent_id": parent_id,
            "attachments": attachment_ids(attachments),
        }
        return await self._call("POST", f"conversations/{part(room_id)}/messages", Stored, body=body)
