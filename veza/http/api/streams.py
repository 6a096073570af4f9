"""Live streams: made, found, changed, and the key that a source publishes with."""

import contextlib
import enum
from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType

from veza.errors import Conflict, InvalidArgument, PermissionDenied, StreamNotFound, Unavailable
from veza.http.context import Context
from veza.http.inputs import utc
from veza.http.pagination import decode_cursor, encode_cursor
from veza.http.params import CursorText, Limit, Offset, Paging
from veza.http.routing import Auth, Resource
from veza.realtime import protocol as p
from veza.realtime import stream_commands as s
from veza.realtime.events import Person
from veza.realtime.names import clean_name
from veza.realtime.principal import Role
from veza.realtime.streams.view import Stream, StreamCategory
from veza.storage import stream_keys, streams
from veza.storage.stream_keys import StreamSecrets
from veza.storage.streams import (
    DESCRIPTION_CHARS,
    MOST_SLOW_S,
    MOST_TAGS,
    TAG_CHARS,
    TITLE_CHARS,
    StreamMessage,
    StreamSort,
)

resource = Resource("live", "Live streams and their chats.")

Title = Annotated[str, Meta(min_length=1, max_length=TITLE_CHARS)]
Description = Annotated[str, Meta(max_length=DESCRIPTION_CHARS)]
Tag = Annotated[str, Meta(min_length=1, max_length=TAG_CHARS)]
Tags = Annotated[list[Tag], Meta(max_length=MOST_TAGS)]
SlowMode = Annotated[int, Meta(ge=0, le=MOST_SLOW_S)]
Moment = Annotated[datetime, Meta(tz=True)]


class NewStream(msgspec.Struct, frozen=True):
    """A private stream is seen by its owner alone; of a recorded one the recording is kept. With `scheduled_at`, a
    time to come, it is announced for then. In slow mode a person writes once in so many seconds.
    """

    title: Title
    description: Description = ""
    category: StreamCategory = StreamCategory.OTHER
    tags: Tags = []
    is_private: bool = False
    is_recorded: bool = False
    slow_mode_seconds: SlowMode = 0
    scheduled_at: Moment | None = None


class StreamUpdate(msgspec.Struct, frozen=True):
    """What to change; what is left out stays. `scheduled_at` null makes it a draft again."""

    title: Title | UnsetType = UNSET
    description: Description | UnsetType = UNSET
    category: StreamCategory | UnsetType = UNSET
    tags: Tags | UnsetType = UNSET
    is_private: bool | UnsetType = UNSET
    is_recorded: bool | UnsetType = UNSET
    slow_mode_seconds: SlowMode | UnsetType = UNSET
    scheduled_at: Moment | UnsetType | None = UNSET


class WantedStreams(msgspec.Struct, frozen=True):
    """Which streams. Those on the air come first, by how many watch, when nothing is said."""

    limit: Limit = 20
    offset: Offset = 0
    is_live: Annotated[bool, Meta(description="Only those on the air, or only those that are not.")] | None = None
    category: Annotated[StreamCategory, Meta(description="Only of this category.")] | None = None
    tag: Annotated[Tag, Meta(description="Only with this tag.")] | None = None
    user_id: Annotated[UUID, Meta(description="Only of this person.")] | None = None
    q: Annotated[str, Meta(max_length=200, description="Words of the title, the tags or the description.")] = ""
    sort: Annotated[StreamSort, Meta(description="In which order.")] = StreamSort.VIEWERS


class Streams(msgspec.Struct, frozen=True):
    """In the order that was asked for."""

    streams: list[Stream]
    total: int


class OwnStream(Stream, frozen=True):
    """With the key of its owner."""

    stream_key: str


class OwnStreams(msgspec.Struct, frozen=True):
    """Newest first."""

    streams: list[OwnStream]
    total: int


class StreamKey(msgspec.Struct, frozen=True):
    """Where to publish, the key being the stream's name there, and which stream it starts."""

    stream_key: str
    rtmp_url: str
    stream_id: UUID


