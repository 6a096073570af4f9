"""Orders: what somebody buys, what came of it, and what goes back."""

import asyncio
import logging
from collections import Counter
from datetime import timedelta
from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import Meta
from sanic.response import HTTPResponse, raw

from veza.documents.invoice import Invoice, render
from veza.errors import Conflict, InvalidArgument, OrderNotFound, PermissionDenied, ProductNotFound, Unavailable
from veza.http.context import Context
from veza.http.downloads import disposition
from veza.http.params import Limit, Offset
from veza.http.routing import Resource
from veza.realtime.order import OrderStatus
from veza.storage import checkout, invoices, orders, refunds, sales
from veza.storage.orders import Order
from veza.storage.payments import OutcomeUnknown, ProviderError, ProviderRefused
from veza.storage.refunds import Refund

log = logging.getLogger(__name__)

resource = Resource("orders", "What people buy: orders, their payment, invoices, refunds.")


class CartItem(msgspec.Struct, frozen=True):
    """So many pieces of a product."""

    product_id: UUID
    quantity: Annotated[int, Meta(ge=1, le=checkout.MOST_PIECES)] = 1


class NewOrder(msgspec.Struct, frozen=True):
    """What to buy, in one currency, and how it will be paid."""

    items: Annotated[list[CartItem], Meta(min_length=1, max_length=checkout.MOST_ITEMS)]
    payment_method: Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]{0,49}(?!\n)$", examples=["card"])]


class OrderQuery(msgspec.Struct, frozen=True):
    """Which orders."""

    status: Annotated[OrderStatus, Meta(description="Only those in this state.")] | None = None
    limit: Limit = 20
    offset: Offset = 0


class Orders(msgspec.Struct, frozen=True):
    """Newest first."""

    orders: list[Order]
    total: int


class NewRefund(msgspec.Struct, frozen=True):
    """Why, and which items, by their ids in the order or their products'; without, all that is left."""

    reason: Annotated[str, Meta(min_length=1, max_length=500)]
    details: Annotated[str, Meta(max_length=2000)] | None = None
    items: Annotated[list[UUID], Meta(min_length=1, max_length=checkout.MOST_ITEMS)] | None = None


class RefundInitiated(msgspec.Struct, frozen=True):
    """`refund_id` is found again among the order's refunds."""

    message: str
    refund_id: UUID


class Refunds(msgspec.Struct, frozen=True):
    """Oldest first."""

    refunds: list[Refund]


@resource.post(
    "/marketplace/orders",
    status=201,
    errors=(InvalidArgument, ProductNotFound, PermissionDenied, Conflict, Unavailable),
    idempotent=True,
)
async def create_order(ctx: Context, body: NewOrder) -> Order:
    """Create an order (checkout).

    Prices are those of this moment, and pieces of a limited stock are kept for half an hour. The payment is asked of
    the provider, which says later what became of it: the order is pending until then. 409 when it is sold out, or
    when too many orders wait for their payment; 503 when the provider cannot be reached, and nothing was charged.
    """
    settings, pool = ctx.services.settings, ctx.services.pool
    buyers = ctx.services.paying.buyers
    wanted: Counter[UUID] = Counter()
    for item in body.items:
        wanted[item.product_id] += item.quantity
    if any(pieces > checkout.MOST_PIECES for pieces in wanted.values()):
        sentence = f"at most {checkout.MOST_PIECES} of each"
        raise InvalidArgument("An order has so many pieces of a product at most.", (("items", sentence),))
    order = await checkout.create(
        pool,
        ctx.principal.user_id,
        wanted,
        method=body.payment_method,
        fee_rate=settings.platform_fee_rate,
        provider=buyers.name,
    )
    return await _charge(ctx, order)


