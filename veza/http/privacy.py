"""Do Not Sell or Share: what a person set for good, and what their browser asks with each request.

Nothing of the platform sells or shares personal data with others today. Whatever will asks `may_share` first.
"""

import msgspec

from veza.http.context import Context
from veza.storage import accounts
from veza.storage.accounts import Account


def honoured(ctx: Context, account: Account) -> Account:
    """The account with the wish of this request (Global Privacy Control) added to what is stored."""
    if account.do_not_sell or not ctx.do_not_sell:
        return account
    return msgspec.structs.replace(account, do_not_sell=True)


async def may_share(ctx: Context) -> bool:
    """Whether data of the caller may go to others. Nobody asks for who is not signed in but their browser."""
    if ctx.do_not_sell:
        return False
    if ctx.caller is None:
        return True
    return not (await accounts.find(ctx.services.pool, ctx.caller.user_id)).do_not_sell
