"""How well a stream's encoder sends: for its owner, while it is live."""

from typing import Any
from uuid import UUID

import msgspec

from veza.errors import PermissionDenied, StreamNotFound, Unavailable
from veza.http.context import Context
from veza.http.routing import Resource
from veza.realtime.principal import Role
from veza.realtime.streams.life import StreamStatus
from veza.storage import playbacks

resource = Resource("live-health", "How well encoders send.")


class StreamHealth(msgspec.Struct, frozen=True):
    """Rates are of the last ten seconds, `dropped` and `late` count frames since the encoder came. Nothing has come for
    `silent_s`. `warnings` are sentences for the streamer. While no encoder publishes here all is null or 0.
    """

    status: StreamStatus
    is_publishing: bool
    video_bps: int = 0
    audio_bps: int = 0
    fps: float = 0.0
    key_interval_s: float | None = None
    dropped: int = 0
    late: int = 0
    silent_s: float | None = None
    warnings: list[str] = []


@resource.get("/live/streams/<stream_id>/health", errors=(StreamNotFound, PermissionDenied, Unavailable))
async def get_stream_health(ctx: Context, stream_id: UUID) -> StreamHealth:
    """Get how well the encoder of a stream of one's own sends. Administrators see anybody's."""
    found = await playbacks.of_stream(ctx.services.pool, stream_id)
    is_admin = ctx.principal.role.includes(Role.ADMIN)
    if found is None or (found[1].is_private and found[1].owner_id != ctx.principal.user_id and not is_admin):
        raise StreamNotFound
    playback_id, row = found
    if row.owner_id != ctx.principal.user_id and not is_admin:
        raise PermissionDenied("Only its owner may do that.")
    report: dict[str, Any] | None = None
    if row.is_fed and row.ingest is not None:
        report = await ctx.services.streams.report(row.ingest, playback_id)
    if report is None:
        return StreamHealth(row.status, is_publishing=False)
    return msgspec.convert({"status": row.status, "is_publishing": True, **report}, StreamHealth)
