"""People: oneself, and others."""

from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType

from veza.errors import Conflict, FeatureDisabled, PermissionDenied, RateLimited, UserNotFound
from veza.http.context import Context
from veza.http.credentials import Notice
from veza.http.features import CREATOR_SIGNUP
from veza.http.params import NewPassword, Username
from veza.http.privacy import honoured
from veza.http.routing import Resource
from veza.storage import accounts
from veza.storage.account_rules import MAX_WEB_ADDRESS_LENGTH, WEB_ADDRESS_PATTERN
from veza.storage.accounts import Account, Profile

resource = Resource("users", "People: their account and their profile.")

WebAddress = Annotated[
    str, Meta(max_length=MAX_WEB_ADDRESS_LENGTH, pattern=WEB_ADDRESS_PATTERN, examples=["https://veza.example/me.png"])
]


class ProfileUpdate(msgspec.Struct, frozen=True):
    """What to change; what is left out stays. `avatar_url` null removes the avatar."""

    username: Username | UnsetType = UNSET
    display_name: Annotated[str, Meta(max_length=50)] | UnsetType = UNSET
    bio: Annotated[str, Meta(max_length=1000)] | UnsetType = UNSET
    avatar_url: WebAddress | UnsetType | None = UNSET


class PasswordChange(msgspec.Struct, frozen=True):
    """The rules of registration hold for the new one."""

    current_password: str
    new_password: NewPassword


def _given(value: str | UnsetType) -> str | None:
    return None if value is UNSET else value


@resource.get("/users/me")
async def me(ctx: Context) -> Account:
    """Get the current user."""
    return honoured(ctx, await accounts.find(ctx.services.pool, ctx.principal.user_id))


class PrivacyChoice(msgspec.Struct, frozen=True):
    """Whether personal data may not be sold or shared."""

    do_not_sell: bool


@resource.post("/users/me/privacy/opt-out")
async def choose_privacy(ctx: Context, body: PrivacyChoice) -> PrivacyChoice:
    """Set the Do Not Sell preference (CCPA).

    A browser that sends `Sec-GPC: 1` is taken at its word for each request, whatever is set here.
    """
    await accounts.set_do_not_sell(ctx.services.pool, ctx.principal.user_id, body.do_not_sell)
    return body


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
    return honoured(ctx, account)


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


@resource.post("/users/me/creator", errors=(FeatureDisabled,))
async def become_creator(ctx: Context) -> Account:
    """Become a creator, who may upload and sell.

    Holds at once for tokens already issued. Moderators and administrators stay what they are. While the feature
    `creator_signup` is off, only an administrator makes creators.
    """
    ctx.services.switches.require(CREATOR_SIGNUP)
    account, events = await accounts.become_creator(ctx.services.pool, ctx.principal.user_id)
    ctx.services.authenticator.apply(events)
    return honoured(ctx, account)


@resource.get("/users/<user_id>", errors=(UserNotFound,))
async def profile(ctx: Context, user_id: UUID) -> Profile:
    """Get somebody's public profile."""
    return await accounts.find_profile(ctx.services.pool, user_id)
