"""Recordings of live streams: what there is, and the chat as it was at each moment."""

from datetime import datetime, timedelta
from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import Meta

from veza.errors import Conflict, InvalidArgument, NotFound, PermissionDenied, StreamNotFound
from veza.http.context import Context
from veza.http.pagination import decode_cursor, encode_cursor
from veza.http.params import CursorText, Limit
from veza.http.replays import Replay
from veza.http.routing import Auth, Resource
from veza.realtime import protocol as p
from veza.realtime.events import Person
from veza.realtime.hls.view import MULTIVARIANT, RECORDING
from veza.realtime.streams.chat import StreamMessage
from veza.realtime.streams.life import ON_AIR
from veza.storage import recordings, streams
from veza.storage.streams import PLAYBACK_URL

resource = Resource("live-recordings", "What is kept of live streams.")


class Recording(msgspec.Struct, frozen=True):
    """While it is not `is_ready` there is more to come, and nothing can be played. A minute after the stream has ended
    its own `playback_url` plays the recording, too; that of a private one has to be signed.
    """

    stream_id: UUID
    is_ready: bool
    duration_s: float
    size_bytes: int
    playback_url: str
    created_at: datetime
    finished_at: datetime | None


class DeletedRecording(msgspec.Struct, frozen=True):
    stream_id: UUID
    deleted: bool = True


class ReplayPaging(msgspec.Struct, frozen=True):
    """From which second of the recording on."""

    limit: Limit = 20
    cursor: CursorText | None = None
    from_s: Annotated[
        float, Meta(ge=0, le=1_000_000, description="From this second of the recording on. Not with a cursor.")
    ] = 0.0


class ReplayMessage(msgspec.Struct, frozen=True):
    """`position_s` is the second of the recording at which it was written."""

    id: UUID
    seq: int
    sender: Person
    content: str
    created_at: datetime
    position_s: float


class ReplayMessages(msgspec.Struct, frozen=True):
    """The oldest first."""

    messages: list[ReplayMessage]
    next_cursor: str | None
    has_more: bool


class ReplayPosition(msgspec.Struct, frozen=True):
    """Where the next page begins: with this seq."""

    seq: p.Seq


@resource.get("/live/streams/<stream_id>/recording", auth=Auth.OPTIONAL, errors=(StreamNotFound, NotFound))
async def get_recording(ctx: Context, stream_id: UUID) -> Recording:
    """Get what is kept of a stream."""
    stream = await streams.get(ctx.services.pool, stream_id, _viewer(ctx))
    found = await recordings.find(ctx.services.pool, stream_id)
    if found is None:
        raise NotFound(recordings.NONE)
    return Recording(
        stream_id=stream_id,
        is_ready=found.finished_at is not None,
        duration_s=found.duration_ms / 1000,
        size_bytes=found.size_bytes,
        playback_url=PLAYBACK_URL.format(stream.playback_id).replace(MULTIVARIANT, RECORDING),
        created_at=found.created_at,
        finished_at=found.finished_at,
    )


@resource.delete("/live/streams/<stream_id>/recording", errors=(StreamNotFound, PermissionDenied, NotFound, Conflict))
async def delete_recording(ctx: Context, stream_id: UUID) -> DeletedRecording:
    """Delete the recording of a stream of one's own. The stream and its chat stay."""
    stream = await streams.require_own(ctx.services.pool, stream_id, ctx.principal.user_id)
    if stream in ON_AIR and await recordings.find(ctx.services.pool, stream_id) is not None:
        raise Conflict("It is being recorded; stop the stream first.")
    await recordings.delete(ctx.services.pool, stream_id)
    return DeletedRecording(stream_id)


@resource.get(
    "/live/streams/<stream_id>/recording/messages",
    auth=Auth.OPTIONAL,
    errors=(StreamNotFound, NotFound, InvalidArgument),
)
async def list_recording_messages(ctx: Context, stream_id: UUID, query: ReplayPaging) -> ReplayMessages:
    """List the chat of a recorded stream along the recording."""
    pool = ctx.services.pool
    await streams.get(pool, stream_id, _viewer(ctx))
    replay = await ctx.services.replays.find(pool, stream_id)
    if replay is None:
        raise NotFound(recordings.NONE)
    first = await _first(ctx, replay, query)
    if first is None:
        return ReplayMessages([], None, has_more=False)
    found = await recordings.messages(pool, stream_id, first, query.limit + 1)
    shown, more = found[: query.limit], len(found) > query.limit
    cursor = encode_cursor(ReplayPosition(found[-1].seq)) if more else None
    return ReplayMessages([_shown(replay, message) for message in shown], cursor, more)


async def _first(ctx: Context, replay: Replay, query: ReplayPaging) -> int | None:
    """The seq that a page begins with; None where there is nothing."""
    if query.cursor is not None:
        if query.from_s:
            raise InvalidArgument("A cursor says where to go on.", (("from_s", "not with a cursor"),))
        return decode_cursor(query.cursor, ReplayPosition).seq
    if not query.from_s:
        return 0  # what was written before the first picture, too
    moment = replay.moment_at(timedelta(seconds=query.from_s))
    return None if moment is None else await recordings.first_since(ctx.services.pool, replay.stream_id, moment)


def _shown(replay: Replay, message: StreamMessage) -> ReplayMessage:
    position = replay.position_of(message.created_at).total_seconds()
    return ReplayMessage(
        message.id, message.seq, message.sender, message.content, message.created_at, round(position, 3)
    )


def _viewer(ctx: Context) -> UUID | None:
    return None if ctx.caller is None else ctx.caller.user_id
