"""Notifications of the caller: listed, marked read, and which kinds are wanted."""

from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import Meta

from veza.errors import InvalidArgument
from veza.http.context import Context
from veza.http.pagination import decode_cursor, encode_cursor
from veza.http.params import CursorText, Limit, Offset
from veza.http.routing import Resource
from veza.storage import notifications
from veza.storage.notifications import Notification, NotificationKind, Position

resource = Resource("notifications", "What happened to you, and what of it you want to know.")


class NotificationPaging(msgspec.Struct, frozen=True):
    """By cursor a page is stable while more arrive; `offset` is for jumping."""

    unread: Annotated[bool, Meta(description="Only those that are not read yet.")] = False
    limit: Limit = 20
    offset: Offset = 0
    cursor: CursorText | None = None


class Notifications(msgspec.Struct, frozen=True):
    """Newest first. `total` is of the list that was asked for, `unread_count` of all."""

    notifications: list[Notification]
    total: int
    unread_count: int
    next_cursor: str | None
    has_more: bool


class ReadNotifications(msgspec.Struct, frozen=True):
    """Which to mark read: some, or all."""

    ids: Annotated[list[UUID], Meta(max_length=1000)] | None = None
    all: bool = False


# Schemas that msgspec makes say nothing about the names of a dict.
Preferences = Annotated[
    dict[NotificationKind, bool],
    Meta(extra_json_schema={"propertyNames": {"enum": [kind.value for kind in NotificationKind]}}),
]


class MarkedRead(msgspec.Struct, frozen=True):
    """How many were not read before, and how many still are not."""

    marked: int
    unread_count: int


@resource.get("/notifications", errors=(InvalidArgument,))
async def list_notifications(ctx: Context, query: NotificationPaging) -> Notifications:
    """List your notifications."""
    if query.cursor is not None and query.offset:
        raise InvalidArgument("A cursor has no offset.", (("offset", "not with a cursor"),))
    after = decode_cursor(query.cursor, Position) if query.cursor else None
    pool, me = ctx.services.pool, ctx.principal.user_id
    found = await notifications.page(
        pool, me, unread=query.unread, after=after, limit=query.limit + 1, offset=query.offset
    )
    counts = await notifications.counts(pool, me)
    shown, more = found[: query.limit], len(found) > query.limit
    return Notifications(
        shown,
        counts.unread if query.unread else counts.total,
        counts.unread,
        encode_cursor(Position(shown[-1].created_at, shown[-1].id)) if more else None,
        more,
    )


@resource.post("/notifications/read", errors=(InvalidArgument,))
async def mark_read(ctx: Context, body: ReadNotifications) -> MarkedRead:
    """Mark notifications read: `ids`, or `all`. Those of others and unknown ones are left alone."""
    if body.all == (body.ids is not None):
        raise InvalidArgument("Give either ids or all.", (("ids", "or all, not both"),))
    pool, me = ctx.services.pool, ctx.principal.user_id
    marked = await notifications.mark_read(pool, me, body.ids)
    return MarkedRead(marked, (await notifications.counts(pool, me)).unread)


@resource.get("/notifications/preferences")
async def get_preferences(ctx: Context) -> Preferences:
    """Tell which kinds of notifications you get."""
    return await notifications.preferences(ctx.services.pool, ctx.principal.user_id)


@resource.put("/notifications/preferences")
async def set_preferences(ctx: Context, body: Preferences) -> Preferences:
    """Turn kinds of notifications on or off; those left out stay as they are."""
    await notifications.set_preferences(ctx.services.pool, ctx.principal.user_id, body)
    return await notifications.preferences(ctx.services.pool, ctx.principal.user_id)
