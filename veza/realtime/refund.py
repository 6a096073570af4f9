"""Which items of an order go back, and whose money that is. Decided under the order's row lock."""

from collections.abc import Collection, Iterable, Mapping
from uuid import UUID

import msgspec

from veza.errors import Conflict, InvalidArgument
from veza.realtime.money import Line, Share, fee_back


class Before(msgspec.Struct, frozen=True):
    """What was returned before: `items` refunded or about to be, and the cents of each seller's share that went back.

    `held_cents` is the sum of all refunds done and pending and of what is disputed.
    """

    items: frozenset[UUID] = frozenset()
    cents: Mapping[UUID, int] = {}
    held_cents: int = 0


class Plan(msgspec.Struct, frozen=True):
    """A refund to be made: its items, and what each seller and the platform give up for it."""

    items: tuple[Line, ...]
    shares: tuple[Share, ...]

    @property
    def amount_cents(self) -> int:
        return sum(share.amount_cents for share in self.shares)


def plan(
    lines: Collection[Line],
    shares: Iterable[Share],
    before: Before,
    wanted: Collection[UUID] | None,
    seller_id: UUID | None = None,
) -> Plan:
    """The refund of the items `wanted`, or of all that is left; for a seller, of their own items only.

    `lines` and `shares` are the whole order's. Raises InvalidArgument for items that are not in reach, and Conflict
    when they, or all of them, went back before.
    """
    reach = [line for line in lines if seller_id in {None, line.seller_id}]
    chosen = [line for line in reach if _wants(wanted, line)]
    if wanted is not None and (not wanted or len(chosen) < len(set(wanted))):
        raise InvalidArgument("A refund names items of this order.", (("items", "items of this order"),))
    if wanted is None:
        chosen = [line for line in chosen if line.item_id not in before.items]
    if not chosen or any(line.item_id in before.items for line in chosen):
        raise Conflict("This was refunded before, or is about to be.")
    amount_cents = sum(line.amount_cents for line in chosen)
    if before.held_cents + amount_cents > sum(line.amount_cents for line in lines):
        raise Conflict("A dispute holds a part of what was paid; less than that can be refunded.")
    return Plan(tuple(chosen), tuple(_given_up(chosen, shares, before)))


def _wants(wanted: Collection[UUID] | None, line: Line) -> bool:
    return wanted is None or line.item_id in wanted


def _given_up(chosen: Collection[Line], shares: Iterable[Share], before: Before) -> Iterable[Share]:
    for share in shares:
        amount_cents = sum(line.amount_cents for line in chosen if line.seller_id == share.seller_id)
        if amount_cents:
            earlier_cents = before.cents.get(share.seller_id, 0)
            yield Share(share.seller_id, amount_cents, fee_back(share, earlier_cents, amount_cents))