class DeletedStream(msgspec.Struct, frozen=True):
    """What is gone."""

    id: UUID
    deleted: bool = True


class MessageOrder(enum.StrEnum):
    NEWEST = "newest"
    OLDEST = "oldest"


class MessagePaging(msgspec.Struct, frozen=True):
    """From which end. A cursor goes with the order of the page before."""

    limit: Limit = 20
    cursor: CursorText | None = None
    order: Annotated[MessageOrder, Meta(description="What comes first.")] = MessageOrder.NEWEST


class StreamMessages(msgspec.Struct, frozen=True):
    """In the order that was asked for."""

    messages: list[StreamMessage]
    next_cursor: str | None
    has_more: bool


class MessagePosition(msgspec.Struct, frozen=True):
    """Where the next page begins: beyond this seq."""

    seq: p.Seq


@resource.get("/live/streams", auth=Auth.NONE, errors=(InvalidArgument,))
async def list_streams(ctx: Context, query: WantedStreams) -> Streams:
    """List public streams. A search finds at most 1000."""
    narrowing = streams.Narrowing(
        is_live=query.is_live,
        category=query.category,
        tag=None if query.tag is None else _tag(query.tag, "tag"),
        user_id=query.user_id,
    )
    found, total = await streams.list_public(
        ctx.services.pool,
        search=query.q,
        sort=query.sort,
        narrowing=narrowing,
        limit=query.limit,
        offset=query.offset,
    )
    return Streams(found, total)


@resource.get("/live/streams/me")
async def list_own_streams(ctx: Context, query: Paging) -> OwnStreams:
    """List one's own streams, with the key."""
    pool, me = ctx.services.pool, ctx.principal.user_id
    found, total = await streams.list_mine(pool, me, query.limit, query.offset)
    key = await stream_keys.key_of(pool, _secrets(ctx), me) if found else ""
    return OwnStreams([OwnStream(**msgspec.structs.asdict(stream), stream_key=key) for stream in found], total)


@resource.get("/live/streams/me/key")
async def get_stream_key(ctx: Context) -> StreamKey:
    """Get the key that a source publishes with.

    It starts the newest of one's streams that has not ended: where there is none, a draft is made.
    """
    key = await stream_keys.key_of(ctx.services.pool, _secrets(ctx), ctx.principal.user_id)
    return await _publishing(ctx, key)


@resource.post("/live/streams/me/key/regenerate")
async def regenerate_stream_key(ctx: Context) -> StreamKey:
    """Make another key; the one before is good no more, and what is published with it is cut."""
    pool, me = ctx.services.pool, ctx.principal.user_id
    key = await stream_keys.regenerate(pool, _secrets(ctx), me)
    for stream_id in await streams.on_air_of(pool, me):
        await _reread(ctx, stream_id, revoke=True)
    return await _publishing(ctx, key)


@resource.get("/live/streams/<stream_id>", auth=Auth.OPTIONAL, errors=(StreamNotFound,))
async def get_stream(ctx: Context, stream_id: UUID) -> Stream:
    """Get a stream. A private one is seen by its owner alone."""
    return await streams.get(ctx.services.pool, stream_id, _viewer(ctx))


@resource.post("/live/streams", status=201, errors=(InvalidArgument,), idempotent=True)
async def create_stream(ctx: Context, body: NewStream) -> Stream:
    """Make a stream. It goes on the air when its source comes."""
    return await streams.create(ctx.services.pool, ctx.principal.user_id, _fields(body))


@resource.put("/live/streams/<stream_id>", errors=(StreamNotFound, PermissionDenied, InvalidArgument, Conflict))
async def update_stream(ctx: Context, stream_id: UUID, body: StreamUpdate) -> Stream:
    """Change a stream of one's own. One that has started is not scheduled any more."""
    changed = await streams.update(ctx.services.pool, stream_id, ctx.principal.user_id, _fields(body))
    await _reread(ctx, stream_id)
    return changed


