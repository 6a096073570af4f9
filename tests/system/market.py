"""What people do on the marketplace: sell, buy, give back, and wait for what comes of it."""

import itertools
from typing import Any

import httpx

from system.people import Person
from system.running import data_of
from system.sockets import Frame, Socket
from system.waiting import until

# On a busy machine.
SOON_S = 20.0

_keys = itertools.count(1)


def new_key() -> dict[str, str]:
    """An Idempotency-Key that nobody used before."""
    return {"Idempotency-Key": f"key-{next(_keys)}"}


# -- selling -----------------------------------------------------------------------------------------------------


async def connect(person: Person) -> str:
    """Let money be sent to a seller; their account at the provider."""
    url = (await person.call("POST", "sell/connect/onboard"))["onboarding_url"]
    assert (await person.system.http.get(url)).status_code == 200
    status = await person.call("GET", "sell/connect/status")
    assert status["connected"], status
    found: str = status["account_id"]
    return found


async def offer(seller: Person, price_cents: int = 2999, **fields: Any) -> str:
    """The id of a new product that is for sale."""
    body = {"title": "Aria", "price_cents": price_cents, "currency": "EUR", "product_type": "track", **fields}
    made = await seller.call("POST", "marketplace/products", json={"status": "published", **body})
    found: str = made["id"]
    return found


# -- buying ------------------------------------------------------------------------------------------------------


def cart(*products: str | tuple[str, int], method: str = "card") -> dict[str, Any]:
    """The body of an order: ids, or ids with how many."""
    pairs = [(each, 1) if isinstance(each, str) else each for each in products]
    items = [{"product_id": product_id, "quantity": quantity} for product_id, quantity in pairs]
    return {"items": items, "payment_method": method}


async def try_order(buyer: Person, *products: str | tuple[str, int], method: str = "card") -> httpx.Response:
    """Order, whatever the answer."""
    return await buyer.ask("POST", "marketplace/orders", json=cart(*products, method=method))


async def order(buyer: Person, *products: str | tuple[str, int], method: str = "card") -> dict[str, Any]:
    """A new order, as it was answered."""
    found: dict[str, Any] = data_of(await try_order(buyer, *products, method=method), 201)
    return found


async def order_is(buyer: Person, order_id: str, status: str, seconds: float = SOON_S) -> dict[str, Any]:
    """Wait for an order to have a status; the order."""

    async def look() -> dict[str, Any] | None:
        found: dict[str, Any] = await buyer.call("GET", f"marketplace/orders/{order_id}")
        return found if found["status"] == status else None

    found = await until(look, f"order {order_id} to be {status}", seconds)
    assert found is not None
    return found


async def buy(buyer: Person, *products: str | tuple[str, int], method: str = "card") -> dict[str, Any]:
    """An order that is paid."""
    return await order_is(buyer, (await order(buyer, *products, method=method))["id"], "paid")


# -- giving back -------------------------------------------------------------------------------------------------


async def try_refund(person: Person, order_id: str, **fields: Any) -> httpx.Response:
    body = {"reason": "Not as described", **fields}
    return await person.ask("POST", f"marketplace/orders/{order_id}/refund", json=body)


async def refund(person: Person, order_id: str, **fields: Any) -> str:
    """The id of a refund that was asked for."""
    found: str = data_of(await try_refund(person, order_id, **fields), 200)["refund_id"]
    return found


async def refund_is(person: Person, order_id: str, refund_id: str, status: str = "succeeded") -> dict[str, Any]:
    """Wait for a refund to have a status; the refund."""

    async def look() -> dict[str, Any] | None:
        page = await person.call("GET", f"marketplace/orders/{order_id}/refunds")
        [found] = [each for each in page["refunds"] if each["id"] == refund_id]
        return found if found["status"] == status else None

    found = await until(look, f"refund {refund_id} to be {status}", SOON_S)
    assert found is not None
    return found


async def refunded(person: Person, order_id: str, **fields: Any) -> dict[str, Any]:
    """A refund that was made."""
    return await refund_is(person, order_id, await refund(person, order_id, **fields))


# -- what sellers get --------------------------------------------------------------------------------------------


async def transfers(seller: Person, order_id: str) -> list[dict[str, Any]]:
    """A seller's transfers of an order, oldest first."""
    page = await seller.call("GET", "sell/transfers", params={"limit": 100})
    return [each for each in reversed(page["transfers"]) if each["order_id"] == order_id]


async def transfer_is(seller: Person, order_id: str, status: str = "completed", index: int = 0) -> dict[str, Any]:
    """Wait for a seller's transfer of an order to have a status; the transfer."""

    async def look() -> dict[str, Any] | None:
        found = await transfers(seller, order_id)
        return found[index] if len(found) > index and found[index]["status"] == status else None

    found = await until(look, f"transfer {index} of order {order_id} to be {status}", SOON_S)
    assert found is not None
    return found


async def balance(seller: Person, currency: str = "EUR") -> tuple[int, int]:
    """What is a seller's in one currency: available, pending."""
    page = await seller.call("GET", "sell/balance")
    assert {"currency": page["currency"], "available": page["available"], "pending": page["pending"]} in [
        *page["balances"],
        {"currency": "EUR", "available": 0, "pending": 0},
    ]
    found = {each["currency"]: (each["available"], each["pending"]) for each in page["balances"]}
    return found.get(currency, (0, 0))


async def balance_is(seller: Person, available: int, pending: int, currency: str = "EUR") -> None:
    """Wait for a seller's balance to be this."""
    what = f"a balance of {available} and {pending}"

    async def look() -> bool:
        return await balance(seller, currency) == (available, pending)

    await until(look, what, SOON_S)


# -- what people are told ----------------------------------------------------------------------------------------


async def told(person: Person, kind: str, **data: Any) -> dict[str, Any]:
    """Wait for a notification of a kind with these data; the notification."""

    async def look() -> dict[str, Any] | None:
        page = await person.call("GET", "notifications", params={"limit": 100})
        matching = (n for n in page["notifications"] if n["kind"] == kind and data.items() <= n["data"].items())
        return next(matching, None)

    found = await until(look, f"a notification of {kind} with {data}", SOON_S)
    assert found is not None
    return found


async def heard(socket: Socket, kind: str, **data: Any) -> Frame:
    """Wait for a notification of a kind with these data on an open socket."""
    return await socket.wait(
        lambda f: f["type"] == "notification" and f["kind"] == kind and data.items() <= f["data"].items(),
        f"a notification of {kind} with {data}",
        SOON_S,
    )
