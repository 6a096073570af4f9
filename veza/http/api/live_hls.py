"""The pictures of live streams for players: HTTP Live Streaming, with low latency for those that know it.

HTTP Live Streaming 2nd Edition (draft-pantos-hls-rfc8216bis, here RFC 8216bis). Players are on any site: everything
here may be read from everywhere, errors too, and nothing depends on a cookie.
"""

import asyncio
import enum
import io
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar
from uuid import UUID

import msgspec
from msgspec import Meta
from sanic.response import HTTPResponse

from veza.errors import InvalidArgument, NotFound, RateLimited, StreamNotFound, Unavailable, VezaError
from veza.http.context import Context
from veza.http.downloads import read_range
from veza.http.errors import RangeNotSatisfiable, translate
from veza.http.file_send import send_file
from veza.http.playback_files import is_name
from veza.http.playback_tokens import VALID_SECONDS, join, split, tokens_of
from veza.http.responses import error_response
from veza.http.routing import Auth, Resource
from veza.realtime.hls.view import LOW_LATENCY, MULTIVARIANT, PLAIN, RECORDING, PlaylistView
from veza.realtime.rate_window import Policy
from veza.realtime.streams.life import StreamStatus
from veza.storage import recordings, streams
from veza.storage.database import FAILURES
from veza.storage.playbacks import Playback
from veza.storage.streams import PLAYBACK_URL

Declared = TypeVar("Declared", bound=Callable[..., Any])

# A player asks for two playlists and two parts a second, and for some segments when it begins: an office behind one
# address has hundreds of players. It is a limit of its own, for a few of them would use up what an address has.
PLAYING = Policy("playing", 2_000, 1)

PLAYLIST_TYPE = "application/vnd.apple.mpegurl"  # RFC 8216, 4
INIT_TYPE = "video/mp4"
# RFC 8216 names no type for fragmented MP4. video/mp4 (RFC 4337) is of a file that can be played by itself; a segment,
# or a part of one, is what ISO/IEC 23009-1 registered this for: fragments without the `moov` they need.
SEGMENT_TYPE = "video/iso.segment"

# RFC 8216bis, 6.2.5.2: the answer to a blocking reload stays good for six target durations, for the next asks for
# more. One that names nothing is to be asked for again at once.
_BLOCKING_TARGETS = 6
_NEWEST = "max-age=1"
# A recording may be deleted.
_RECORDED = "max-age=60"
# A name is given once, and what has it never changes; but a stream may be made private, or a recording deleted, and
# then no cache must have it for long.
_LIVE_FILE = "max-age=600, immutable"
_RECORDED_FILE = "max-age=3600, immutable"
# Of recordings that are sent at once: each holds a connection to the object store, of which others need some too.
_SENDING = asyncio.Semaphore(8)
# What a piece of a recording has at the most: it is read whole, so that no reader holds up the store.
_MOST_BYTES = 64 * 2**20

_REFUSED: tuple[type[BaseException], ...] = (VezaError, *FAILURES)
_NO_FILE = "A stream has no such file."

_OPEN = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Expose-Headers": "Content-Length, Content-Range, Retry-After, X-Request-ID",
    "Cross-Origin-Resource-Policy": "cross-origin",
}
_PREFLIGHT = {
    **_OPEN,
    "Allow": "GET, HEAD, OPTIONS",
    "Access-Control-Allow-Methods": "GET, HEAD, OPTIONS",
    "Access-Control-Allow-Headers": "Range, If-Range, X-Request-ID",
    # A day: no browser keeps it for longer.
    "Access-Control-Max-Age": "86400",
}


class _Resource(Resource):
    """With OPTIONS: elsewhere only the sites on the allow-list are told that they may ask."""

    def options(self, path: str) -> Callable[[Declared], Declared]:
        return self._declare(
            "OPTIONS", path, status=204, auth=Auth.NONE, errors=(), produces="*/*", limit=PLAYING, limited=False
        )


resource = _Resource("playback", "The pictures of live streams.")


class OpenResponse(HTTPResponse):
    """For whoever asks, from any site. The edge would name the site instead where it is on the allow-list, which no
    cache could give to another.
    """

    @property
    def processed_headers(self) -> Iterator[tuple[bytes, bytes]]:
        self.headers.update(_OPEN)
        self.headers.pop("Access-Control-Allow-Credentials", None)
        self.headers["Vary"] = "Sec-GPC"
        return super().processed_headers


class Skip(enum.StrEnum):
    YES = "YES"
    V2 = "v2"


class Delivery(msgspec.Struct, frozen=True):
    """Delivery Directives (RFC 8216bis, 6.2.5). Only the playlist with parts knows them."""

    msn: Annotated[int, Meta(ge=0, description="Answer when the playlist has this segment.")] | None = msgspec.field(
        default=None, name="_HLS_msn"
    )
    part: Annotated[int, Meta(ge=0, description="Or this part of it.")] | None = msgspec.field(
        default=None, name="_HLS_part"
    )
    skip: Annotated[Skip, Meta(description="Leave out what was there before.")] | None = msgspec.field(
        default=None, name="_HLS_skip"
    )