@resource.delete("/live/streams/<stream_id>", errors=(StreamNotFound, PermissionDenied, Conflict))
async def delete_stream(ctx: Context, stream_id: UUID) -> DeletedStream:
    """Delete a stream of one's own and its chat; not while it is on the air."""
    await streams.delete(ctx.services.pool, stream_id, ctx.principal.user_id)
    await _reread(ctx, stream_id)
    return DeletedStream(stream_id)


@resource.post("/live/streams/<stream_id>/start", errors=(StreamNotFound, PermissionDenied, Conflict, Unavailable))
async def start_stream(ctx: Context, stream_id: UUID) -> Stream:
    """Go on the air with a source that does not publish here; again is harmless."""
    me = Person(ctx.principal.user_id, ctx.principal.username)
    return await _decide(ctx, lambda ref: s.StartStream(ref, stream_id, me), stream_id)


@resource.post("/live/streams/<stream_id>/stop", errors=(StreamNotFound, PermissionDenied, Conflict, Unavailable))
async def stop_stream(ctx: Context, stream_id: UUID) -> Stream:
    """End a stream of one's own, whatever its source; again is harmless. Administrators end anybody's."""
    me, by_admin = Person(ctx.principal.user_id, ctx.principal.username), ctx.principal.role.includes(Role.ADMIN)
    return await _decide(ctx, lambda ref: s.StopStream(ref, stream_id, me, by_admin), stream_id)


@resource.get("/live/streams/<stream_id>/messages", auth=Auth.OPTIONAL, errors=(StreamNotFound, InvalidArgument))
async def list_stream_messages(ctx: Context, stream_id: UUID, query: MessagePaging) -> StreamMessages:
    """List what was written in a stream's chat."""
    after = decode_cursor(query.cursor, MessagePosition).seq if query.cursor else None
    pool = ctx.services.pool
    await streams.get(pool, stream_id, _viewer(ctx))
    found = await streams.messages(
        pool, stream_id, after=after, oldest_first=query.order is MessageOrder.OLDEST, limit=query.limit + 1
    )
    shown, more = found[: query.limit], len(found) > query.limit
    return StreamMessages(shown, encode_cursor(MessagePosition(shown[-1].seq)) if more else None, more)


async def _decide(ctx: Context, make: Callable[[int], s.StreamCommand], stream_id: UUID) -> Stream:
    """What its shard makes of a stream."""
    return msgspec.convert(await ctx.services.streams.ask(make, stream_id), Stream)


async def _reread(ctx: Context, stream_id: UUID, *, revoke: bool = False) -> None:
    """Tell the shard that the stream's row, or its owner's key, is another."""
    with contextlib.suppress(StreamNotFound):
        await ctx.services.streams.ask(lambda ref: s.RereadStream(ref, stream_id, revoke), stream_id)


async def _publishing(ctx: Context, key: str) -> StreamKey:
    settings = ctx.services.settings
    stream_id = await streams.newest_open_or_create(ctx.services.pool, ctx.principal.user_id)
    return StreamKey(key, f"rtmp://{settings.app_domain}:{settings.rtmp_port}/live", stream_id)


def _secrets(ctx: Context) -> StreamSecrets:
    return StreamSecrets(ctx.services.settings.jwt_secret)


def _viewer(ctx: Context) -> UUID | None:
    return None if ctx.caller is None else ctx.caller.user_id


def _tag(tag: str, field: str) -> str:
    return clean_name(tag, TAG_CHARS, field).lower()


def _fields(body: NewStream | StreamUpdate) -> dict[str, Any]:
    """The fields that were given, by name, as they are stored. Raises InvalidArgument."""
    given = {name: value for name in body.__struct_fields__ if (value := getattr(body, name)) is not UNSET}
    if "title" in given:
        given["title"] = clean_name(given["title"], TITLE_CHARS, "title")
    if "tags" in given:
        given["tags"] = list(dict.fromkeys(_tag(tag, "tags") for tag in given["tags"]))
    if "scheduled_at" in given:
        given["scheduled_at"] = utc("scheduled_at", given["scheduled_at"])
    return given
