"""Payment providers: one that takes money from buyers, and one that pays sellers."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec

from veza.config import Settings
from veza.storage.payments.connect import StripeConnect
from veza.storage.payments.hyperswitch import Hyperswitch
from veza.storage.payments.interface import (
    Account,
    OutcomeUnknown,
    Payment,
    PaymentProvider,
    PaymentStatus,
    PayoutProvider,
    ProviderBusy,
    ProviderError,
    ProviderRefused,
    ProviderUnreachable,
    Refund,
    Reversed,
    Sent,
)

__all__ = [
    "Account",
    "OutcomeUnknown",
    "Payment",
    "PaymentProvider",
    "PaymentStatus",
    "Payments",
    "PayoutProvider",
    "ProviderBusy",
    "ProviderError",
    "ProviderRefused",
    "ProviderUnreachable",
    "Refund",
    "Reversed",
    "Sent",
    "open_payments",
]


class Payments(msgspec.Struct, frozen=True):
    """Both providers."""

    buyers: PaymentProvider
    sellers: PayoutProvider


@asynccontextmanager
async def open_payments(settings: Settings) -> AsyncIterator[Payments]:
    """The providers that the settings name. They connect to nothing, and import nothing heavy, until they are used."""
    # Only our own sandbox takes a payment without card data.
    confirm = settings.origin("hyperswitch_base_url") == "embedded"
    buyers = Hyperswitch(settings.hyperswitch_base_url, settings.hyperswitch_api_key, confirm=confirm)
    sellers = StripeConnect(settings.stripe_secret_key, api_base=settings.stripe_api_base)
    try:
        yield Payments(buyers, sellers)
    finally:
        try:
            await buyers.close()
        finally:
            await sellers.close()
