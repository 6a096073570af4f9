"""Who is in a room: joining and leaving, roles, sanctions."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from msgspec import Meta

from veza.errors import Banned, Conflict, FeatureDisabled, InvalidArgument, PermissionDenied, UserNotFound
from veza.http.api.room_change import COMMAND, VISIBILITY, Changed, change
from veza.http.context import Context
from veza.http.features import PUBLIC_ROOMS
from veza.http.params import Paging
from veza.http.routing import Resource
from veza.ids import new_id
from veza.realtime import commands as c
from veza.realtime.events import Person
from veza.realtime.principal import Role
from veza.realtime.sanctions import LONGEST_S, REASON_CHARS
from veza.storage import rooms, sanctions

resource = Resource("members", "Who is in a room, and what they may do there.")


class NewMember(msgspec.Struct, frozen=True):
    user_id: UUID
    role: Literal["member", "moderator"] = "member"


class NewRole(msgspec.Struct, frozen=True):
    role: Literal["member", "moderator"]


class NewSanction(msgspec.Struct, frozen=True):
    """A mute or ban without `duration_s` lasts until it is lifted."""

    user_id: UUID
    action: Literal["warn", "mute", "kick", "ban"]
    duration_s: Annotated[int, Meta(ge=1, le=LONGEST_S)] | None = None
    reason: Annotated[str, Meta(max_length=REASON_CHARS)] = ""


class Sanctioned(msgspec.Struct, frozen=True):
    """`seq` is the room's after it. `id` is the sanction's."""

    id: UUID
    user_id: UUID
    action: str
    seq: int


class Sanction(msgspec.Struct, frozen=True):
    """`active`: it holds now. Warnings never end."""

    id: UUID
    user: Person
    action: str
    reason: str
    by: Person
    until: datetime | None
    created_at: datetime
    lifted_at: datetime | None
    active: bool


class Sanctions(msgspec.Struct, frozen=True):
    """Newest first."""

    sanctions: list[Sanction]
    total: int


@resource.post("/conversations/<conversation_id>/join", errors=(*COMMAND, Conflict, Banned, FeatureDisabled))
async def join(ctx: Context, conversation_id: UUID) -> Changed:
    """Join a public room."""
    ctx.services.switches.require(PUBLIC_ROOMS)
    return await change(ctx, conversation_id, lambda ref, me: c.AddMember(ref, conversation_id, new_id(), me, me))


@resource.post("/conversations/<conversation_id>/leave", errors=(*COMMAND, Conflict))
async def leave(ctx: Context, conversation_id: UUID) -> Changed:
    """Leave a room."""
    return await change(ctx, conversation_id, lambda ref, me: c.RemoveMember(ref, conversation_id, new_id(), me, me))


@resource.post(
    "/conversations/<conversation_id>/members", status=201, errors=(*COMMAND, Conflict, UserNotFound, Banned)
)
async def add_member(ctx: Context, conversation_id: UUID, body: NewMember) -> Changed:
    """Add someone (owner or moderator)."""
    await rooms.require_member(ctx.services.pool, conversation_id, ctx.principal.user_id)
    user = await rooms.person(ctx.services.pool, body.user_id)
    return await change(
        ctx, conversation_id, lambda ref, by: c.AddMember(ref, conversation_id, new_id(), by, user, body.role)
    )


@resource.delete("/conversations/<conversation_id>/members/<user_id>", errors=(*COMMAND, Conflict, UserNotFound))
async def remove_member(ctx: Context, conversation_id: UUID, user_id: UUID) -> Changed:
    """Remove someone (whoever stands above them in the room)."""
    await rooms.require_member(ctx.services.pool, conversation_id, ctx.principal.user_id)
    user = await rooms.person(ctx.services.pool, user_id)
    return await change(ctx, conversation_id, lambda ref, by: c.RemoveMember(ref, conversation_id, new_id(), by, user))


@resource.put("/conversations/<conversation_id>/members/<user_id>", errors=(*COMMAND, UserNotFound))
async def set_role(ctx: Context, conversation_id: UUID, user_id: UUID, body: NewRole) -> Changed:
    """Make a member a moderator, or a moderator a member (whoever stands above both)."""
    await rooms.require_member(ctx.services.pool, conversation_id, ctx.principal.user_id)
    user = await rooms.person(ctx.services.pool, user_id)
    return await change(
        ctx, conversation_id, lambda ref, by: c.SetRole(ref, conversation_id, new_id(), by, user, body.role)
    )


@resource.post(
    "/conversations/<conversation_id>/sanctions", status=201, errors=(*COMMAND, UserNotFound, InvalidArgument)
)
async def sanction(ctx: Context, conversation_id: UUID, body: NewSanction) -> Sanctioned:
    """Warn, mute, kick or ban someone (a moderator or the owner, or an administrator).

    Every third warning mutes for an hour, unless the settings say otherwise.
    """
    by_admin = await _visible(ctx, conversation_id)
    user = await rooms.person(ctx.services.pool, body.user_id)
    sanction_id = new_id()
    changed = await change(
        ctx,
        conversation_id,
        lambda ref, by: c.Sanction(
            ref, conversation_id, sanction_id, by, user, body.action, body.duration_s, body.reason, by_admin
        ),
    )
    return Sanctioned(sanction_id, user.id, body.action, changed.seq)


@resource.get("/conversations/<conversation_id>/sanctions", errors=(*VISIBILITY, PermissionDenied))
async def list_sanctions(ctx: Context, conversation_id: UUID, query: Paging) -> Sanctions:
    """Sanctions of a room, newest first (a moderator or the owner, or an administrator)."""
    if not await _visible(ctx, conversation_id):
        membership = await rooms.require_member(ctx.services.pool, conversation_id, ctx.principal.user_id)
        if membership.role == "member":
            raise PermissionDenied()
    found, total = await sanctions.of_room(ctx.services.pool, conversation_id, query.limit, query.offset)
    return Sanctions([Sanction(**row) for row in found], total)


@resource.delete("/conversations/<conversation_id>/sanctions/<user_id>/<action>", errors=(*COMMAND, UserNotFound))
async def lift(ctx: Context, conversation_id: UUID, user_id: UUID, action: Literal["mute", "ban"]) -> Changed:
    """Lift what is in force: unmute or unban someone."""
    by_admin = await _visible(ctx, conversation_id)
    user = await rooms.person(ctx.services.pool, user_id)
    return await change(
        ctx, conversation_id, lambda ref, by: c.Lift(ref, conversation_id, new_id(), by, user, action, by_admin)
    )


async def _visible(ctx: Context, room_id: UUID) -> bool:
    """Whether the caller acts as an administrator; anybody else must be in the room."""
    if ctx.principal.role.includes(Role.ADMIN):
        return True
    await rooms.require_member(ctx.services.pool, room_id, ctx.principal.user_id)
    return False
