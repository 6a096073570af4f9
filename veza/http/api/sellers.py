"""Sellers: what they sold, what is theirs, and the account it is paid to."""

import asyncio
import hashlib
from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import Meta

from veza.errors import OrderNotFound, Unavailable
from veza.http.context import Context
from veza.http.params import Limit, Offset, Paging
from veza.http.routing import Resource
from veza.realtime.money import PLATFORM_CURRENCY
from veza.realtime.transfer import TransferStatus
from veza.storage import accounts, orders, sellers, transfers
from veza.storage.orders import Sale
from veza.storage.payments import PayoutProvider, ProviderBusy, ProviderError
from veza.storage.sellers import Balance
from veza.storage.transfers import Transfer

resource = Resource("sellers", "Selling: sales, balance, transfers, and the account that money goes to.")


BUSY_TRIES = 10
BUSY_S = 0.2


class SellerBalance(msgspec.Struct, frozen=True):
    """`available` was transferred, less what was taken back; `pending` is owed and not yet transferred: in cents of
    the platform's currency, and in `balances` of each.
    """

    connected: bool
    available: int
    pending: int
    currency: str
    balances: list[Balance]


class TransferQuery(msgspec.Struct, frozen=True):
    """Which transfers."""

    status: Annotated[TransferStatus, Meta(description="Only those in this state.")] | None = None
    limit: Limit = 20
    offset: Offset = 0


class Transfers(msgspec.Struct, frozen=True):
    """Newest first."""

    transfers: list[Transfer]
    total: int


class Sales(msgspec.Struct, frozen=True):
    """Newest first."""

    sales: list[Sale]
    total: int


class Onboarding(msgspec.Struct, frozen=True):
    """Where a seller says who they are; good once, and for minutes."""

    onboarding_url: str


class ConnectStatus(msgspec.Struct, frozen=True):
    """`connected`: money can be sent to the seller. `details_submitted`: they said who they are."""

    connected: bool
    account_id: str | None
    details_submitted: bool
    payouts_enabled: bool


@resource.get("/sell/balance")
async def balance(ctx: Context) -> SellerBalance:
    """Get what is the caller's from sales."""
    pool, me = ctx.services.pool, ctx.principal.user_id
    account = await sellers.account(pool, me)
    found = await sellers.balances(pool, me)
    own = next((each for each in found if each.currency == PLATFORM_CURRENCY), Balance(PLATFORM_CURRENCY, 0, 0))
    connected = account is not None and account.payouts_enabled
    return SellerBalance(connected, own.available, own.pending, own.currency, found)


@resource.get("/sell/transfers")
async def list_transfers(ctx: Context, query: TransferQuery) -> Transfers:
    """List transfers to the caller."""
    wanted = transfers.Filter(status=query.status, seller_id=ctx.principal.user_id)
    found, total = await transfers.page(ctx.services.pool, wanted, query.limit, query.offset)
    # Why a provider refuses is for administrators.
    return Transfers([msgspec.structs.replace(each, error=None) for each in found], total)


@resource.get("/sell/sales")
async def list_sales(ctx: Context, query: Paging) -> Sales:
    """List what the caller sold."""
    return Sales(*await orders.sales(ctx.services.pool, ctx.principal.user_id, query.limit, query.offset))


@resource.get("/sell/sales/<order_id>", errors=(OrderNotFound,))
async def get_sale(ctx: Context, order_id: UUID) -> Sale:
    """Get what an order brought the caller."""
    return await orders.sale(ctx.services.pool, ctx.principal.user_id, order_id)


@resource.post("/sell/connect/onboard", errors=(Unavailable,))
async def onboard(ctx: Context) -> Onboarding:
    """Get a link to the payment provider, where the caller says who they are and where money goes."""
    site = f"https://{ctx.services.settings.app_domain}/sell"
    provider = ctx.services.paying.sellers
    try:
        account_id = await _account(ctx, provider)
        url = await provider.onboarding_link(account_id, return_url=site, refresh_url=f"{site}?again=1")
    except ProviderError as error:
        raise Unavailable("The payment provider cannot be reached.") from error
    await sellers.sent_to_provider(ctx.services.pool, ctx.principal.user_id)
    return Onboarding(url)


async def _account(ctx: Context, provider: PayoutProvider) -> str:
    """The caller's account at the provider, made when there is none. Raises ProviderError."""
    pool, me = ctx.services.pool, ctx.principal.user_id
    for _ in range(BUSY_TRIES):
        account = await sellers.account(pool, me)
        if account is not None:
            return account.account_id
        person = await accounts.find(pool, me)
        try:
            # Its key makes it one account, however often and from wherever it is asked for at once.
            made = await provider.create_account(_account_key(me, person.email), seller_id=str(me), email=person.email)
        except ProviderBusy:
            # Another request of the same person is at it.
            await asyncio.sleep(BUSY_S)
            continue
        return await sellers.add_account(pool, me, made.account_id)
    raise Unavailable("The payment provider is busy with this account.")


def _account_key(seller_id: UUID, email: str) -> str:
    """The provider refuses a key that it knows with another address."""
    return f"acct_{seller_id.hex}_{hashlib.sha256(email.encode()).hexdigest()[:16]}"


@resource.get("/sell/connect/status", errors=(Unavailable,))
async def connect_status(ctx: Context) -> ConnectStatus:
    """Say whether money can be sent to the caller. What has waited for it goes out as soon as it can."""
    pool, me = ctx.services.pool, ctx.principal.user_id
    account = await sellers.account(pool, me)
    if account is None:
        return ConnectStatus(False, None, False, False)
    if not account.payouts_enabled:
        try:
            found = await ctx.services.paying.sellers.account(account.account_id)
        except ProviderError as error:
            raise Unavailable("The payment provider cannot be reached.") from error
        await sellers.checked(
            pool,
            account.account_id,
            details_submitted=found.details_submitted,
            payouts_enabled=found.payouts_enabled,
        )
        return ConnectStatus(found.payouts_enabled, account.account_id, found.details_submitted, found.payouts_enabled)
    return ConnectStatus(True, account.account_id, account.details_submitted, True)
