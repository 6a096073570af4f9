"""Maintenance mode: the platform closed for all but administrators."""

from typing import Annotated

import msgspec
from msgspec import Meta

from veza.http.context import Context
from veza.http.routing import Auth, Resource
from veza.storage import switches
from veza.storage.switches import Maintenance

resource = Resource("maintenance", "The platform closed for all but administrators.")


class MaintenanceChange(msgspec.Struct, frozen=True):
    """`message` is what people are told meanwhile; left out, the usual sentence."""

    enabled: bool
    message: Annotated[str, Meta(max_length=500)] | None = None


@resource.get("/admin/maintenance", auth=Auth.ADMIN)
async def get_maintenance(ctx: Context) -> Maintenance:
    """Tell whether the platform is closed."""
    return await switches.maintenance(ctx.services.pool)


@resource.put("/admin/maintenance", auth=Auth.ADMIN)
async def set_maintenance(ctx: Context, body: MaintenanceChange) -> Maintenance:
    """Close the platform for all but administrators, everywhere within a second, or open it.

    Meanwhile everybody else gets 503 with the code `maintenance`, and their sockets are told to come back later.
    """
    message = (body.message or "").strip() or None
    by = ctx.audit("maintenance.set", enabled=body.enabled, message=message)
    found = await switches.set_maintenance(ctx.services.pool, body.enabled, message, by)
    await ctx.services.switches.load(ctx.services.pool)
    return found
