"""Amounts in whole cents: a sale is split between its sellers and the platform, and nothing is lost in rounding."""

from collections.abc import Iterable
from decimal import ROUND_HALF_UP, Decimal
from uuid import UUID

import msgspec


class Line(msgspec.Struct, frozen=True):
    """Part of an order: `quantity` pieces of a product at `unit_cents` each."""

    item_id: UUID
    seller_id: UUID
    unit_cents: int
    quantity: int

    @property
    def amount_cents(self) -> int:
        return self.unit_cents * self.quantity


class Share(msgspec.Struct, frozen=True):
    """What an order brings one seller: `amount_cents` from the buyer, `fee_cents` of it for the platform."""

    seller_id: UUID
    amount_cents: int
    fee_cents: int

    @property
    def net_cents(self) -> int:
        return self.amount_cents - self.fee_cents


def fee_of(amount_cents: int, rate: Decimal) -> int:
    """The platform's fee on an amount, rounded half up to the cent. Raises ValueError outside 0–1 and below 0 cents."""
    if amount_cents < 0 or not 0 <= rate <= 1:
        raise ValueError(f"no fee of {rate} on {amount_cents} cents")
    return int((amount_cents * rate).to_integral_value(ROUND_HALF_UP))


def shares(lines: Iterable[Line], rate: Decimal) -> tuple[Share, ...]:
    """One share a seller, in the order in which they first appear. The fee is taken of a seller's sum, not by line."""
    sums: dict[UUID, int] = {}
    for line in lines:
        sums[line.seller_id] = sums.get(line.seller_id, 0) + line.amount_cents
    return tuple(Share(seller, amount, fee_of(amount, rate)) for seller, amount in sums.items())


def fee_back(share: Share, before_cents: int, amount_cents: int) -> int:
    """The part of a share's fee that goes back when `amount_cents` follow the `before_cents` already given back.

    However a share is cut into refunds, their fees sum to what one refund of it all would have given back. Raises
    ValueError when more would go back than came in.
    """
    after = before_cents + amount_cents
    if before_cents < 0 or amount_cents < 0 or after > share.amount_cents:
        raise ValueError(f"{before_cents} + {amount_cents} of {share.amount_cents} cents cannot go back")
    return _part(share, after) - _part(share, before_cents)


def _part(share: Share, returned_cents: int) -> int:
    if not share.amount_cents:
        return 0
    # Half up, in integers.
    return (2 * share.fee_cents * returned_cents + share.amount_cents) // (2 * share.amount_cents)
