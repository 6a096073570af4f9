"""Double entry: each way in which money moves, as entries that sum to zero.

An amount above zero is a debit, below it a credit. So `provider` holds what lies at the payment provider, and
`seller_payable` and `platform_fee` are negative while we owe or have earned. `buyer_clearing` and `refunds` are passed
through: they return to zero when an order is paid and a refund is done.
"""

from collections.abc import Iterable
from enum import StrEnum
from uuid import UUID

import msgspec

from veza.realtime.money import Share


class Account(StrEnum):
    BUYER_CLEARING = "buyer_clearing"
    PLATFORM_FEE = "platform_fee"
    SELLER_PAYABLE = "seller_payable"
    PROVIDER = "provider"
    REFUNDS = "refunds"


class Kind(StrEnum):
    """Why money moved. A reference (a payment, an order, a refund …) has one movement of a kind at most."""

    PAYMENT = "payment"
    SALE = "sale"
    GIVE_BACK = "give_back"
    REFUND_OWED = "refund_owed"
    REFUND_PAID = "refund_paid"
    REFUND_FAILED = "refund_failed"
    TRANSFER = "transfer"
    REVERSAL = "reversal"
    DISPUTE = "dispute"
    DISPUTE_WON = "dispute_won"
    DISPUTE_MOVED = "dispute_moved"


class Entry(msgspec.Struct, frozen=True):
    """`amount_cents` on an account; `seller_id` names whose, for `seller_payable` alone."""

    account: Account
    amount_cents: int
    seller_id: UUID | None = None


class Movement(msgspec.Struct, frozen=True):
    """What happened at once. Raises ValueError unless its entries sum to zero and each names its owner."""

    kind: Kind
    reference: UUID
    currency: str
    entries: tuple[Entry, ...]

    def __post_init__(self) -> None:
        if sum(entry.amount_cents for entry in self.entries):
            raise ValueError(f"the entries of a {self.kind} do not sum to zero")
        if any((entry.account is Account.SELLER_PAYABLE) != (entry.seller_id is not None) for entry in self.entries):
            raise ValueError(f"a {self.kind} names a seller for what is owed to sellers, and for nothing else")


def payment(payment_id: UUID, currency: str, amount_cents: int) -> Movement:
    """The provider holds a buyer's money, which is nobody's yet."""
    return Movement(
        Kind.PAYMENT, payment_id, currency, _between(Account.PROVIDER, Account.BUYER_CLEARING, amount_cents)
    )


def sale(order_id: UUID, currency: str, shares: Iterable[Share]) -> Movement:
    """A paid order is split between its sellers and the platform."""
    return Movement(Kind.SALE, order_id, currency, _split(Account.BUYER_CLEARING, shares, 1))


def give_back(refund_id: UUID, currency: str, amount_cents: int) -> Movement:
    """A payment that can buy nothing any more goes back whole, without having been a sale."""
    return Movement(
        Kind.GIVE_BACK, refund_id, currency, _between(Account.BUYER_CLEARING, Account.PROVIDER, amount_cents)
    )


def refund_owed(refund_id: UUID, currency: str, shares: Iterable[Share]) -> Movement:
    """A refund is decided: sellers and platform give up their parts. `shares` hold what goes back."""
    return Movement(Kind.REFUND_OWED, refund_id, currency, _split(Account.REFUNDS, shares, -1))


def refund_paid(refund_id: UUID, currency: str, amount_cents: int) -> Movement:
    """The provider gave a refund to the buyer."""
    return Movement(Kind.REFUND_PAID, refund_id, currency, _between(Account.REFUNDS, Account.PROVIDER, amount_cents))


def refund_failed(refund_id: UUID, currency: str, shares: Iterable[Share]) -> Movement:
    """The provider refused a refund: sellers and platform have their parts again."""
    return Movement(Kind.REFUND_FAILED, refund_id, currency, _split(Account.REFUNDS, shares, 1))


def transfer(transfer_id: UUID, currency: str, seller_id: UUID, amount_cents: int) -> Movement:
    """A seller was paid."""
    return Movement(Kind.TRANSFER, transfer_id, currency, _paid(seller_id, amount_cents))


def reversal(reversal_id: UUID, currency: str, seller_id: UUID, amount_cents: int) -> Movement:
    """A seller's payment, or a part of it, was taken back."""
    return Movement(Kind.REVERSAL, reversal_id, currency, _paid(seller_id, -amount_cents))


def dispute(dispute_id: UUID, currency: str, shares: Iterable[Share]) -> Movement:
    """A buyer's bank took the money back; sellers and platform give up their parts."""
    return Movement(Kind.DISPUTE, dispute_id, currency, _split(Account.PROVIDER, shares, -1))


def dispute_won(dispute_id: UUID, currency: str, shares: Iterable[Share]) -> Movement:
    """The bank returned what it had taken."""
    return Movement(Kind.DISPUTE_WON, dispute_id, currency, _split(Account.PROVIDER, shares, 1))


def dispute_moved(reference: UUID, currency: str, shares: Iterable[Share]) -> Movement:
    """A loss that was the platform's is the sellers' after all. `shares` hold what each of them gives up for it."""
    return Movement(Kind.DISPUTE_MOVED, reference, currency, _split(Account.PLATFORM_FEE, shares, -1))


def _between(to: Account, of: Account, amount_cents: int) -> tuple[Entry, ...]:
    return (Entry(to, amount_cents), Entry(of, -amount_cents))


def _paid(seller_id: UUID, amount_cents: int) -> tuple[Entry, ...]:
    return (Entry(Account.SELLER_PAYABLE, amount_cents, seller_id), Entry(Account.PROVIDER, -amount_cents))


def _split(against: Account, shares: Iterable[Share], sign: int) -> tuple[Entry, ...]:
    """Debits `against` with the sum of the shares and credits their owners; with a sign of -1, the other way round."""
    shares = tuple(shares)
    entries = [Entry(against, sign * sum(share.amount_cents for share in shares))]
    entries += [Entry(Account.SELLER_PAYABLE, -sign * share.net_cents, share.seller_id) for share in shares]
    entries.append(Entry(Account.PLATFORM_FEE, -sign * sum(share.fee_cents for share in shares)))
    return tuple(entry for entry in entries if entry.amount_cents)
