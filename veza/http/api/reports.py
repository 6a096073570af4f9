"""Reports: people say what is amiss, administrators act."""

from typing import Annotated, Literal
from uuid import UUID

import msgspec
from msgspec import Meta

from veza.errors import Conflict, InvalidArgument, NotFound, ReportNotFound
from veza.http.context import Context
from veza.http.envelope import Reply
from veza.http.params import Limit, Offset
from veza.http.routing import Auth, Resource
from veza.realtime.rate_window import Policy
from veza.storage import reports
from veza.storage.reportable import ContentType
from veza.storage.reports import Action, Filed, Report, Status

resource = Resource("reports", "What people find amiss, and what is done about it.")


class NewReport(msgspec.Struct, frozen=True):
    """What is wrong with what."""

    content_type: ContentType
    content_id: UUID
    reason: Annotated[str, Meta(min_length=1, max_length=1000)]


class ReportPaging(msgspec.Struct, frozen=True):
    """Which reports; those that wait when nothing is said."""

    status: Annotated[
        Literal["pending", "resolved", "dismissed", "all"], Meta(description="Only those in this state.")
    ] = "pending"
    limit: Limit = 20
    offset: Offset = 0


class Reports(msgspec.Struct, frozen=True):
    """Newest first."""

    reports: list[Report]
    total: int


class Resolution(msgspec.Struct, frozen=True):
    """`ban` bans the author of what was reported, `warn` notifies them, `resolve` and `dismiss` do nothing to them."""

    action: Action


@resource.post(
    "/reports", status=201, also=(200,), errors=(NotFound, InvalidArgument), limit=Policy("reports", 60, 60, per="user")
)
async def create_report(ctx: Context, body: NewReport) -> Reply[Filed]:
    """Report a person, or what somebody wrote or made.

    While a report waits, the same person's second one about the same thing answers the first, with 200.
    """
    reason = body.reason.strip()
    if not reason:
        raise InvalidArgument("A report needs a reason.", (("reason", "is empty"),))
    report, new = await reports.file(
        ctx.services.pool, ctx.principal.user_id, body.content_type, body.content_id, reason
    )
    return Reply(report, status=201 if new else 200)


@resource.get("/admin/reports", auth=Auth.ADMIN)
async def list_reports(ctx: Context, query: ReportPaging) -> Reports:
    """List reports."""
    status = None if query.status == "all" else Status(query.status)
    found, total = await reports.page(ctx.services.pool, status, query.limit, query.offset)
    return Reports(found, total)


@resource.post("/admin/reports/<report_id>/resolve", auth=Auth.ADMIN, errors=(ReportNotFound, Conflict))
async def resolve_report(ctx: Context, report_id: UUID, body: Resolution) -> Report:
    """Close a report, with what that does to the author of what was reported.

    409 when it is closed already, and for a ban of the caller, of the last administrator or of a deleted account.
    """
    by = ctx.audit("report.resolve", report_id=str(report_id), decision=body.action.value)
    report, events = await reports.resolve(ctx.services.pool, report_id, body.action, by)
    ctx.services.authenticator.apply(events)
    return report
