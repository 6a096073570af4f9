"""The life of an order: `pending → paid → refunded | partially_refunded` and `pending → failed | expired`."""

from enum import StrEnum

EXPIRES_SECONDS = 30 * 60.0


class OrderStatus(StrEnum):
    PENDING = "pending"
    PAID = "paid"
    FAILED = "failed"
    EXPIRED = "expired"
    PARTIALLY_REFUNDED = "partially_refunded"
    REFUNDED = "refunded"


# Its payment succeeded, and stays so.
BOUGHT = frozenset({OrderStatus.PAID, OrderStatus.PARTIALLY_REFUNDED, OrderStatus.REFUNDED})


class Verdict(StrEnum):
    """What an event of a payment does: nothing, sell, give the money back, end the order, or call for a person."""

    IGNORE = "ignore"
    SELL = "sell"
    GIVE_BACK = "give_back"
    FAIL = "fail"
    ALERT = "alert"


def on_success(status: OrderStatus, *, received: bool, as_charged: bool, in_stock: bool) -> Verdict:
    """What a success of the order's payment does, however late, early or often it comes.

    `received` says that this payment was booked before. `as_charged` says that amount and currency are the order's.
    `in_stock` says that the pieces are there, or are kept for this order.
    """
    if received or status in BOUGHT:
        return Verdict.IGNORE
    if not as_charged:
        return Verdict.ALERT
    return Verdict.SELL if in_stock else Verdict.GIVE_BACK


def on_failure(status: OrderStatus) -> Verdict:
    """What a failure of the order's payment does. One that comes after a success is an old one."""
    return Verdict.FAIL if status is OrderStatus.PENDING else Verdict.IGNORE


def after_refunds(charged_cents: int, returned_cents: int) -> OrderStatus:
    """The status of a bought order of which `returned_cents` went back, refunded or lost in a dispute.

    Raises ValueError when more went back than was charged.
    """
    if not 0 <= returned_cents <= charged_cents:
        raise ValueError(f"{returned_cents} of {charged_cents} cents went back")
    if not returned_cents:
        return OrderStatus.PAID
    return OrderStatus.REFUNDED if returned_cents == charged_cents else OrderStatus.PARTIALLY_REFUNDED
