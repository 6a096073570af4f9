"""Conversations: rooms of people who write to each other."""

import hashlib
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from msgspec import Meta

from veza.errors import (
    Conflict,
    InvalidArgument,
    NotAMember,
    PermissionDenied,
    RateLimited,
    RoomNotFound,
    Unavailable,
    UserNotFound,
)
from veza.http.context import Context
from veza.http.envelope import Reply
from veza.http.idempotency import idempotency_key
from veza.http.pagination import decode_cursor, encode_cursor
from veza.http.params import ClientId, CursorPaging, Limit, MessageText, Offset, Paging, RoomName
from veza.http.room_reads import message
from veza.http.routing import Resource
from veza.ids import new_id
from veza.realtime import commands as c
from veza.realtime import protocol as p
from veza.realtime.events import Person, wire
from veza.realtime.principal import Role
from veza.realtime.room import RoomType
from veza.storage import rooms

resource = Resource("conversations", "Rooms, their members, their messages.")

VISIBILITY = (RoomNotFound, NotAMember)
COMMAND = (*VISIBILITY, PermissionDenied, Unavailable)


class Message(msgspec.Struct, frozen=True):
    """A stored message. `content` is null once it was deleted."""

    room_id: UUID
    seq: int
    id: UUID
    sender: Person
    content: str | None
    parent_id: UUID | None
    client_msg_id: str | None
    attachments: list[Any]
    created_at: str
    edited_at: str | None
    deleted_at: str | None
    reactions: list[Any]
    pinned: bool


class Member(msgspec.Struct, frozen=True):
    user: Person
    role: str
    presence: str
    last_read_seq: int


class Conversation(msgspec.Struct, frozen=True, omit_defaults=True):
    """A room as the caller sees it. `other` is the second person of a direct one, `presence` theirs."""

    id: UUID
    type: RoomType
    name: str | None
    owner_id: UUID
    created_at: datetime
    last_seq: int
    last_read_seq: int
    role: str
    unread_count: int
    last_message: Message | None
    other: Person | None = None
    presence: str | None = None
    members: list[Member] | None = None


class Conversations(msgspec.Struct, frozen=True):
    conversations: list[Conversation]
    total: int


class PublicRooms(msgspec.Struct, frozen=True):
    conversations: list[rooms.PublicRoom]
    total: int


class History(msgspec.Struct, frozen=True):
    """Newest first."""

    messages: list[Message]
    next_cursor: str | None
    has_more: bool


class Stored(msgspec.Struct, frozen=True):
    """What a durable command stored: `seq` is its place in the room."""

    message_id: UUID
    seq: int
    created_at: str
    duplicate: bool


class Changed(msgspec.Struct, frozen=True):
    """The room's seq after the change."""

    seq: int


class NewConversation(msgspec.Struct, frozen=True):
    type: RoomType
    name: RoomName | None = None
    member_ids: Annotated[list[UUID], Meta(max_length=999)] = []


class Rename(msgspec.Struct, frozen=True):
    name: RoomName


class NewMember(msgspec.Struct, frozen=True):
    user_id: UUID
    role: Literal["member", "moderator"] = "member"


class NewMessage(msgspec.Struct, frozen=True):
    content: MessageText
    client_msg_id: ClientId | None = None
    parent_id: UUID | None = None


class Search(msgspec.Struct, frozen=True):
    q: Annotated[str, Meta(max_length=50)] = ""
    limit: Limit = 20
    offset: Offset = 0


class HistoryPosition(msgspec.Struct, frozen=True):
    """Where the next page begins: before this seq."""

    seq: p.Seq


@resource.get("/conversations")
async def list_conversations(ctx: Context, query: Paging) -> Conversations:
    """List your rooms, the most recently active first."""
    found, total = await rooms.conversations(ctx.services.pool, ctx.principal.user_id, query.limit, query.offset)
    others = [room.other.id for room in found if room.other]
    presence = await ctx.services.rooms.reads.presence(others)
    shown = [_shown(room, presence=presence.get(room.other.id) if room.other else None) for room in found]
    return Conversations(shown, total)


@resource.get("/conversations/public")
async def discover(ctx: Context, query: Search) -> PublicRooms:
    """Discover public rooms, newest first; `q` is a part of the name."""
    found, total = await rooms.public_rooms(
        ctx.services.pool, ctx.principal.user_id, query.q.strip(), query.limit, query.offset
    )
    return PublicRooms(found, total)


@resource.post("/conversations", status=201, errors=(InvalidArgument, UserNotFound))
async def create_conversation(ctx: Context, body: NewConversation) -> Reply[Conversation]:
    """Create a room. A second direct one with the same person answers the first, with 200."""
    room_id, new = await rooms.create(ctx.services.pool, ctx.principal.user_id, body.type, body.name, body.member_ids)
    return Reply(await _with_members(ctx, room_id), status=201 if new else 200)


@resource.get("/conversations/<conversation_id>", errors=VISIBILITY)
async def get_conversation(ctx: Context, conversation_id: UUID) -> Conversation:
    """One of your rooms, with its members."""
    return await _with_members(ctx, conversation_id)


@resource.put("/conversations/<conversation_id>", errors=COMMAND)
async def rename(ctx: Context, conversation_id: UUID, body: Rename) -> Conversation:
    """Rename a room (owner or moderator)."""
    await _change(ctx, conversation_id, lambda ref, by: c.UpdateRoom(ref, conversation_id, new_id(), by, body.name))
    return await _with_members(ctx, conversation_id)


