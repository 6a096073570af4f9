"""Conversations: rooms of people who write to each other."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import Meta

from veza.errors import FeatureDisabled, InvalidArgument, UserBlocked, UserNotFound
from veza.http.api.messages import Message
from veza.http.api.room_change import COMMAND, VISIBILITY, Changed, change
from veza.http.context import Context
from veza.http.envelope import Reply
from veza.http.features import PUBLIC_ROOMS
from veza.http.params import Limit, Offset, Paging, RoomName
from veza.http.routing import Resource
from veza.ids import new_id
from veza.realtime import commands as c
from veza.realtime.events import Person
from veza.realtime.principal import Role
from veza.realtime.room import RETENTION_DAYS, RoomType
from veza.storage import rooms

resource = Resource("conversations", "Rooms of people who write to each other.")


class Member(msgspec.Struct, frozen=True):
    user: Person
    role: str
    presence: str
    last_read_seq: int


class Conversation(msgspec.Struct, frozen=True, omit_defaults=True):
    """A room as the caller sees it. `other` is the second person of a direct one, `presence` theirs. Events before
    `first_seq` are gone by its retention (null: everything is kept).
    """

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
    first_seq: int
    retention_days: int | None
    other: Person | None = None
    presence: str | None = None
    members: list[Member] | None = None


class Conversations(msgspec.Struct, frozen=True):
    conversations: list[Conversation]
    total: int


class PublicRooms(msgspec.Struct, frozen=True):
    conversations: list[rooms.PublicRoom]
    total: int


class NewConversation(msgspec.Struct, frozen=True):
    type: RoomType
    name: RoomName | None = None
    member_ids: Annotated[list[UUID], Meta(max_length=999)] = []


class RoomChange(msgspec.Struct, frozen=True):
    """What is left out stays. `retention_days`: how long messages are kept, 0 for ever (the owner's to say)."""

    name: RoomName | None = None
    retention_days: Annotated[int, Meta(ge=0, le=RETENTION_DAYS)] | None = None


class Search(msgspec.Struct, frozen=True):
    q: Annotated[str, Meta(max_length=50, description="A part of the name.")] = ""
    limit: Limit = 20
    offset: Offset = 0


@resource.get("/conversations")
async def list_conversations(ctx: Context, query: Paging) -> Conversations:
    """List your rooms, the most recently active first."""
    found, total = await rooms.conversations(ctx.services.pool, ctx.principal.user_id, query.limit, query.offset)
    others = [room.other.id for room in found if room.other]
    presence = await ctx.services.rooms.reads.presence(others)
    last = await _last_messages(ctx, found)
    shown = [
        _shown(room, last.get(room.id), presence=presence.get(room.other.id) if room.other else None) for room in found
    ]
    return Conversations(shown, total)


@resource.get("/conversations/public", errors=(FeatureDisabled,))
async def discover(ctx: Context, query: Search) -> PublicRooms:
    """Discover public rooms, newest first; `q` is a part of the name."""
    ctx.services.switches.require(PUBLIC_ROOMS)
    found, total = await rooms.public_rooms(
        ctx.services.pool, ctx.principal.user_id, query.q.strip(), query.limit, query.offset
    )
    return PublicRooms(found, total)


@resource.post(
    "/conversations", status=201, also=(200,), errors=(InvalidArgument, UserNotFound, UserBlocked, FeatureDisabled)
)
async def create_conversation(ctx: Context, body: NewConversation) -> Reply[Conversation]:
    """Create a room. A second direct one with the same person answers the first, with 200."""
    if body.type is RoomType.PUBLIC:
        ctx.services.switches.require(PUBLIC_ROOMS)
    room_id, new = await rooms.create(ctx.services.pool, ctx.principal.user_id, body.type, body.name, body.member_ids)
    return Reply(await _with_members(ctx, room_id), status=201 if new else 200)


@resource.get("/conversations/<conversation_id>", errors=VISIBILITY)
async def get_conversation(ctx: Context, conversation_id: UUID) -> Conversation:
    """One of your rooms, with its members."""
    return await _with_members(ctx, conversation_id)


@resource.put("/conversations/<conversation_id>", errors=(*COMMAND, InvalidArgument))
async def update(ctx: Context, conversation_id: UUID, body: RoomChange) -> Conversation:
    """Rename a room (owner or moderator), or say how long it keeps its messages (owner)."""
    await change(
        ctx,
        conversation_id,
        lambda ref, by: c.UpdateRoom(ref, conversation_id, new_id(), by, body.name, body.retention_days),
    )
    return await _with_members(ctx, conversation_id)


@resource.delete("/conversations/<conversation_id>", errors=COMMAND)
async def delete(ctx: Context, conversation_id: UUID) -> Changed:
    """Delete a room (its owner, or an administrator)."""
    by_admin = ctx.principal.role.includes(Role.ADMIN)
    return await change(
        ctx, conversation_id, lambda ref, by: c.DeleteRoom(ref, conversation_id, new_id(), by, by_admin)
    )


async def _with_members(ctx: Context, room_id: UUID) -> Conversation:
    room = await rooms.conversation(ctx.services.pool, ctx.principal.user_id, room_id)
    page = await ctx.services.rooms.reads.members(ctx.principal.user_id, room_id)
    last = await _last_messages(ctx, [room])
    return _shown(room, last.get(room.id), members=msgspec.convert(page["members"], list[Member]))


async def _last_messages(ctx: Context, found: list[rooms.Conversation]) -> dict[UUID, Message]:
    """Each room's last message, as history shows it."""
    events = [room.last_message for room in found if room.last_message]
    shown = await ctx.services.rooms.reads.shown(ctx.principal.user_id, events)
    return {message.room_id: message for message in msgspec.convert(shown, list[Message])}


def _shown(
    room: rooms.Conversation,
    last: Message | None,
    *,
    presence: str | None = None,
    members: list[Member] | None = None,
) -> Conversation:
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
        first_seq=room.first_seq,
        retention_days=room.retention_days,
        other=room.other,
        presence=presence,
        members=members,
    )
