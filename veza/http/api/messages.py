"""Messages of a room: history, sending, search, pins."""

import hashlib
from typing import Annotated, Any
from uuid import UUID

import msgspec
from msgspec import Meta

from veza.errors import Conflict, InvalidArgument, MessageNotFound, Muted, RateLimited, UserBlocked
from veza.http.api.room_change import COMMAND, VISIBILITY
from veza.http.context import Context
from veza.http.idempotency import idempotency_key
from veza.http.pagination import decode_cursor, encode_cursor
from veza.http.params import ClientId, CursorPaging, CursorText, Limit, MessageText
from veza.http.room_reads import NEWEST
from veza.http.routing import Resource
from veza.ids import new_id
from veza.realtime import commands as c
from veza.realtime import protocol as p
from veza.realtime.events import Person

resource = Resource("messages", "What is written in a room.")

# As the room's shard wrote it.
Timestamp = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]

WRITING = (Conflict, Muted, UserBlocked, MessageNotFound, InvalidArgument)


class Reaction(msgspec.Struct, frozen=True):
    """How many gave this emoji; `me`: the caller did."""

    emoji: str
    count: int
    me: bool


class AttachmentShown(msgspec.Struct, frozen=True):
    id: UUID
    name: str
    mime_type: str
    size_bytes: int


class Message(msgspec.Struct, frozen=True):
    """A stored message. `content` is null once it was deleted."""

    room_id: UUID
    seq: int
    id: UUID
    sender: Person
    content: str | None
    parent_id: UUID | None
    client_msg_id: str | None
    attachments: list[AttachmentShown]
    created_at: Timestamp
    edited_at: Timestamp | None
    deleted_at: Timestamp | None
    reactions: list[Reaction]
    pinned: bool
    reply_count: int = 0
    mentions: list[UUID] = []


class History(msgspec.Struct, frozen=True):
    """Newest first. Events before `first_seq` are gone by the room's retention."""

    messages: list[Message]
    next_cursor: str | None
    has_more: bool
    first_seq: int


class Found(msgspec.Struct, frozen=True):
    """Newest first."""

    messages: list[Message]
    next_cursor: str | None
    has_more: bool


class Pins(msgspec.Struct, frozen=True):
    """Newest first."""

    messages: list[Message]
    total: int


class Stored(msgspec.Struct, frozen=True):
    """What a durable command stored: `seq` is its place in the room."""

    message_id: UUID
    seq: int
    created_at: Timestamp
    duplicate: bool


class NewMessage(msgspec.Struct, frozen=True):
    content: MessageText
    client_msg_id: ClientId | None = None
    parent_id: UUID | None = None
    attachments: Annotated[list[UUID], Meta(max_length=p.MAX_ATTACHMENTS)] = []


class Words(msgspec.Struct, frozen=True):
    """`q` are words; the last may be the beginning of one."""

    q: Annotated[str, Meta(min_length=1, max_length=200, description="Words to look for.")]
    limit: Limit = 20
    cursor: CursorText | None = None


class HistoryPosition(msgspec.Struct, frozen=True):
    """Where the next page begins: before this seq."""

    seq: p.Seq


@resource.get("/conversations/<conversation_id>/history", errors=(*VISIBILITY, InvalidArgument))
async def history(ctx: Context, conversation_id: UUID, query: CursorPaging) -> History:
    """Messages of a room, newest first."""
    before = _before(query.cursor)
    page = await ctx.services.rooms.reads.history_page(
        ctx.principal.user_id, p.GetHistory(room_id=conversation_id, before_seq=before, limit=query.limit)
    )
    messages, cursor = _shown(page)
    return History(messages, cursor, page["has_more"], page["first_seq"])


@resource.post(
    "/conversations/<conversation_id>/messages", status=201, errors=(*COMMAND, *WRITING, RateLimited), idempotent=True
)
async def send_message(ctx: Context, conversation_id: UUID, body: NewMessage) -> Stored:
    """Send a message. It is stored when this answers; the same `client_msg_id` is stored once."""
    content = p.clean_content(body.content)
    client_msg_id = body.client_msg_id
    if client_msg_id is None and (key := idempotency_key(ctx)) is not None:
        # Also a retry that comes after the first attempt died half-way finds the message.
        client_msg_id = f"key-{hashlib.sha256(key.encode()).hexdigest()}"
    sender = Person(ctx.principal.user_id, ctx.principal.username)
    await ctx.services.rooms.spend_message(sender.id)
    answer = await ctx.services.rooms.ask(
        lambda ref: c.Post(
            ref, conversation_id, new_id(), sender, content, client_msg_id, body.parent_id, body.attachments
        ),
        conversation_id,
    )
    return msgspec.convert(answer, Stored)


@resource.get("/conversations/<conversation_id>/search", errors=(*VISIBILITY, InvalidArgument))
async def search(ctx: Context, conversation_id: UUID, query: Words) -> Found:
    """Search a room's messages for words, newest first.

    Case and accents do not matter; the last word may be the beginning of one.
    """
    page = await ctx.services.rooms.reads.search_page(
        ctx.principal.user_id, conversation_id, query.q, _before(query.cursor), query.limit
    )
    messages, cursor = _shown(page)
    return Found(messages, cursor, page["has_more"])


@resource.get("/conversations/<conversation_id>/pins", errors=VISIBILITY)
async def pins(ctx: Context, conversation_id: UUID) -> Pins:
    """Pinned messages of a room, newest first; there are at most 50."""
    found = await ctx.services.rooms.reads.pinned(ctx.principal.user_id, conversation_id)
    return Pins(msgspec.convert(found, list[Message]), len(found))


def _before(cursor: str | None) -> int:
    return decode_cursor(cursor, HistoryPosition).seq if cursor else NEWEST


def _shown(page: dict[str, Any]) -> tuple[list[Message], str | None]:
    """The messages of a page, and the cursor of the next."""
    messages = msgspec.convert(page["messages"], list[Message])
    return messages, encode_cursor(HistoryPosition(messages[-1].seq)) if page["has_more"] else None