async def _charge(ctx: Context, order: Order) -> Order:
    """Ask the provider for an order's payment. Only what it says of itself later, signed, is believed to be paid."""
    pool, name = ctx.services.pool, order.payment.payment_id
    try:
        payment = await ctx.services.paying.buyers.create(
            name,
            amount_cents=order.total_cents,
            currency=order.currency,
            method=order.payment_method,
            description=f"Order {order.id}",
            return_url=f"https://{ctx.services.settings.app_domain}/orders/{order.id}",
        )
    except OutcomeUnknown:
        return order  # it stays pending, and is asked for by and by
    except ProviderRefused as error:
        log.warning("payment refused", extra={"payment": name, "reason": error.message})
        await sales.failed(pool, name, "The payment provider does not take this payment.")
        return await orders.get(pool, order.id)
    except ProviderError as error:
        await sales.failed(pool, name, "The payment provider could not be reached.")
        raise Unavailable("The payment provider cannot be reached; nothing was charged.") from error
    await sales.answered(pool, name, client_secret=payment.client_secret, redirect_url=payment.redirect_url)
    asked = msgspec.structs.replace(
        order.payment,
        status="processing",
        client_secret=payment.client_secret,
        redirect_url=payment.redirect_url,
    )
    return msgspec.structs.replace(order, payment=asked)


@resource.get("/marketplace/orders")
async def list_orders(ctx: Context, query: OrderQuery) -> Orders:
    """List what the caller ordered."""
    found, total = await orders.page(ctx.services.pool, ctx.principal.user_id, query.status, query.limit, query.offset)
    return Orders(found, total)


@resource.get("/marketplace/orders/<order_id>", errors=(OrderNotFound,))
async def get_order(ctx: Context, order_id: UUID) -> Order:
    """Get an order of the caller's."""
    return await orders.get(ctx.services.pool, order_id, ctx.principal.user_id)


@resource.post(
    "/marketplace/orders/<order_id>/refund", errors=(OrderNotFound, Conflict, InvalidArgument), idempotent=True
)
async def refund_order(ctx: Context, order_id: UUID, body: NewRefund) -> RefundInitiated:
    """Refund an order, or items of it.

    The buyer may do so within the platform's window (14 days), a seller at any time with what they sold. 409 when
    nothing was paid, when it was refunded before or is about to be, and when the window is over.
    """
    reason = body.reason.strip()
    if not reason:
        raise InvalidArgument("A refund needs a reason.", (("reason", "is empty"),))
    refund_id = await refunds.request(
        ctx.services.pool,
        order_id,
        ctx.principal.user_id,
        reason=reason,
        details=body.details,
        items=body.items,
        window=timedelta(days=ctx.services.settings.refund_window_days),
        by=ctx.audit("order.refund", order_id=str(order_id)),
    )
    return RefundInitiated("Refund initiated", refund_id)


@resource.get("/marketplace/orders/<order_id>/refunds", errors=(OrderNotFound,))
async def list_refunds(ctx: Context, order_id: UUID) -> Refunds:
    """List the refunds of an order: for its buyer all, for a seller those of their items."""
    return Refunds(await refunds.page(ctx.services.pool, order_id, ctx.principal.user_id))


@resource.get("/marketplace/orders/<order_id>/invoice", errors=(OrderNotFound,), produces="application/pdf")
async def invoice(ctx: Context, order_id: UUID) -> HTTPResponse:
    """Download the invoice of a paid order as PDF, for its buyer."""
    return await _pdf(await invoices.of_order(ctx.services.pool, order_id, ctx.principal.user_id))


@resource.get(
    "/marketplace/orders/<order_id>/refunds/<refund_id>/credit-note",
    errors=(OrderNotFound,),
    produces="application/pdf",
)
async def credit_note(ctx: Context, order_id: UUID, refund_id: UUID) -> HTTPResponse:
    """Download the credit note of a refund as PDF, for the buyer."""
    return await _pdf(await invoices.of_refund(ctx.services.pool, order_id, refund_id, ctx.principal.user_id))


async def _pdf(document: Invoice) -> HTTPResponse:
    content = await asyncio.to_thread(render, document)
    name = f"{document.kind.replace('_', '-')}-{document.number}.pdf"
    headers = {"Content-Disposition": disposition(name), "Cache-Control": "private, no-cache"}
    return raw(content, content_type="application/pdf", headers=headers)
