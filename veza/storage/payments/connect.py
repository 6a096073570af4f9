"""Sellers' money: Stripe Connect, spoken to through Stripe's own library."""

import asyncio
import importlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from veza.storage.payments.calls import KeyRefused, Limits, check_key, persistently, retry_after, without
from veza.storage.payments.interface import (
    Account,
    OutcomeUnknown,
    PayoutProvider,
    ProviderBusy,
    ProviderError,
    ProviderRefused,
    Reversed,
    Sent,
)

if TYPE_CHECKING:
    import stripe
    from stripe._v1_services import V1Services

    from veza.storage.payments.stripe_client import WireClient

T = TypeVar("T")

# The most that Stripe's lists allow.
PAGE = 100


class _Account(msgspec.Struct):
    id: str
    details_submitted: bool = False
    payouts_enabled: bool = False

    def ours(self) -> Account:
        return Account(self.id, self.details_submitted, self.payouts_enabled)


class _Link(msgspec.Struct):
    url: str


class _Transfer(msgspec.Struct):
    id: str
    amount: int
    currency: str
    destination: str | None = None
    transfer_group: str | None = None
    amount_reversed: int = 0

    def ours(self) -> Sent:
        return Sent(
            self.id,
            self.destination or "",
            self.amount,
            self.currency.upper(),
            self.transfer_group or "",
            self.amount_reversed,
        )


class _Reversal(msgspec.Struct):
    id: str
    amount: int
    metadata: dict[str, str] | None = None

    def ours(self) -> Reversed:
        return Reversed(self.id, self.amount, self.metadata or {})


class _Transfers(msgspec.Struct):
    data: list[_Transfer]
    has_more: bool


class _Reversals(msgspec.Struct):
    data: list[_Reversal]
    has_more: bool


class _Funds(msgspec.Struct):
    amount: int
    currency: str


class _Balance(msgspec.Struct):
    available: list[_Funds]
    pending: list[_Funds]


