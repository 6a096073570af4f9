"""Who keeps order in a stream's chat: moderators, mutes and bans, messages taken away."""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
from msgspec import Meta

from veza.errors import (
    InvalidArgument,
    MessageNotFound,
    NotFound,
    PermissionDenied,
    StreamNotFound,
    Unavailable,
    UserNotFound,
)
from veza.http.context import Context
from veza.http.pagination import decode_cursor, encode_cursor
from veza.http.params import CursorText, Limit, Paging
from veza.http.routing import Resource
from veza.ids import new_id
from veza.realtime import stream_commands as s
from veza.realtime.events import Person
from veza.realtime.principal import Role
from veza.realtime.sanctions import LONGEST_S, REASON_CHARS
from veza.storage import rooms, stream_moderation
from veza.storage.stream_moderation import SanctionPosition, StreamAction, StreamModerator, StreamSanction

resource = Resource("live-moderation", "Order in the chats of live streams.")

VISIBILITY = (StreamNotFound, PermissionDenied)
COMMAND = (*VISIBILITY, Unavailable)


class DeletedStreamMessage(msgspec.Struct, frozen=True):
    """What is gone: its place in the chat stays, without content."""

    id: UUID
    deleted: bool = True


class StreamModerators(msgspec.Struct, frozen=True):
    """The latest first."""

    moderators: list[StreamModerator]
    total: int


class StreamModeratorState(msgspec.Struct, frozen=True):
    """Whether a person moderates the stream now."""

    user_id: UUID
    is_moderator: bool


class NewStreamSanction(msgspec.Struct, frozen=True):
    """Who is muted reads on; who is banned is told nothing more. Without `duration_s` it lasts until it is lifted."""

    user_id: UUID
    action: StreamAction
    duration_s: Annotated[int, Meta(ge=1, le=LONGEST_S)] | None = None
    reason: Annotated[str, Meta(max_length=REASON_CHARS)] = ""


class StreamSanctioned(msgspec.Struct, frozen=True):
    """`id` is the sanction's. Where an earlier one lasts longer, both hold."""

    id: UUID
    user_id: UUID
    action: StreamAction
    until: datetime | None


class LiftedStreamSanction(msgspec.Struct, frozen=True):
    """What a person is free of."""

    user_id: UUID
    action: StreamAction
    lifted: bool = True


class WantedSanctions(msgspec.Struct, frozen=True):
    """Those in force, unless more are asked for."""

    include_ended: Annotated[bool, Meta(description="Also those that have ended, or were lifted.")] = False
    limit: Limit = 20
    cursor: CursorText | None = None


class StreamSanctions(msgspec.Struct, frozen=True):
    """Newest first. `total` is of the list that was asked for."""

    sanctions: list[StreamSanction]
    total: int
    next_cursor: str | None
    has_more: bool


@resource.delete("/live/streams/<stream_id>/messages/<message_id>", errors=(*COMMAND, MessageNotFound))
async def delete_stream_message(ctx: Context, stream_id: UUID, message_id: UUID) -> DeletedStreamMessage:
    """Take a message out of a stream's chat (its author, the owner, a moderator or an administrator)."""
    by, by_admin = _caller(ctx), _by_admin(ctx)
    await _ask(ctx, lambda ref: s.RemoveStreamMessage(ref, stream_id, by, message_id, by_admin), stream_id)
    return DeletedStreamMessage(message_id)


@resource.get("/live/streams/<stream_id>/moderators", errors=VISIBILITY)
async def list_stream_moderators(ctx: Context, stream_id: UUID, query: Paging) -> StreamModerators:
    """List the moderators of a stream (the owner, one of them, or an administrator)."""
    await _require_moderator(ctx, stream_id)
    return StreamModerators(
        *await stream_moderation.moderators(ctx.services.pool, stream_id, query.limit, query.offset)
    )


@resource.put("/live/streams/<stream_id>/moderators/<user_id>", errors=(*COMMAND, UserNotFound))
async def appoint_stream_moderator(ctx: Context, stream_id: UUID, user_id: UUID) -> StreamModeratorState:
    """Make somebody a moderator of a stream of one's own; again is harmless."""
    return await _appoint(ctx, stream_id, user_id, on=True)


