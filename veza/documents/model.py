"""What an invoice says, with nothing of how it looks."""

from datetime import UTC, datetime
from typing import Literal
from uuid import UUID

import msgspec

# ISO 4217: a currency that is not here has two.
_DECIMALS = {
    code: decimals
    for decimals, codes in {
        0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
        3: "BHD IQD JOD KWD LYD OMR TND",
        4: "CLF UYW",
    }.items()
    for code in codes.split()
}


def format_amount(cents: int, currency: str) -> str:
    """An amount in the currency's smallest unit as people write it: `1,234.56 EUR`, `1,235 JPY`, `−0.50 EUR`."""
    code = currency.upper()
    decimals = _DECIMALS.get(code, 2)
    whole, part = divmod(abs(cents), 10**decimals)
    fraction = f".{part:0{decimals}d}" if decimals else ""
    return f"{'−' if cents < 0 else ''}{whole:,}{fraction} {code}"


class Party(msgspec.Struct, frozen=True):
    """Somebody an invoice names: `lines` are the address, and the tax number if there is one."""

    name: str
    email: str | None = None
    lines: tuple[str, ...] = ()


class Line(msgspec.Struct, frozen=True):
    """`quantity` pieces of a title at `unit_cents` each. Neither is below 0: ValueError."""

    title: str
    seller: str
    quantity: int
    unit_cents: int

    def __post_init__(self) -> None:
        if self.quantity < 0 or self.unit_cents < 0:
            raise ValueError(f"no line of {self.quantity} at {self.unit_cents} cents")

    @property
    def amount_cents(self) -> int:
        return self.unit_cents * self.quantity


class Invoice(msgspec.Struct, frozen=True, kw_only=True):
    """What was sold, or with a credit note given back, at a moment with a time zone.

    Amounts are never below 0, for both kinds: the credit note shows them with a minus. `fee_cents` is the part of
    the lines that the platform keeps, `tax_cents` comes on top of them, and `refers_to` is the number of the invoice
    that a credit note corrects. Raises ValueError for what cannot be.
    """

    number: str
    kind: Literal["invoice", "credit_note"]
    issued_at: datetime
    order_id: UUID
    currency: str
    buyer: Party
    sellers: tuple[Party, ...]
    lines: tuple[Line, ...]
    fee_cents: int
    platform: Party
    tax_cents: int = 0
    tax_note: str = ""
    refers_to: str | None = None
    paid_by: str | None = None

    def __post_init__(self) -> None:
        if self.fee_cents < 0 or self.tax_cents < 0:
            raise ValueError(f"no fee of {self.fee_cents} and tax of {self.tax_cents} cents")
        if self.issued_at.utcoffset() is None:
            raise ValueError(f"{self.issued_at} has no time zone")

    @property
    def subtotal_cents(self) -> int:
        return sum(line.amount_cents for line in self.lines)

    @property
    def total_cents(self) -> int:
        return self.subtotal_cents + self.tax_cents

    @property
    def issued_utc(self) -> datetime:
        return self.issued_at.astimezone(UTC)
