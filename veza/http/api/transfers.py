"""Transfers to sellers and the jobs about money, for administrators."""

import asyncio
from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import Meta

from veza.errors import Conflict, InvalidArgument, TransferNotFound
from veza.http.context import Context
from veza.http.inputs import utc
from veza.http.params import Limit, Offset
from veza.http.routing import Auth, Resource
from veza.realtime.transfer import TransferStatus
from veza.storage import jobs, transfers
from veza.storage.jobs import Job
from veza.storage.transfers import Filter, Transfer

resource = Resource("transfers", "Money on its way to sellers.")

# An administrator waits so long for what came of a retry; it goes on in any case.
RETRY_S = 5.0
LOOK_S = 0.05


class AdminTransferQuery(msgspec.Struct, frozen=True, rename={"since": "from", "until": "to"}):
    """What must be true of the transfers."""

    status: Annotated[TransferStatus, Meta(description="In which state it is.")] | None = None
    seller_id: Annotated[UUID, Meta(description="To whom it goes.")] | None = None
    since: Annotated[datetime, Meta(tz=True, description="Made at this time or later.")] | None = None
    until: Annotated[datetime, Meta(tz=True, description="Made before this time.")] | None = None
    limit: Limit = 20
    offset: Offset = 0


class AllTransfers(msgspec.Struct, frozen=True):
    """Newest first."""

    transfers: list[Transfer]
    total: int


class Jobs(msgspec.Struct, frozen=True):
    """By name."""

    jobs: list[Job]
    total: int


@resource.get("/admin/transfers", auth=Auth.ADMIN, errors=(InvalidArgument,))
async def list_all_transfers(ctx: Context, query: AdminTransferQuery) -> AllTransfers:
    """List transfers to all sellers."""
    wanted = Filter(
        status=query.status,
        seller_id=query.seller_id,
        since=utc("from", query.since),
        until=utc("to", query.until),
    )
    return AllTransfers(*await transfers.page(ctx.services.pool, wanted, query.limit, query.offset))


@resource.post(
    "/admin/transfers/<transfer_id>/retry", auth=Auth.ADMIN, errors=(TransferNotFound, Conflict), idempotent=True
)
async def retry_transfer(ctx: Context, transfer_id: UUID) -> Transfer:
    """Try a failed or dead transfer again, at once.

    Answers what came of it, or after five seconds that it is still under way. 409 for any other transfer.
    """
    by = ctx.audit("transfer.retry", transfer_id=str(transfer_id))
    await transfers.retry(ctx.services.pool, transfer_id, by)
    loop = asyncio.get_running_loop()
    until = loop.time() + RETRY_S
    while True:
        found = await transfers.get(ctx.services.pool, transfer_id)
        if found.status not in {TransferStatus.PENDING, TransferStatus.PROCESSING} or loop.time() > until:
            return found
        await asyncio.sleep(LOOK_S)


@resource.get("/admin/jobs", auth=Auth.ADMIN)
async def list_jobs(ctx: Context) -> Jobs:
    """List the jobs that run now and then, with how they fared."""
    found = await jobs.every(ctx.services.pool)
    return Jobs(found, len(found))
