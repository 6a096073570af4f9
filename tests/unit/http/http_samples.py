"""Small resources that exercise what a declared route can say."""

from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import Meta

from veza.errors import Banned, Conflict, InvalidArgument, RateLimited, Unauthenticated, Unavailable
from veza.http.context import Context
from veza.http.envelope import Cookie, Reply
from veza.http.pagination import decode_cursor, encode_cursor
from veza.http.params import CursorPaging, Paging
from veza.http.routing import Auth, Resource
from veza.realtime.principal import Principal, Role

USER = Principal(UUID(int=1), "ann", Role.USER)
ADMIN = Principal(UUID(int=2), "root", Role.ADMIN)
READER = Principal(UUID(int=3), "script", Role.USER, scopes=frozenset({"read"}))


class Gate:
    """Knows a handful of tokens."""

    tokens = {"user": USER, "admin": ADMIN, "veza_sk_reader": READER}  # noqa: RUF012

    async def access(self, token: str) -> Principal:
        if token == "banned":
            raise Banned
        if token not in self.tokens:
            raise Unauthenticated
        return self.tokens[token]


class Inner(msgspec.Struct):
    count: Annotated[int, Meta(ge=1)]


class Song(msgspec.Struct):
    title: Annotated[str, Meta(min_length=1, max_length=20)]
    inner: Inner | None = None
    tags: list[str] = []


class Filter(msgspec.Struct):
    genre: str | None = None
    tag: list[str] = []
    is_live: bool = False


class Position(msgspec.Struct):
    seq: int


class Caller(msgspec.Struct):
    name: str | None
    ip: str


sample_resource = Resource("songs", "Songs, as samples.")


@sample_resource.post("/songs", status=201, auth=Auth.NONE, errors=(Conflict,))
async def create(ctx: Context, body: Song) -> Song:
    """Create a song.

    Its title has at most 20 characters.
    """
    return body


@sample_resource.post("/songs/maybe", auth=Auth.NONE)
async def maybe(ctx: Context, body: Song | None = None) -> str:
    """Take a body or none."""
    return body.title if body else "none"


@sample_resource.get("/songs", auth=Auth.NONE)
async def listed(ctx: Context, query: Paging) -> Paging:
    """List songs."""
    return query


@sample_resource.get("/songs/filtered", auth=Auth.NONE)
async def filtered(ctx: Context, query: Filter) -> Filter:
    """Filter songs."""
    return query


@sample_resource.get("/songs/walk", auth=Auth.NONE)
async def walk(ctx: Context, query: CursorPaging) -> str:
    """Walk over songs."""
    at = decode_cursor(query.cursor, Position).seq if query.cursor else 0
    return encode_cursor(Position(at + query.limit))


@sample_resource.get("/songs/<song_id>", auth=Auth.NONE)
async def one(ctx: Context, song_id: UUID) -> UUID:
    """Get a song."""
    return song_id


@sample_resource.get("/songs/by-name/<name>", auth=Auth.NONE)
async def by_name(ctx: Context, name: str) -> str:
    """Get a song by its name."""
    return name


@sample_resource.delete("/songs/<song_id>", auth=Auth.ADMIN)
async def remove(ctx: Context, song_id: UUID) -> Reply[str]:
    """Remove a song."""
    cookie = Cookie("last", str(song_id), max_age=60, path="/api/v1", secure=False)
    return Reply(ctx.principal.username, status=202, headers={"X-Was": "here"}, cookies=[cookie])


@sample_resource.get("/me")
async def me(ctx: Context) -> Caller:
    """Say who calls."""
    return Caller(ctx.principal.username, ctx.ip)


@sample_resource.post("/me")
async def write_me(ctx: Context) -> str:
    """Write as the caller."""
    return ctx.principal.username


@sample_resource.get("/maybe-me", auth=Auth.OPTIONAL)
async def maybe_me(ctx: Context) -> Caller:
    """Say who calls, if anyone."""
    return Caller(ctx.caller.username if ctx.caller else None, ctx.ip)


@sample_resource.get("/fail/<how>", auth=Auth.NONE)
async def fail(ctx: Context, how: str) -> str:
    """Fail in a chosen way."""
    failures: dict[str, Exception] = {
        "bug": RuntimeError("secret text of /srv/veza"),
        "outage": OSError(2, "No such file", "/run/postgresql/.s.PGSQL.5432"),
        "unavailable": Unavailable("PostgreSQL cannot be reached: /run/postgresql", 3.2),
        "limited": RateLimited(retry_after=0.2),
        "conflict": Conflict("That name is taken."),
        "invalid": InvalidArgument(details=(("name", "is odd"),)),
        "unencodable": ValueError("no"),
    }
    raise failures[how]
