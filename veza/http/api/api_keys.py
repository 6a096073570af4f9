"""API keys, for a person's programs."""

from datetime import timedelta
from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import Meta

from veza.errors import Conflict, InvalidArgument, NotFound
from veza.http.context import Context
from veza.http.envelope import Reply
from veza.http.params import Paging
from veza.http.routing import Resource
from veza.storage import api_keys
from veza.storage.api_keys import ApiKey, NewApiKey, Scope

resource = Resource("developer", "Keys with which programs act for a person.")


class KeyRequest(msgspec.Struct, frozen=True):
    """`read` is for what only reads, `write` for everything else. Without `expires_in_days` a key stays good."""

    name: Annotated[str, Meta(min_length=1, max_length=100)]
    scopes: Annotated[list[Scope], Meta(min_length=1, max_length=2)]
    expires_in_days: Annotated[int, Meta(ge=1, le=3650)] | None = None


class ApiKeyList(msgspec.Struct, frozen=True):
    """Newest first; `total` counts all that are not revoked."""

    api_keys: list[ApiKey]
    total: int


class Revoked(msgspec.Struct, frozen=True):
    """Which key is good no more."""

    id: UUID
    revoked: bool


@resource.post("/developer/api-keys", status=201, errors=(Conflict,))
async def create_api_key(ctx: Context, body: KeyRequest) -> Reply[NewApiKey]:
    """Create an API key.

    The answer is the only one that holds the key. Send it as `X-API-Key`, or as a bearer token. A
    person has at most 50.
    """
    name = body.name.strip()
    if not name:
        raise InvalidArgument("A key needs a name.", (("name", "is empty"),))
    lifetime = None if body.expires_in_days is None else timedelta(days=body.expires_in_days)
    scopes = sorted(set(body.scopes))
    return Reply(await api_keys.create(ctx.services.pool, ctx.principal.user_id, name, scopes, lifetime))


@resource.get("/developer/api-keys")
async def list_api_keys(ctx: Context, query: Paging) -> ApiKeyList:
    """List the API keys of the current user."""
    found, total = await api_keys.page(ctx.services.pool, ctx.principal.user_id, query.limit, query.offset)
    return ApiKeyList(found, total)


@resource.delete("/developer/api-keys/<key_id>", errors=(NotFound,))
async def revoke_api_key(ctx: Context, key_id: UUID) -> Revoked:
    """Revoke an API key, at once and everywhere; sockets that it opened are closed."""
    event = await api_keys.revoke(ctx.services.pool, ctx.principal.user_id, key_id)
    ctx.services.authenticator.apply((event,))
    return Revoked(key_id, revoked=True)