class StripeConnect(PayoutProvider):
    """One platform account. Connects to nothing until it is used; use it from one event loop."""

    name = "stripe"

    def __init__(self, secret_key: str, *, api_base: str = "", limits: Limits | None = None) -> None:
        self._secret_key = secret_key
        self._api_base = api_base.rstrip("/")
        self._limits = limits or Limits()
        self._client: stripe.StripeClient | None = None
        self._http: WireClient | None = None
        self._opening = asyncio.Lock()

    async def create_account(self, key: str, *, seller_id: str, email: str) -> Account:
        made = await self._call(
            _Account,
            lambda api: api.accounts.create_async(
                {
                    "type": "express",
                    "email": email,
                    "capabilities": {"transfers": {"requested": True}},
                    "metadata": {"seller_id": seller_id},
                },
                {"idempotency_key": key},
            ),
        )
        return made.ours()

    async def onboarding_link(self, account_id: str, *, return_url: str, refresh_url: str) -> str:
        link = await self._call(
            _Link,
            lambda api: api.account_links.create_async(
                {
                    "account": account_id,
                    "type": "account_onboarding",
                    "return_url": return_url,
                    "refresh_url": refresh_url,
                }
            ),
        )
        return link.url

    async def account(self, account_id: str) -> Account:
        found = await self._call(_Account, lambda api: api.accounts.retrieve_async(account_id), reads=True)
        return found.ours()

    async def send(
        self,
        key: str,
        *,
        account_id: str,
        amount_cents: int,
        currency: str,
        group: str,
        metadata: Mapping[str, str],
    ) -> Sent:
        sent = await self._call(
            _Transfer,
            lambda api: api.transfers.create_async(
                {
                    "amount": amount_cents,
                    "currency": currency.lower(),
                    "destination": account_id,
                    "transfer_group": group,
                    "metadata": dict(metadata),
                },
                {"idempotency_key": key},
            ),
        )
        return sent.ours()

    async def find_sent(self, group: str) -> Sent | None:
        found = await self._call(
            _Transfers, lambda api: api.transfers.list_async({"transfer_group": group, "limit": 1}), reads=True
        )
        return found.data[0].ours() if found.data else None

    async def reverse(self, key: str, provider_id: str, *, amount_cents: int, metadata: Mapping[str, str]) -> Reversed:
        back = await self._call(
            _Reversal,
            lambda api: api.transfers.reversals.create_async(
                provider_id, {"amount": amount_cents, "metadata": dict(metadata)}, {"idempotency_key": key}
            ),
        )
        return back.ours()

    async def reversals(self, provider_id: str) -> list[Reversed]:
        found: list[Reversed] = []
        after: str | None = None
        while True:
            page = await self._reversals_page(provider_id, after)
            found += [reversal.ours() for reversal in page.data]
            if (after := _next(page, after)) is None:
                return found

    async def all_sent(self) -> AsyncIterator[Sent]:
        after: str | None = None
        while True:
            page = await self._transfers_page(after)
            for transfer in page.data:
                yield transfer.ours()
            if (after := _next(page, after)) is None:
                return

    async def balance(self) -> dict[str, int]:
        found = await self._call(_Balance, lambda api: api.balance.retrieve_async(), reads=True)
        sums: dict[str, int] = {}
        for funds in (*found.available, *found.pending):
            currency = funds.currency.upper()
            sums[currency] = sums.get(currency, 0) + funds.amount
        return sums

    async def close(self) -> None:
        async with self._opening:
            http, self._http, self._client = self._http, None, None
        if http is not None:
            await http.close_async()

    async def _transfers_page(self, after: str | None) -> _Transfers:
        return await self._call(
            _Transfers,
            lambda api: api.transfers.list_async(
                {"limit": PAGE} if after is None else {"limit": PAGE, "starting_after": after}
            ),
            reads=True,
        )

    async def _reversals_page(self, provider_id: str, after: str | None) -> _Reversals:
        return await self._call(
            _Reversals,
            lambda api: api.transfers.reversals.list_async(
                provider_id, {"limit": PAGE} if after is None else {"limit": PAGE, "starting_after": after}
            ),
            reads=True,
        )

    async def _call(
        self, answer: type[T], ask: "Callable[[V1Services], Awaitable[stripe.StripeObject]]", *, reads: bool = False
    ) -> T:
        check_key("STRIPE_SECRET_KEY", self._secret_key)
        client = await self._opened()
        return await persistently(lambda: self._exchange(client, answer, ask), self._limits, reads=reads)

    async def _exchange(
        self,
        client: "stripe.StripeClient",
        answer: type[T],
        ask: "Callable[[V1Services], Awaitable[stripe.StripeObject]]",
    ) -> T:
        """One request, one answer. Raises ProviderError.

        The answer is decoded anew from what came: the library takes whatever JSON there is for the object it expects.
        """
        library: Any = importlib.import_module("stripe")
        try:
            response = (await ask(client.v1)).last_response
        except ProviderError:
            # Of our own client.
            raise
        except library.StripeError as error:
            # Not its cause: Stripe's message may repeat our key.
            raise self._meaning(library, error) from None
        except Exception as error:
            # What the library stumbles over is the answer, so the request went out.
            raise OutcomeUnknown(f"Stripe answered with something else: {type(error).__name__}.") from error
        try:
            return msgspec.json.decode(response.body if response else "", type=answer)
        except (msgspec.MsgspecError, UnicodeError) as error:
            raise OutcomeUnknown("Stripe answered with something else.") from error

    def _meaning(self, library: Any, error: "stripe.StripeError") -> ProviderError:
        """https://docs.stripe.com/error-low-level; that a key was used with other parameters means that it was used."""
        code = without(self._secret_key, _code(error))
        said = f"Stripe answered {error.http_status}, {type(error).__name__} {code}"
        if isinstance(error, library.RateLimitError) or error.http_status == 409:
            return ProviderBusy(f"{said}.", retry_after((error.headers or {}).get("retry-after")))
        if isinstance(error, (library.AuthenticationError, library.PermissionError)):
            return KeyRefused(f"{said}: it does not take STRIPE_SECRET_KEY for this.")
        if isinstance(error, (library.InvalidRequestError, library.CardError)):
            return ProviderRefused(without(self._secret_key, f"{said}: {error.user_message}"), code)
        # A 502 or 504 is of something in between, while Stripe may still be at work.
        ended = error.http_status == 500 or isinstance(error, library.IdempotencyError)
        return OutcomeUnknown(f"{said}.", answered=ended and bool(error.json_body))

    async def _opened(self) -> "stripe.StripeClient":
        async with self._opening:
            if self._client is not None:
                return self._client
            client, self._http = await asyncio.to_thread(self._make_client)
            self._client = client
            return client

    def _make_client(self) -> "tuple[stripe.StripeClient, WireClient]":
        module: Any = importlib.import_module("veza.storage.payments.stripe_client")
        made: tuple[stripe.StripeClient, WireClient] = module.make_client(
            self._secret_key, self._api_base, self._limits
        )
        return made


def _code(error: "stripe.StripeError") -> str:
    """Stripe's code for an error; the library leaves it out of some of its classes."""
    try:
        return msgspec.json.decode(error.http_body or "", type=_Failure).error.code or ""
    except (msgspec.MsgspecError, UnicodeError):
        return ""


class _Error(msgspec.Struct):
    code: str | None = None


class _Failure(msgspec.Struct):
    error: _Error


def _next(page: _Transfers | _Reversals, after: str | None) -> str | None:
    """Where the next page begins, None after the last one."""
    if not page.has_more:
        return None
    last = page.data[-1].id if page.data else after
    if last == after:
        raise OutcomeUnknown("Stripe's list repeats itself.")
    return last
