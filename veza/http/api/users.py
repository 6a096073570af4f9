"""People: oneself, others, and what administrators do to them."""

from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType

from veza.errors import Conflict, PermissionDenied, RateLimited, UserNotFound
from veza.http.context import Context
from veza.http.credentials import Notice
from veza.http.routing import Auth, Resource
from veza.realtime.principal import Role
from veza.storage import accounts
from veza.storage.accounts import Account, Profile

resource = Resource("users", "People: their account, their profile, their role.")

# An address that a browser may load; never `javascript:` or `data:`.
WebAddress = Annotated[str, Meta(max_length=2048, pattern=r"^https?://[^\s/]+[^\s]*$")]


class ProfileUpdate(msgspec.Struct, frozen=True):
    """What to change; what is left out stays. `avatar_url` null removes the avatar."""

    username: str | UnsetType = UNSET
    display_name: Annotated[str, Meta(max_length=50)] | UnsetType = UNSET
    bio: Annotated[str, Meta(max_length=1000)] | UnsetType = UNSET
    avatar_url: WebAddress | UnsetType | None = UNSET


class PasswordChange(msgspec.Struct, frozen=True):
    """The rules of registration hold for the new one."""

    current_password: str
    new_password: str


class RoleChange(msgspec.Struct, frozen=True):
    """The role to have from now on."""

    role: Role


class BanState(msgspec.Struct, frozen=True):
    """Whether a person is banned now."""

    id: UUID
    banned: bool


def _given(value: str | UnsetType) -> str | None:
    return None if value is UNSET else value


@resource.get("/users/me")
async def me(ctx: Context) -> Account:
    """Get the current user."""
    return await accounts.find(ctx.services.pool, ctx.principal.user_id)


@resource.put("/users/me", errors=(Conflict,))
async def update_me(ctx: Context, body: ProfileUpdate) -> Account:
    """Update the current user's username or profile."""
    account, events = await accounts.update(
        ctx.services.pool,
        ctx.principal.user_id,
        username=_given(body.username),
        display_name=_given(body.display_name),
        bio=_given(body.bio),
        avatar_url=body.avatar_url,
    )
    ctx.services.authenticator.apply(events)
    return account


@resource.put("/users/me/password", errors=(PermissionDenied, RateLimited))
async def change_password(ctx: Context, body: PasswordChange) -> Notice:
    """Change the password and end every other session."""
    events = await accounts.change_password(
        ctx.services.pool,
        ctx.services.passwords,
        ctx.principal.user_id,
        current=body.current_password,
        new=body.new_password,
        session_id=ctx.principal.session_id,
        ip=ctx.ip,
    )
    ctx.services.authenticator.apply(events)
    return Notice("Password changed")


@resource.post("/users/me/creator")
async def become_creator(ctx: Context) -> Account:
    """Become a creator, who may upload and sell.

    Holds at once for tokens already issued. Moderators and administrators stay what they are.
    """
    account, events = await accounts.become_creator(ctx.services.pool, ctx.principal.user_id)
    ctx.services.authenticator.apply(events)
    return account


@resource.get("/users/<user_id>", errors=(UserNotFound,))
async def profile(ctx: Context, user_id: UUID) -> Profile:
    """Get somebody's public profile."""
    return await accounts.find_profile(ctx.services.pool, user_id)


@resource.put("/admin/users/<user_id>/role", auth=Auth.ADMIN, errors=(UserNotFound, Conflict))
async def set_role(ctx: Context, user_id: UUID, body: RoleChange) -> Account:
    """Give a person a role, at once, for tokens already issued too.

    409 when it would leave no administrator.
    """
    account, events = await accounts.set_role(ctx.services.pool, user_id, body.role)
    ctx.services.authenticator.apply(events)
    return account


@resource.post("/admin/users/<user_id>/ban", auth=Auth.ADMIN, errors=(UserNotFound, Conflict))
async def ban(ctx: Context, user_id: UUID) -> BanState:
    """Ban a person: their sessions end at once, and they cannot sign in."""
    ctx.services.authenticator.apply(await accounts.ban(ctx.services.pool, user_id))
    return BanState(user_id, True)


@resource.post("/admin/users/<user_id>/unban", auth=Auth.ADMIN, errors=(UserNotFound,))
async def unban(ctx: Context, user_id: UUID) -> BanState:
    """Let a banned person sign in again."""
    ctx.services.authenticator.apply(await accounts.unban(ctx.services.pool, user_id))
    return BanState(user_id, False)
