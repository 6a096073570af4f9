"""Webhooks of payment providers, and what administrators see of them."""

from typing import Annotated, Literal
from uuid import UUID

import msgspec
from msgspec import Meta

from veza.errors import Conflict, InvalidArgument, Unauthenticated, WebhookNotFound
from veza.http.context import Context
from veza.http.errors import PayloadTooLarge
from veza.http.params import Limit, Offset
from veza.http.routing import Auth, Resource
from veza.realtime import payment_events
from veza.storage import webhooks
from veza.storage.webhooks import Webhook

resource = Resource("webhooks", "What payment providers tell us.")

# What providers send is a few KiB.
MOST_BYTES = 256 * 1024
# The reference's name, and the one that the provider sends.
SIGNATURES = ("x-hyperswitch-signature", "x-webhook-signature-512")


class WebhookReceived(msgspec.Struct, frozen=True):
    """It is kept, and will be worked off."""

    received: bool


class WebhookQuery(msgspec.Struct, frozen=True):
    """Which webhooks."""

    status: (
        Annotated[
            Literal["received", "waiting", "processed", "ignored", "failed"],
            Meta(description="Only those in this state."),
        ]
        | None
    ) = None
    limit: Limit = 20
    offset: Offset = 0


class Webhooks(msgspec.Struct, frozen=True):
    """Newest first."""

    webhooks: list[Webhook]
    total: int


@resource.post(
    "/webhooks/hyperswitch", auth=Auth.NONE, limited=False, errors=(InvalidArgument, Unauthenticated, PayloadTooLarge)
)
async def receive_webhook(ctx: Context) -> WebhookReceived:
    """Take a payment webhook in.

    Signed with a hex HMAC-SHA512 of the exact body, in `X-Hyperswitch-Signature` or `X-Webhook-Signature-512`. It is
    stored, once for its `event_id`, before it is answered, and worked off afterwards.
    """
    body = ctx.request.body
    if len(body) > MOST_BYTES:
        raise PayloadTooLarge(f"A webhook has at most {MOST_BYTES // 1024} KiB.")
    signature = next(filter(None, map(ctx.request.header, SIGNATURES)), None)
    if not payment_events.verify(body, signature, ctx.services.settings.hyperswitch_webhook_secret):
        raise Unauthenticated("The signature is missing, or not that of this body.")
    await webhooks.store(ctx.services.pool, body)
    return WebhookReceived(True)


@resource.get("/admin/webhooks", auth=Auth.ADMIN)
async def list_webhooks(ctx: Context, query: WebhookQuery) -> Webhooks:
    """List webhooks that were taken in."""
    return Webhooks(*await webhooks.page(ctx.services.pool, query.status, query.limit, query.offset))


@resource.post("/admin/webhooks/<webhook_id>/replay", auth=Auth.ADMIN, errors=(WebhookNotFound, Conflict))
async def replay_webhook(ctx: Context, webhook_id: UUID) -> Webhook:
    """Work a webhook off once more.

    What it did before it does not do again. 409 while it is still to be worked off.
    """
    by = ctx.audit("webhook.replay", webhook_id=str(webhook_id))
    return await webhooks.replay(ctx.services.pool, webhook_id, by)
