"""What administrators do to people: find them, give them roles, ban them."""

from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import Meta

from veza.errors import Conflict, UserNotFound
from veza.http.context import Context
from veza.http.params import Limit, Offset
from veza.http.routing import Auth, Resource
from veza.realtime.principal import Role
from veza.storage import account_admin
from veza.storage.account_admin import ListedAccount
from veza.storage.accounts import Account

resource = Resource("admin-users", "People, for administrators: found, given roles, banned.")


class UserSearch(msgspec.Struct, frozen=True):
    """Which people."""

    search: Annotated[str, Meta(max_length=254, description="How a username or an e-mail address begins.")] = ""
    role: Annotated[Role, Meta(description="Only those with this role.")] | None = None
    banned: Annotated[bool, Meta(description="Only those who are banned, or only those who are not.")] | None = None
    limit: Limit = 20
    offset: Offset = 0


class Users(msgspec.Struct, frozen=True):
    """Newest first."""

    users: list[ListedAccount]
    total: int


class RoleChange(msgspec.Struct, frozen=True):
    """The role to have from now on."""

    role: Role


class Ban(msgspec.Struct, frozen=True):
    """`reason` is for administrators."""

    reason: Annotated[str, Meta(max_length=500)] | None = None


class BanState(msgspec.Struct, frozen=True):
    """Whether a person is banned now."""

    id: UUID
    banned: bool


@resource.get("/admin/users", auth=Auth.ADMIN)
async def list_users(ctx: Context, query: UserSearch) -> Users:
    """List people: all, those of a role, those who are banned, or found by the beginning of a name."""
    found, total = await account_admin.page(
        ctx.services.pool,
        search=query.search.strip(),
        role=query.role,
        banned=query.banned,
        limit=query.limit,
        offset=query.offset,
    )
    return Users(found, total)


@resource.put("/admin/users/<user_id>/role", auth=Auth.ADMIN, errors=(UserNotFound, Conflict))
async def set_role(ctx: Context, user_id: UUID, body: RoleChange) -> Account:
    """Give a person a role, at once, for tokens already issued too.

    409 when it would demote the caller, or leave no administrator.
    """
    by = ctx.audit("user.role", user_id=str(user_id), role=body.role.value)
    account, events = await account_admin.set_role(ctx.services.pool, user_id, body.role, by)
    ctx.services.authenticator.apply(events)
    return account


@resource.post("/admin/users/<user_id>/ban", auth=Auth.ADMIN, errors=(UserNotFound, Conflict))
async def ban(ctx: Context, user_id: UUID, body: Ban | None = None) -> BanState:
    """Ban a person: their sessions and sockets end at once, and they cannot sign in.

    409 for the caller themselves and for the last administrator.
    """
    reason = (body.reason or "").strip() if body else ""
    by = ctx.audit("user.ban", user_id=str(user_id), reason=reason)
    ctx.services.authenticator.apply(await account_admin.ban(ctx.services.pool, user_id, reason or None, by))
    return BanState(user_id, True)


@resource.post("/admin/users/<user_id>/unban", auth=Auth.ADMIN, errors=(UserNotFound,))
async def unban(ctx: Context, user_id: UUID) -> BanState:
    """Let a banned person sign in again."""
    by = ctx.audit("user.unban", user_id=str(user_id))
    ctx.services.authenticator.apply(await account_admin.unban(ctx.services.pool, user_id, by))
    return BanState(user_id, False)