class PlaybackLink(msgspec.Struct, frozen=True):
    """Where the pictures are. Of a private stream the address is good until `expires_at`, and to be kept secret."""

    playback_url: str
    expires_at: datetime | None


_ERRORS = (StreamNotFound, InvalidArgument, Unavailable, RateLimited)


@resource.post("/live/streams/<stream_id>/playback", auth=Auth.OPTIONAL, errors=(StreamNotFound,))
async def link_playback(ctx: Context, stream_id: UUID) -> PlaybackLink:
    """Get the address of a stream's pictures.

    That of a private stream, which its owner alone gets, is good for 6 hours; ask for another then.
    """
    viewer = None if ctx.caller is None else ctx.caller.user_id
    stream = await streams.get(ctx.services.pool, stream_id, viewer)
    if not stream.is_private:
        return PlaybackLink(stream.playback_url, None)
    expires_at = int(time.time()) + VALID_SECONDS
    token = tokens_of(ctx.services.settings.jwt_secret).sign(stream.playback_id, expires_at)
    url = PLAYBACK_URL.format(join(stream.playback_id, token))
    return PlaybackLink(url, datetime.fromtimestamp(expires_at, UTC))


@resource.get(
    f"/live/hls/<playback>/{MULTIVARIANT}",
    auth=Auth.NONE,
    errors=_ERRORS,
    produces=PLAYLIST_TYPE,
    limit=PLAYING,
    limited=False,
)
async def get_multivariant(ctx: Context, playback: str) -> HTTPResponse:
    """Get the playlist that a player begins with.

    `playback` is a stream's `playback_id`, with `~` and a token for a private one.
    """
    try:
        playback_id, row = await _require(ctx, playback)
        if row.is_over and (replay := await ctx.services.replays.find(ctx.services.pool, row.stream_id)):
            return _playlist(replay.recording.multivariant.encode(), row, _RECORDED)
        view = await ctx.services.playing.view(playback_id, row.ingest)
        return _playlist(view.multivariant or view.low_latency, row, _NEWEST)
    except _REFUSED as error:
        return _refused(ctx, error)


@resource.get(
    "/live/hls/<playback>/<name>",
    auth=Auth.NONE,
    errors=(*_ERRORS, NotFound, RangeNotSatisfiable),
    produces="*/*",
    also=(206,),
    limit=PLAYING,
    limited=False,
)
async def get_file(ctx: Context, playback: str, name: str, query: Delivery) -> HTTPResponse:
    """Get what a playlist names.

    `live.m3u8` has parts and knows Delivery Directives; `plain.m3u8` has whole segments only; `recording.m3u8` has all
    that was kept. A part that a playlist hints at is answered when it is there.
    """
    try:
        playback_id, row = await _require(ctx, playback)
        if name == RECORDING or row.is_over:
            return await _recorded(ctx, row, name)
        found = await _live(ctx, playback_id, row, name, query)
        # What has left the window of a stream that has just ended may be in its recording.
        if found is None and row.status is StreamStatus.ENDED:
            found = await _recorded(ctx, row, name)
        return _required(found)
    except _REFUSED as error:
        if ctx.request.responded:
            raise
        return _refused(ctx, error)


@resource.get(
    "/live/hls/<playback>/<rendition>/<name>",
    auth=Auth.NONE,
    errors=(*_ERRORS, NotFound, RangeNotSatisfiable),
    produces="*/*",
    also=(206,),
    limit=PLAYING,
    limited=False,
)
async def get_rendition_file(ctx: Context, playback: str, rendition: str, name: str, query: Delivery) -> HTTPResponse:
    """Get what a playlist of a smaller picture names.

    The multivariant playlist says which renditions there are.
    """
    try:
        playback_id, row = await _require(ctx, playback)
        known = {each.name for each in ctx.services.settings.live_renditions}
        if row.is_over or rendition not in known:
            raise NotFound(_NO_FILE)
        return _required(await _live(ctx, f"{playback_id}-{rendition}", row, name, query))
    except _REFUSED as error:
        if ctx.request.responded:
            raise
        return _refused(ctx, error)


@resource.options(f"/live/hls/<playback>/{MULTIVARIANT}")
async def allow_multivariant(ctx: Context, playback: str) -> HTTPResponse:  # noqa: ARG001 - named by the path
    """Tell a browser that any site may ask."""
    return OpenResponse(status=204, headers=_PREFLIGHT)