@resource.delete("/conversations/<conversation_id>", errors=COMMAND)
async def delete(ctx: Context, conversation_id: UUID) -> Changed:
    """Delete a room (its owner, or an administrator)."""
    by_admin = ctx.principal.role.includes(Role.ADMIN)
    return await _change(
        ctx, conversation_id, lambda ref, by: c.DeleteRoom(ref, conversation_id, new_id(), by, by_admin)
    )


@resource.post("/conversations/<conversation_id>/join", errors=(*COMMAND, Conflict))
async def join(ctx: Context, conversation_id: UUID) -> Changed:
    """Join a public room."""
    return await _change(ctx, conversation_id, lambda ref, me: c.AddMember(ref, conversation_id, new_id(), me, me))


@resource.post("/conversations/<conversation_id>/leave", errors=(*COMMAND, Conflict))
async def leave(ctx: Context, conversation_id: UUID) -> Changed:
    """Leave a room."""
    return await _change(ctx, conversation_id, lambda ref, me: c.RemoveMember(ref, conversation_id, new_id(), me, me))


@resource.post("/conversations/<conversation_id>/members", status=201, errors=(*COMMAND, Conflict, UserNotFound))
async def add_member(ctx: Context, conversation_id: UUID, body: NewMember) -> Changed:
    """Add someone (owner or moderator)."""
    await rooms.require_member(ctx.services.pool, conversation_id, ctx.principal.user_id)
    user = await rooms.person(ctx.services.pool, body.user_id)
    return await _change(
        ctx, conversation_id, lambda ref, by: c.AddMember(ref, conversation_id, new_id(), by, user, body.role)
    )


@resource.delete("/conversations/<conversation_id>/members/<user_id>", errors=(*COMMAND, UserNotFound))
async def remove_member(ctx: Context, conversation_id: UUID, user_id: UUID) -> Changed:
    """Remove someone (whoever stands above them in the room)."""
    await rooms.require_member(ctx.services.pool, conversation_id, ctx.principal.user_id)
    user = await rooms.person(ctx.services.pool, user_id)
    return await _change(ctx, conversation_id, lambda ref, by: c.RemoveMember(ref, conversation_id, new_id(), by, user))


@resource.get("/conversations/<conversation_id>/history", errors=(*VISIBILITY, InvalidArgument))
async def history(ctx: Context, conversation_id: UUID, query: CursorPaging) -> History:
    """Messages of a room, newest first."""
    before = decode_cursor(query.cursor, HistoryPosition).seq if query.cursor else None
    page = await ctx.services.rooms.reads.history_page(
        ctx.principal.user_id, p.GetHistory(room_id=conversation_id, before_seq=before, limit=query.limit)
    )
    messages = msgspec.convert(page["messages"], list[Message])
    more = bool(page["has_more"])
    cursor = encode_cursor(HistoryPosition(messages[-1].seq)) if more else None
    return History(messages, cursor, more)


@resource.post(
    "/conversations/<conversation_id>/messages", status=201, errors=(*COMMAND, RateLimited, Conflict), idempotent=True
)
async def send_message(ctx: Context, conversation_id: UUID, body: NewMessage) -> Stored:
    """Send a message. It is stored when this answers; the same `client_msg_id` is stored once."""
    content = p.clean_content(body.content)
    client_msg_id = body.client_msg_id
    if client_msg_id is None and (key := idempotency_key(ctx)) is not None:
        # Also a retry that comes after the first attempt died half-way finds the message.
        client_msg_id = f"key-{hashlib.sha256(key.encode()).hexdigest()}"
    sender = Person(ctx.principal.user_id, ctx.principal.username)
    ctx.services.rooms.spend_message(sender.id)
    answer = await ctx.services.rooms.ask(
        lambda ref: c.Post(ref, conversation_id, new_id(), sender, content, client_msg_id, body.parent_id),
        conversation_id,
    )
    return msgspec.convert(answer, Stored)


async def _change(ctx: Context, room_id: UUID, make: Any) -> Changed:
    """Let the room's shard carry out a command of the caller's."""
    by = Person(ctx.principal.user_id, ctx.principal.username)
    answer = await ctx.services.rooms.ask(lambda ref: make(ref, by), room_id)
    return Changed(answer["seq"])


async def _with_members(ctx: Context, room_id: UUID) -> Conversation:
    room = await rooms.conversation(ctx.services.pool, ctx.principal.user_id, room_id)
    page = await ctx.services.rooms.reads.members(ctx.principal.user_id, room_id)
    return _shown(room, members=msgspec.convert(page["members"], list[Member]))


def _shown(
    room: rooms.Conversation, *, presence: str | None = None, members: list[Member] | None = None
) -> Conversation:
    last = None if room.last_message is None else msgspec.convert(message(wire(room.last_message)), Message)
    return Conversation(
        id=room.id,
        type=RoomType(room.type),
        name=room.name,
        owner_id=room.owner_id,
        created_at=room.created_at,
        last_seq=room.last_seq,
        last_read_seq=room.last_read_seq,
        role=room.role,
        unread_count=room.unread_count,
        last_message=last,
        other=room.other,
        presence=presence,
        members=members,
    )
