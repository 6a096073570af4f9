"""What an event of a payment provider does here. Twice, late or out of order, it does what it would have done."""

from typing import Any

from veza.realtime.order import Verdict
from veza.realtime.payment_events import PaymentEvent
from veza.storage import disputes, refund_results, sales
from veza.storage.disputes import NotAsCharged, PaymentNotBooked
from veza.storage.sales import PaymentUnknown


class NotYet(Exception):
    """What the event is about is not known here yet: it waits."""


async def apply(pool: Any, event: PaymentEvent) -> str:
    """Do what an event says; returns what that was, in a word, `ignore` for nothing. Raises NotYet."""
    try:
        match event.name:
            case "payment.succeeded":
                return await sales.succeeded(pool, event.payment_id, event.amount_cents, event.currency)
            case "payment.failed" | "payment.cancelled" | "payment.expired":
                return await sales.failed(pool, event.payment_id, None)
            case "refund.succeeded" | "refund.failed":
                return await _refund(pool, event)
            case (
                "dispute.opened"
                | "dispute.won"
                | "dispute.lost"
                | "dispute.accepted"
                | "dispute.expired"
                | "dispute.cancelled"
            ):
                return await _dispute(pool, event)
    except (PaymentUnknown, PaymentNotBooked) as error:
        raise NotYet(type(error).__name__) from error
    return Verdict.IGNORE


async def _dispute(pool: Any, event: PaymentEvent) -> str:
    reference = event.dispute_id or f"of {event.payment_id}"
    if event.name == "dispute.opened":
        try:
            new = await disputes.opened(pool, event.payment_id, reference, event.amount_cents, event.currency)
        except NotAsCharged:
            return Verdict.ALERT
        return "disputed" if new else Verdict.IGNORE
    won = event.name in {"dispute.won", "dispute.cancelled"}
    if not await disputes.closed(pool, event.payment_id, reference, won=won):
        return Verdict.IGNORE
    return "dispute won" if won else "dispute lost"


async def _refund(pool: Any, event: PaymentEvent) -> str:
    if event.refund_id is None:
        # Which of several it is of nobody can say: the provider is asked for each that is pending.
        if not await refund_results.hurry(pool, event.payment_id):
            raise NotYet("RefundUnknown")
        return "asked"
    refund_id = await refund_results.find(pool, event.payment_id, event.refund_id)
    if refund_id is None:
        raise NotYet("RefundUnknown")
    if event.name == "refund.succeeded":
        if await refund_results.succeeded(pool, refund_id):
            return "refunded"
        # The money went back twice over: to the buyer, and to the sellers when we took it for refused.
        return Verdict.ALERT if await refund_results.has_failed(pool, refund_id) else Verdict.IGNORE
    failed = await refund_results.failed(pool, refund_id, "The provider could not give the money back.")
    return "refund failed" if failed else Verdict.IGNORE
