"""A buyer's bank takes money back, without asking: whose it is."""

from collections.abc import Iterable, Mapping
from uuid import UUID

from veza.realtime.money import Share, fee_back


def given_up(shares: Iterable[Share], before: Mapping[UUID, int], amount_cents: int) -> tuple[Share, ...]:
    """What each seller and the platform lose when a bank takes `amount_cents` of an order.

    `before` is how much of each seller's share is gone already. The loss is spread in proportion to what is left of
    the shares, to the cent. What goes beyond the whole order, as when it was refunded before, is the platform's loss:
    a share whose fee is all of it.
    """
    shares = tuple(shares)
    left = {share.seller_id: max(0, share.amount_cents - before.get(share.seller_id, 0)) for share in shares}
    whole = sum(left.values())
    taken = min(amount_cents, whole)
    lost: dict[UUID, int] = {}
    passed = spread = 0
    for share in shares:
        # Cumulative, so that the parts sum to the whole however they are rounded.
        passed += left[share.seller_id]
        until = taken * passed // whole if whole else 0
        lost[share.seller_id], spread = until - spread, until
    found = {
        share.seller_id: Share(
            share.seller_id,
            lost[share.seller_id],
            fee_back(share, before.get(share.seller_id, 0), lost[share.seller_id]),
        )
        for share in shares
        if lost[share.seller_id]
    }
    beyond = amount_cents - taken
    if beyond:
        first = found.get(shares[0].seller_id, Share(shares[0].seller_id, 0, 0))
        found[first.seller_id] = Share(first.seller_id, first.amount_cents + beyond, first.fee_cents + beyond)
    return tuple(found.values())
