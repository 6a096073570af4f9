"""What Stripe does for each of its requests that we know, and what it refuses."""

import sqlite3
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import msgspec

from veza.sandbox import connect
from veza.sandbox.book import PLATFORM, balances, shifted_now
from veza.sandbox.connect import LINK_SECONDS
from veza.sandbox.desk import Problem
from veza.sandbox.forms import Params, error, invalid

MOST_CENTS = 999_999_999_999
MOST_LISTED = 100


class Call(msgspec.Struct, frozen=True):
    """One request. `account` is whom it is made on behalf of, `names` what its path names."""

    params: Params
    names: tuple[str, ...]
    account: str | None
    site: str


Effect = Callable[[sqlite3.Connection, Call], dict[str, Any]]


def refused(message: str, *, code: str | None = None, param: str | None = None, status: int = 400) -> Problem:
    """Stripe's last word on a request."""
    return Problem(error(status, message, code=code, param=param))


def _missing(what: str, name: str, *, param: str = "id", status: int = 404) -> Problem:
    return refused(f"No such {what}: '{name[:100]}'", code="resource_missing", param=param, status=status)


def create_account(db: sqlite3.Connection, call: Call) -> dict[str, Any]:
    params = call.params
    row = connect.create_account(
        db,
        kind=params.text("type") or "none",
        email=params.text("email"),
        country=params.text("country") or "FR",
        metadata=params.metadata(),
    )
    return connect.shown_account(row)


def get_account(db: sqlite3.Connection, call: Call) -> dict[str, Any]:
    return connect.shown_account(_account(db, call.names[0]))


def create_link(db: sqlite3.Connection, call: Call) -> dict[str, Any]:
    params = call.params
    account_id, kind = params.need("account"), params.need("type")
    urls = {name: params.need(name) for name in ("return_url", "refresh_url")}
    if kind not in ("account_onboarding", "account_update"):
        raise invalid("Invalid type: must be one of account_onboarding or account_update", param="type")
    for name, url in urls.items():
        _check_url(name, url)
    account = _account(db, account_id, param="account", status=400)
    expires_at = shifted_now(db) + LINK_SECONDS
    token = connect.create_link(db, account["account_id"], expires_at=expires_at, **urls)
    return {
        "object": "account_link",
        "created": int(expires_at - LINK_SECONDS),
        "expires_at": int(expires_at),
        "url": f"{call.site}/sandbox/onboarding/{token}",
    }


def get_balance(db: sqlite3.Connection, call: Call) -> dict[str, Any]:
    if call.account:
        _account(db, call.account)
    return connect.shown_balance(balances(db, call.account or PLATFORM))


def create_transfer(db: sqlite3.Connection, call: Call) -> dict[str, Any]:
    params = call.params
    params.only(
        "amount", "currency", "destination", "transfer_group", "description", "metadata", "source_type", "expand"
    )
    currency, destination = params.currency("currency"), params.need("destination")
    amount = params.integer("amount", least=1, most=MOST_CENTS)
    if amount is None:
        raise invalid("Missing required param: amount.", code="parameter_missing", param="amount")
    group, description, metadata = params.text("transfer_group"), params.text("description"), params.metadata()
    account = _account(db, destination, param="destination", status=400, what="destination")
    if not account["onboarded"]:
        raise refused(
            "Your destination account needs to have at least one of the following capabilities enabled: transfers,"
            " crypto_transfers, legacy_payments",
            code="insufficient_capabilities_for_transfer",
        )
    if not connect.covers(db, PLATFORM, currency, amount):
        raise refused("You have insufficient available funds in your Stripe account.", code="balance_insufficient")
    row = connect.transfer(
        db,
        amount=amount,
        currency=currency,
        destination=destination,
        group=group,
        description=description,
        metadata=metadata,
    )
    return connect.shown_transfer(db, row)


def get_transfer(db: sqlite3.Connection, call: Call) -> dict[str, Any]:
    return connect.shown_transfer(db, _transfer(db, call.names[0]))


