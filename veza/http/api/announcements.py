"""Announcements: something for everybody to read, for a time."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import Meta

from veza.errors import AnnouncementNotFound, InvalidArgument
from veza.http.context import Context
from veza.http.inputs import utc
from veza.http.params import Paging
from veza.http.routing import Auth, Resource
from veza.storage import announcements
from veza.storage.announcements import Announcement, AnnouncementType

resource = Resource("announcements", "What administrators tell everybody.")

Moment = Annotated[datetime, Meta(tz=True)]


class NewAnnouncement(msgspec.Struct, frozen=True):
    """Shown from `starts_at` (left out: now) until `ends_at` (left out: until it is deleted)."""

    title: Annotated[str, Meta(min_length=1, max_length=200)]
    content: Annotated[str, Meta(min_length=1, max_length=5000)]
    type: AnnouncementType = AnnouncementType.INFO
    starts_at: Moment | None = None
    ends_at: Moment | None = None


class Announcements(msgspec.Struct, frozen=True):
    """Those that started last first."""

    announcements: list[Announcement]
    total: int


class Deleted(msgspec.Struct, frozen=True):
    """What is gone."""

    id: UUID
    deleted: bool = True


@resource.get("/announcements/active", auth=Auth.NONE)
async def list_active(ctx: Context) -> Announcements:
    """List what is to be shown now; at most 100."""
    found = await announcements.active(ctx.services.pool)
    return Announcements(found, len(found))


@resource.get("/admin/announcements", auth=Auth.ADMIN)
async def list_announcements(ctx: Context, query: Paging) -> Announcements:
    """List all announcements: past, shown and yet to come."""
    found, total = await announcements.page(ctx.services.pool, query.limit, query.offset)
    return Announcements(found, total)


@resource.post("/admin/announcements", status=201, auth=Auth.ADMIN, errors=(InvalidArgument,))
async def announce(ctx: Context, body: NewAnnouncement) -> Announcement:
    """Announce something to everybody.

    What starts now is also pushed to every open socket, as a notification of kind `announcement` that nobody stores.
    """
    return await announcements.create(
        ctx.services.pool,
        ctx.audit("announcement.create", title=body.title, type=body.type.value),
        title=body.title,
        content=body.content,
        kind=body.type,
        starts_at=utc("starts_at", body.starts_at),
        ends_at=utc("ends_at", body.ends_at),
    )


@resource.delete("/admin/announcements/<announcement_id>", auth=Auth.ADMIN, errors=(AnnouncementNotFound,))
async def delete_announcement(ctx: Context, announcement_id: UUID) -> Deleted:
    """Delete an announcement."""
    by = ctx.audit("announcement.delete", announcement_id=str(announcement_id))
    await announcements.delete(ctx.services.pool, announcement_id, by)
    return Deleted(announcement_id)
