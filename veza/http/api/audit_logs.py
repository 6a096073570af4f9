"""The audit log, for administrators."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import Meta

from veza.errors import InvalidArgument
from veza.http.context import Context
from veza.http.inputs import utc
from veza.http.params import Limit, Offset
from veza.http.routing import Auth, Resource
from veza.storage import audit
from veza.storage.audit import AuditFilter, AuditRow

resource = Resource("audit", "Who did what, and from where.")

Text = Annotated[str, Meta(min_length=1, max_length=512)]


class AuditQuery(msgspec.Struct, frozen=True, rename={"since": "from", "until": "to"}):
    """What must be true of the rows. `resource` is how the path begins."""

    user_id: Annotated[UUID, Meta(description="Who did it.")] | None = None
    action: Annotated[Text, Meta(description="As `user.ban`, or the method of a request.")] | None = None
    resource: Annotated[Text, Meta(description="What the path begins with.")] | None = None
    ip: Annotated[Text, Meta(description="From which address.")] | None = None
    status: Annotated[int, Meta(ge=100, le=599, description="How it was answered.")] | None = None
    since: Annotated[datetime, Meta(tz=True, description="At this time or later.")] | None = None
    until: Annotated[datetime, Meta(tz=True, description="Before this time.")] | None = None
    limit: Limit = 20
    offset: Offset = 0


class AuditLogs(msgspec.Struct, frozen=True):
    """Newest first; `total` counts no further than 100,000."""

    audit_logs: list[AuditRow]
    total: int


@resource.get("/admin/audit-logs", auth=Auth.ADMIN, errors=(InvalidArgument,))
async def list_audit_logs(ctx: Context, query: AuditQuery) -> AuditLogs:
    """Search the audit log."""
    wanted = AuditFilter(
        user_id=query.user_id,
        action=query.action,
        resource=query.resource,
        ip=query.ip,
        status=query.status,
        since=utc("from", query.since),
        until=utc("to", query.until),
    )
    found, total = await audit.page(ctx.services.pool, wanted, query.limit, query.offset)
    return AuditLogs(found, total)
