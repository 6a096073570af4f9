"""What we ask of payment providers: one that takes money from buyers, and one that pays sellers.

Amounts are whole cents, currencies ISO 4217 in capitals. Every call has a time limit. What a call raises says what is
known of it: ProviderUnreachable and ProviderBusy, that nothing was done; OutcomeUnknown, that it may have been done;
ProviderRefused, that it was not done and never will be under this name.
"""

from collections.abc import AsyncIterator, Mapping
from enum import StrEnum
from typing import Protocol

import msgspec


class ProviderError(Exception):
    """A provider did not do what it was asked. `message` is for our logs and administrators."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class ProviderUnreachable(ProviderError):
    """The request was never sent: no connection."""


class ProviderBusy(ProviderError):
    """The provider turned the request away unread, as with 429, or while it works on one with the same key."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class OutcomeUnknown(ProviderError):
    """The request was sent and no answer that decides came back: a time-out, a broken connection, a 5xx.

    `answered`: the provider itself has ended the request with an error of its own, which it repeats for the same key.
    So nothing is under way any more, and asking again in the same words is in vain.
    """

    def __init__(self, message: str, *, answered: bool = False) -> None:
        super().__init__(message)
        self.answered = answered


class ProviderRefused(ProviderError):
    """The provider's last word on this request. `code` is the provider's own."""

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message)
        self.code = code


class PaymentStatus(StrEnum):
    """`processing` is all that may still become one of the others."""

    PROCESSING = "processing"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class Payment(msgspec.Struct, frozen=True):
    """A payment as the provider has it. `error` says why it failed, in words for the buyer."""

    payment_id: str
    status: PaymentStatus
    amount_cents: int
    currency: str
    client_secret: str | None = None
    redirect_url: str | None = None
    error: str | None = None


class Refund(msgspec.Struct, frozen=True):
    """A refund as the provider has it."""

    refund_id: str
    payment_id: str
    status: PaymentStatus
    amount_cents: int
    currency: str
    error: str | None = None


class PaymentProvider(Protocol):
    """Takes buyers' money. Payments and refunds have names that we choose, so asking twice does it once.

    All of it raises ProviderError of one of its four kinds.
    """

    name: str

    async def create(
        self, payment_id: str, *, amount_cents: int, currency: str, method: str, description: str, return_url: str
    ) -> Payment:
        """Ask for a payment; one of that name that is there already is answered as it stands."""
        ...

    async def find(self, payment_id: str) -> Payment | None:
        """A payment as it stands now; None when the provider does not know it."""
        ...

    async def refund(self, refund_id: str, *, payment_id: str, amount_cents: int, reason: str) -> Refund:
        """Ask for a refund; one of that name that is there already is answered as it stands."""
        ...

    async def find_refund(self, refund_id: str) -> Refund | None:
        """A refund as it stands now; None when the provider does not know it."""
        ...

    def payments(self) -> AsyncIterator[Payment]:
        """All that the provider has, in pages, for comparing its book with ours."""
        ...

    def refunds(self) -> AsyncIterator[Refund]:
        """All that the provider has, in pages."""
        ...

    async def close(self) -> None: ...


class Account(msgspec.Struct, frozen=True):
    """A seller's account at the provider. It can be paid once `payouts_enabled`."""

    account_id: str
    details_submitted: bool
    payouts_enabled: bool


class Sent(msgspec.Struct, frozen=True):
    """Money sent to a seller's account; `reversed_cents` of it came back. `group` is the transfer's own id."""

    provider_id: str
    account_id: str
    amount_cents: int
    currency: str
    group: str
    reversed_cents: int


class Reversed(msgspec.Struct, frozen=True):
    """Money that came back of what was sent; `metadata` is what we attached to it."""

    reversal_id: str
    amount_cents: int
    metadata: Mapping[str, str]


class PayoutProvider(Protocol):
    """Pays sellers. `key` is an idempotency key: the provider does once what it is asked under one, for a day.

    All of it raises ProviderError of one of its four kinds.
    """

    name: str

    async def create_account(self, key: str, *, seller_id: str, email: str) -> Account: ...

    async def onboarding_link(self, account_id: str, *, return_url: str, refresh_url: str) -> str:
        """Where the seller says who they are; good once and for minutes."""
        ...

    async def account(self, account_id: str) -> Account: ...

    async def send(
        self,
        key: str,
        *,
        account_id: str,
        amount_cents: int,
        currency: str,
        group: str,
        metadata: Mapping[str, str],
    ) -> Sent: ...

    async def find_sent(self, group: str) -> Sent | None:
        """What was sent under this group, None when nothing was."""
        ...

    async def reverse(
        self, key: str, provider_id: str, *, amount_cents: int, metadata: Mapping[str, str]
    ) -> Reversed: ...

    async def reversals(self, provider_id: str) -> list[Reversed]:
        """All that came back of one thing sent."""
        ...

    def all_sent(self) -> AsyncIterator[Sent]:
        """All that the provider has, in pages, for comparing its book with ours."""
        ...

    async def balance(self) -> dict[str, int]:
        """What lies at the provider, available and pending together, by currency, in cents."""
        ...

    async def close(self) -> None: ...
