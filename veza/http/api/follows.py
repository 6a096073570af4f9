"""Follows: whom a person follows, and who follows them."""

from uuid import UUID

import msgspec

from veza.errors import InvalidArgument, UserBlocked, UserNotFound
from veza.http.context import Context
from veza.http.params import Paging
from veza.http.routing import Resource
from veza.realtime.events import Person
from veza.storage import follows, rooms
from veza.storage.follows import Follow

resource = Resource("follows", "People whose doings you want to hear of.")


class FollowState(msgspec.Struct, frozen=True):
    """Whether you follow a person now, and how many do."""

    user_id: UUID
    following: bool
    follower_count: int


class Followers(msgspec.Struct, frozen=True):
    """The latest first."""

    followers: list[Follow]
    total: int


class Following(msgspec.Struct, frozen=True):
    """The latest first."""

    following: list[Follow]
    total: int


@resource.post("/users/<user_id>/follow", errors=(InvalidArgument, UserNotFound, UserBlocked))
async def follow(ctx: Context, user_id: UUID) -> FollowState:
    """Follow a person, who is notified. Nobody follows whom they block, nor who blocks them."""
    pool, me = ctx.services.pool, ctx.principal
    await follows.follow(pool, Person(me.user_id, me.username), user_id)
    return FollowState(user_id, True, await follows.follower_count(pool, user_id))


@resource.delete("/users/<user_id>/follow", errors=(UserNotFound,))
async def unfollow(ctx: Context, user_id: UUID) -> FollowState:
    """Follow a person no more."""
    pool = ctx.services.pool
    await rooms.person(pool, user_id)
    await follows.unfollow(pool, ctx.principal.user_id, user_id)
    return FollowState(user_id, False, await follows.follower_count(pool, user_id))


@resource.get("/users/<user_id>/followers", errors=(UserNotFound,))
async def list_followers(ctx: Context, user_id: UUID, query: Paging) -> Followers:
    """List who follows a person."""
    await rooms.person(ctx.services.pool, user_id)
    return Followers(*await follows.followers(ctx.services.pool, user_id, query.limit, query.offset))


@resource.get("/users/<user_id>/following", errors=(UserNotFound,))
async def list_following(ctx: Context, user_id: UUID, query: Paging) -> Following:
    """List whom a person follows."""
    await rooms.person(ctx.services.pool, user_id)
    return Following(*await follows.following(ctx.services.pool, user_id, query.limit, query.offset))
