"""Amounts in whole cents: a sale is split between its sellers and the platform, and nothing is lost in rounding."""

from collections.abc import Iterable
from decimal import ROUND_HALF_UP, Decimal
from uuid import UUID

import msgspec

from veza.errors import InvalidArgument

# ISO 4217 without funds, metals and codes for tests: what somebody may have in their pocket.
CURRENCIES: frozenset[str] = frozenset(
    """
    AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BHD BIF BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF CLP CNY COP
    CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD HKD HNL HTG HUF IDR ILS INR
    IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD MAD MDL MGA MKD MMK MNT MOP MRU
    MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON RSD RUB RWF SAR SBD SCR SDG
    SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY TTD TWD TZS UAH UGX USD UYU UZS VED VES VND VUV
    WST XAF XCD XCG XOF XPF YER ZAR ZMW ZWG
    """.split()  # noqa: SIM905 - a table is read more easily
)


# What a balance without a word of its currency is in.
PLATFORM_CURRENCY = "EUR"


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


def currency(code: str) -> str:
    """The code of a currency as ISO 4217 writes it, whatever its case. Raises InvalidArgument for what is none."""
    found = code.upper()
    if found not in CURRENCIES:
        raise InvalidArgument("There is no such currency.", (("currency", "is no code of ISO 4217"),))
    return found
