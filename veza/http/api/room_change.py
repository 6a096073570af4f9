"""What every route that changes a room does: let the room's shard carry out a command."""

from collections.abc import Callable
from uuid import UUID

import msgspec

from veza.errors import NotAMember, PermissionDenied, RoomNotFound, Unavailable
from veza.http.context import Context
from veza.realtime import commands as c
from veza.realtime.events import Person

VISIBILITY = (RoomNotFound, NotAMember)
COMMAND = (*VISIBILITY, PermissionDenied, Unavailable)


class Changed(msgspec.Struct, frozen=True):
    """The room's seq after the change."""

    seq: int


async def change(ctx: Context, room_id: UUID, make: Callable[[int, Person], c.ShardCommand]) -> Changed:
    """Let the room's shard carry out a command of the caller's."""
    by = Person(ctx.principal.user_id, ctx.principal.username)
    answer = await ctx.services.rooms.ask(lambda ref: make(ref, by), room_id)
    return Changed(answer["seq"])