@resource.delete("/live/streams/<stream_id>/moderators/<user_id>", errors=(*COMMAND, UserNotFound))
async def dismiss_stream_moderator(ctx: Context, stream_id: UUID, user_id: UUID) -> StreamModeratorState:
    """Have somebody moderate a stream of one's own no more; again is harmless."""
    return await _appoint(ctx, stream_id, user_id, on=False)


@resource.get("/live/streams/<stream_id>/sanctions", errors=(*VISIBILITY, InvalidArgument))
async def list_stream_sanctions(ctx: Context, stream_id: UUID, query: WantedSanctions) -> StreamSanctions:
    """List mutes and bans of a stream, newest first (the owner, a moderator or an administrator)."""
    after = decode_cursor(query.cursor, SanctionPosition) if query.cursor else None
    await _require_moderator(ctx, stream_id)
    found, total = await stream_moderation.sanctions(
        ctx.services.pool, stream_id, ended=query.include_ended, after=after, limit=query.limit + 1
    )
    shown, more = found[: query.limit], len(found) > query.limit
    position = SanctionPosition(shown[-1].created_at, shown[-1].id) if more else None
    return StreamSanctions(shown, total, encode_cursor(position) if position else None, more)


@resource.post("/live/streams/<stream_id>/sanctions", status=201, errors=(*COMMAND, UserNotFound, InvalidArgument))
async def sanction_viewer(ctx: Context, stream_id: UUID, body: NewStreamSanction) -> StreamSanctioned:
    """Mute or ban somebody in a stream (the owner, a moderator or an administrator).

    Moderators are silenced by the owner and administrators only, the owner by nobody.
    """
    user = await _somebody(ctx, stream_id, body.user_id)
    sanction_id, by, by_admin = new_id(), _caller(ctx), _by_admin(ctx)
    answer = await _ask(
        ctx,
        lambda ref: s.SanctionViewer(
            ref, stream_id, sanction_id, by, user, body.action, body.duration_s, body.reason, by_admin
        ),
        stream_id,
    )
    return msgspec.convert({**answer, "user_id": user.id, "action": body.action}, StreamSanctioned)


@resource.delete("/live/streams/<stream_id>/sanctions/<user_id>/<action>", errors=(*COMMAND, UserNotFound, NotFound))
async def lift_stream_sanction(
    ctx: Context, stream_id: UUID, user_id: UUID, action: StreamAction
) -> LiftedStreamSanction:
    """Lift what is in force: unmute or unban somebody in a stream."""
    user = await _somebody(ctx, stream_id, user_id)
    by, by_admin = _caller(ctx), _by_admin(ctx)
    await _ask(ctx, lambda ref: s.LiftSanction(ref, stream_id, by, user, action, by_admin), stream_id)
    return LiftedStreamSanction(user_id, action)


async def _appoint(ctx: Context, stream_id: UUID, user_id: UUID, *, on: bool) -> StreamModeratorState:
    user, by = await _somebody(ctx, stream_id, user_id), _caller(ctx)
    await _ask(ctx, lambda ref: s.AppointModerator(ref, stream_id, by, user, on=on), stream_id)
    return StreamModeratorState(user_id, on)


async def _ask(ctx: Context, make: Callable[[int], s.ModerationCommand], stream_id: UUID) -> Any:
    """What the stream's shard answers."""
    return await ctx.services.streams.ask(make, stream_id)


async def _somebody(ctx: Context, stream_id: UUID, user_id: UUID) -> Person:
    """Whom a command is about. Raises StreamNotFound for who cannot see the stream, else UserNotFound."""
    pool = ctx.services.pool
    await stream_moderation.require_visible(pool, stream_id, ctx.principal.user_id, by_admin=_by_admin(ctx))
    return await rooms.person(pool, user_id)


async def _require_moderator(ctx: Context, stream_id: UUID) -> None:
    await stream_moderation.require_moderator(
        ctx.services.pool, stream_id, ctx.principal.user_id, by_admin=_by_admin(ctx)
    )


def _caller(ctx: Context) -> Person:
    return Person(ctx.principal.user_id, ctx.principal.username)


def _by_admin(ctx: Context) -> bool:
    return ctx.principal.role.includes(Role.ADMIN)