def list_transfers(db: sqlite3.Connection, call: Call) -> dict[str, Any]:
    params = call.params
    params.only("limit", "starting_after", "transfer_group", "destination", "expand")
    limit, after = _page(params)
    seq = _transfer(db, after, param="starting_after", status=400)["seq"] if after else 2**62
    wanted = {name: params.text(name) for name in ("transfer_group", "destination")}
    names = [name for name, value in wanted.items() if value]
    where = "".join(f" AND {name} = ?" for name in names)
    rows = db.execute(
        f"SELECT * FROM transfers WHERE seq < ?{where} ORDER BY seq DESC LIMIT ?",  # noqa: S608 - our own names
        (seq, *(wanted[name] for name in names), limit + 1),
    ).fetchall()
    return _listed("/v1/transfers", [connect.shown_transfer(db, row) for row in rows], limit)


def create_reversal(db: sqlite3.Connection, call: Call) -> dict[str, Any]:
    params = call.params
    params.only("amount", "metadata", "description", "refund_application_fee", "expand")
    asked, metadata = params.integer("amount", least=1, most=MOST_CENTS), params.metadata()
    sent = _transfer(db, call.names[0])
    left = sent["amount"] - sent["amount_reversed"]
    amount = left if asked is None else asked
    if not left:
        raise refused(f"Transfer {sent['transfer_id']} is already fully reversed.", param="id")
    if amount > left:
        raise refused(
            f"Reversal amount ({amount}) is greater than the unreversed amount on the transfer ({left}).",
            param="amount",
        )
    if not connect.covers(db, sent["destination"], sent["currency"], amount):
        raise refused(
            "The destination account has insufficient available funds to reverse this transfer.",
            code="balance_insufficient",
        )
    return connect.shown_reversal(connect.reverse(db, sent, amount, metadata))


def get_reversal(db: sqlite3.Connection, call: Call) -> dict[str, Any]:
    sent = _transfer(db, call.names[0])
    return connect.shown_reversal(_reversal(db, sent, call.names[1]))


def list_reversals(db: sqlite3.Connection, call: Call) -> dict[str, Any]:
    params = call.params
    params.only("limit", "starting_after", "expand")
    limit, after = _page(params)
    sent = _transfer(db, call.names[0])
    seq = _reversal(db, sent, after, param="starting_after", status=400)["seq"] if after else 2**62
    rows = db.execute(
        "SELECT * FROM reversals WHERE transfer_id = ? AND seq < ? ORDER BY seq DESC LIMIT ?",
        (sent["transfer_id"], seq, limit + 1),
    ).fetchall()
    url = f"/v1/transfers/{sent['transfer_id']}/reversals"
    return _listed(url, [connect.shown_reversal(row) for row in rows], limit)


def _account(
    db: sqlite3.Connection, account_id: str, *, param: str = "account", status: int = 404, what: str = "account"
) -> sqlite3.Row:
    row = connect.find_account(db, account_id)
    if row is None:
        raise _missing(what, account_id, param=param, status=status)
    return row


def _transfer(db: sqlite3.Connection, transfer_id: str, *, param: str = "id", status: int = 404) -> sqlite3.Row:
    row = connect.find_transfer(db, transfer_id)
    if row is None:
        raise _missing("transfer", transfer_id, param=param, status=status)
    return row


def _reversal(
    db: sqlite3.Connection, sent: sqlite3.Row, reversal_id: str, *, param: str = "id", status: int = 404
) -> sqlite3.Row:
    row: sqlite3.Row | None = db.execute(
        "SELECT * FROM reversals WHERE transfer_id = ? AND reversal_id = ?", (sent["transfer_id"], reversal_id)
    ).fetchone()
    if row is None:
        raise _missing("reversal", reversal_id, param=param, status=status)
    return row


def _page(params: Params) -> tuple[int, str | None]:
    return params.integer("limit", least=1, most=MOST_LISTED) or 10, params.text("starting_after")


def _listed(url: str, found: list[dict[str, Any]], limit: int) -> dict[str, Any]:
    return {"object": "list", "data": found[:limit], "has_more": len(found) > limit, "url": url}


def _check_url(name: str, url: str) -> None:
    try:
        good = urlsplit(url).scheme in ("http", "https") and bool(urlsplit(url).netloc)
    except ValueError:
        good = False
    if not good:
        raise invalid("Not a valid URL", code="url_invalid", param=name)