@resource.options("/live/hls/<playback>/<name>")
async def allow_file(ctx: Context, playback: str, name: str) -> HTTPResponse:  # noqa: ARG001 - named by the path
    """Tell a browser that any site may ask."""
    return OpenResponse(status=204, headers=_PREFLIGHT)


@resource.options("/live/hls/<playback>/<rendition>/<name>")
async def allow_rendition_file(ctx: Context, playback: str, rendition: str, name: str) -> HTTPResponse:  # noqa: ARG001 - named by the path
    """Tell a browser that any site may ask."""
    return OpenResponse(status=204, headers=_PREFLIGHT)


async def _require(ctx: Context, address: str) -> tuple[str, Playback]:
    """The stream at an address. Raises StreamNotFound, also for a private one without a token that is good."""
    playback_id, token = split(address)
    row = await ctx.services.playing.row(ctx.services.pool, playback_id)
    if row is None:
        raise StreamNotFound
    if row.is_private:
        tokens = tokens_of(ctx.services.settings.jwt_secret)
        if token is None or not tokens.verify(playback_id, token, time.time()):
            raise StreamNotFound
    return playback_id, row


def _low_latency(view: PlaylistView, row: Playback, query: Delivery) -> HTTPResponse:
    body = view.low_latency if query.skip is None or view.ended else view.delta
    caching = _NEWEST if query.msn is None else f"max-age={int(_BLOCKING_TARGETS * view.target_s)}"
    return _playlist(body, row, caching)


def _playlist(body: bytes, row: Playback, caching: str) -> HTTPResponse:
    return OpenResponse(body, headers={"Cache-Control": _kept(row, caching)}, content_type=PLAYLIST_TYPE)


def _required(found: HTTPResponse | None) -> HTTPResponse:
    if found is None:
        raise NotFound(_NO_FILE)
    return found


async def _live(ctx: Context, playback_id: str, row: Playback, name: str, query: Delivery) -> HTTPResponse | None:
    """A playlist or a file of a stream, or of a rendition, on the air; None where there is none."""
    playbacks = ctx.services.playing
    if name == LOW_LATENCY:
        return _low_latency(await playbacks.view(playback_id, row.ingest, query.msn, query.part), row, query)
    if name == PLAIN:
        return _playlist((await playbacks.view(playback_id, row.ingest)).plain, row, _NEWEST)
    if not is_name(name):
        return None
    file = await playbacks.file(playback_id, row.ingest, name)
    return None if file is None else await _file(ctx, file, row, name)


async def _file(ctx: Context, file: io.FileIO, row: Playback, name: str) -> HTTPResponse:
    with file:
        size = file.seek(0, 2)
        request = ctx.request
        # Without a validator to compare, `If-Range` asks for the whole.
        found = read_range(request.header("range") if request.header("if-range") is None else None, size)
        first, last = found or (0, size - 1)
        headers = {
            "Cache-Control": _kept(row, _LIVE_FILE),
            "Accept-Ranges": "bytes",
            "Content-Length": str(last - first + 1),
        }
        if found:
            headers["Content-Range"] = f"bytes {first}-{last}/{size}"
        response = OpenResponse(status=206 if found else 200, headers=headers, content_type=_type_of(name))
        if request.method != "HEAD" and first <= last:
            await send_file(request, response, file, first, last - first + 1)
        return response


async def _recorded(ctx: Context, row: Playback, name: str) -> HTTPResponse:
    """A playlist or a file of a recording. Raises NotFound."""
    if name in (RECORDING, LOW_LATENCY, PLAIN):
        replay = await ctx.services.replays.find(ctx.services.pool, row.stream_id)
        if replay is None:
            raise NotFound(recordings.NONE)
        return _playlist(replay.playlist, row, _RECORDED)
    found = await recordings.file(ctx.services.pool, row.stream_id, name) if is_name(name) else None
    if found is None or found.size_bytes > _MOST_BYTES or ctx.services.objects is None:
        raise NotFound(_NO_FILE)
    response = OpenResponse(
        headers={"Cache-Control": _kept(row, _RECORDED_FILE), "Content-Length": str(found.size_bytes)},
        content_type=_type_of(name),
    )
    if ctx.request.method != "HEAD":
        async with _SENDING, ctx.services.objects.read(found.object_key, 0, found.size_bytes - 1) as pieces:
            response.body = b"".join([piece async for piece in pieces])
    return response


def _type_of(name: str) -> str:
    return INIT_TYPE if name.endswith(".mp4") else SEGMENT_TYPE


def _kept(row: Playback, caching: str) -> str:
    """Of a private stream no cache but the player's own keeps anything."""
    return f"{'private' if row.is_private else 'public'}, {caching}"


def _refused(ctx: Context, error: BaseException) -> HTTPResponse:
    """An error that a player on any site can read, to tell "not yet" from "no more"."""
    response = error_response(ctx.request, translate(error))
    response.headers.update(_OPEN)
    return response
