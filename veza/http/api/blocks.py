"""Blocks: who may not write to whom."""

from uuid import UUID

import msgspec

from veza.errors import InvalidArgument, RoomNotFound, UserNotFound
from veza.http.context import Context
from veza.http.params import Paging
from veza.http.routing import Resource
from veza.realtime import commands as c
from veza.storage import blocks, rooms

resource = Resource("blocks", "People who may not write to you.")


class BlockState(msgspec.Struct, frozen=True):
    """Whether you block a person now."""

    user_id: UUID
    blocked: bool


class Blocks(msgspec.Struct, frozen=True):
    """The latest first."""

    blocks: list[blocks.Block]
    total: int


@resource.post("/users/<user_id>/block", errors=(InvalidArgument, UserNotFound))
async def block(ctx: Context, user_id: UUID) -> BlockState:
    """Block a person: they cannot open a direct room with you, nor write in the one you have."""
    await blocks.block(ctx.services.pool, ctx.principal.user_id, user_id)
    await _tell_room(ctx, user_id)
    return BlockState(user_id, True)


@resource.delete("/users/<user_id>/block", errors=(UserNotFound,))
async def unblock(ctx: Context, user_id: UUID) -> BlockState:
    """Take a block back."""
    await rooms.person(ctx.services.pool, user_id)
    await blocks.unblock(ctx.services.pool, ctx.principal.user_id, user_id)
    await _tell_room(ctx, user_id)
    return BlockState(user_id, False)


@resource.get("/users/me/blocks")
async def list_blocks(ctx: Context, query: Paging) -> Blocks:
    """List whom you block."""
    found, total = await blocks.list_of(ctx.services.pool, ctx.principal.user_id, query.limit, query.offset)
    return Blocks(found, total)


async def _tell_room(ctx: Context, user_id: UUID) -> None:
    """Let the shard of the direct room know. Also when nothing changed: a retry mends what a crash left between."""
    room_id = await rooms.direct_room(ctx.services.pool, ctx.principal.user_id, user_id)
    if room_id is None:
        return
    try:
        await ctx.services.rooms.ask(lambda ref: c.BlocksChanged(ref, room_id), room_id)
    except RoomNotFound:
        return  # deleted meanwhile
