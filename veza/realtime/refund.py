"""Which items of an order go back, and whose money that is. Decided under the order's row lock."""

from collections.abc import Collection, Iterable, Mapping
from uuid import UUID

import msgspec

from veza.errors import Conflict, InvalidArgument
from veza.realtime.money import Line, Share, fee_back


class Before(msgspec.Struct, frozen=True):
    """What was returned before: `items` are refunded or about to be.

    `cents` is how much of each seller's share that took, and what is disputed of it.
    """

    items: frozenset[UUID] = frozenset()
    cents: Mapping[UUID, int] = {}


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
    when they, or all of them, went back before or are disputed.
    """
    reach = [line for line in lines if seller_id in {None, line.seller_id}]
    if wanted is None:
        chosen = [line for line in reach if line.item_id not in before.items]
    else:
        chosen = [line for line in reach if line.item_id in wanted]
        if not chosen or len(chosen) < len(set(wanted)):
            raise InvalidArgument("A refund names items of this order.", (("items", "items of this order"),))
    if not chosen or any(line.item_id in before.items for line in chosen):
        raise Conflict("This was refunded before, or is about to be.")
    return Plan(tuple(chosen), tuple(_given_up(chosen, shares, before)))


def _given_up(chosen: Collection[Line], shares: Iterable[Share], before: Before) -> Iterable[Share]:
    for share in shares:
        amount_cents = sum(line.amount_cents for line in chosen if line.seller_id == share.seller_id)
        if not amount_cents:
            continue
        earlier_cents = before.cents.get(share.seller_id, 0)
        if earlier_cents + amount_cents > share.amount_cents:
            raise Conflict("A dispute holds a part of what was paid; less than that can be refunded.")
        yield Share(share.seller_id, amount_cents, fee_back(share, earlier_cents, amount_cents))
