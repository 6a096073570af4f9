"""Checkout: how long does a buyer wait for the answer to an order, and how long until it is paid?

The whole platform, with limits of requests lifted. 500 buyers send 50 orders a second, each of one of the 200 products
that 50 sellers have, every second with a stock: at a fixed pace, whatever the answers take (open loop). The payment
sandbox takes each payment (`card`) and says so by webhook; then the order is paid, invoiced, buyer and seller are
notified, and a transfer goes to the seller, all of it beside the next orders and on the same cores.

The answer counts from when an order was due to be sent. It is paid once somebody who has the answer could see it in
the database. In the end every order must be paid, every seller have the money, and the provider's balance be what the
ledger says of it. There is no peer: no shop that we know of does the same.
"""

import asyncio
import random
import time
from typing import Any, NamedTuple
from uuid import UUID

import asyncpg
import httpx
import msgspec
import uvloop

from benchmarks.support.asking import Asker, asking, percentile
from benchmarks.support.figures import Figure
from benchmarks.support.population import Resident, populate
from benchmarks.support.progress import progress
from benchmarks.support.question import Answer, Options, Question, ask
from benchmarks.support.shop import Seller, add_people, add_products, enable
from benchmarks.support.stored import connected
from benchmarks.support.system import UNLIMITED, System, running
from veza.realtime.ledger import Account
from veza.serve.instance import State
from veza.storage import ledger
from veza.storage.notifications import CHANNEL
from veza.storage.payments.connect import StripeConnect

PER_SECOND = 50
BUYERS, SELLERS, PRODUCTS_EACH = 500, 50, 4
CONNECTIONS = 32
STOCK = 1_000_000
WARM_UP_S = 5.0
P99_MS = 60.0
SHARES = (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))
# Orders become paid, and sellers get their money, within this after the last one.
PATIENCE_S = 120.0
# Only in case that a notification is missed.
LOOK_S = 0.1


class Till:
    """Sees when orders become paid: looks for those that are not yet whenever somebody is notified of anything."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection
        self._due: dict[UUID, float] = {}
        self._woken = asyncio.Event()
        self.waits: list[float] = []

    def expect(self, order_id: UUID, due: float) -> None:
        self._due[order_id] = due
        self._woken.set()

    @property
    def waiting(self) -> int:
        return len(self._due)

    async def run(self) -> None:
        await self._connection.add_listener(CHANNEL, lambda *_: self._woken.set())
        while True:
            try:
                async with asyncio.timeout(LOOK_S):
                    await self._woken.wait()
            except TimeoutError:
                pass
            self._woken.clear()
            rows = await self._connection.fetch(
                "SELECT id FROM orders WHERE id = ANY ($1::uuid[]) AND status = 'paid'", list(self._due)
            )
            now = time.monotonic()
            self.waits += [1000 * (now - self._due.pop(row["id"])) for row in rows]


class Shop(NamedTuple):
    """Who buys what, and how."""

    asker: Asker
    buyers: list[Resident]
    products: list[UUID]
    till: Till
    chance: random.Random


class Sent:
    """One stretch of orders: what the answers took, and by how much the client itself was late, in milliseconds."""

    def __init__(self) -> None:
        self.answers: list[float] = []
        self.late: list[float] = []


def measure(options: Options) -> Answer:
    return uvloop.run(_measure(options))


async def _measure(options: Options) -> Answer:
    details: dict[str, Any] = {"orders_per_second": PER_SECOND, "runs": []}
    runs: list[dict[str, float]] = []
    with running(**UNLIMITED) as system:
        state = msgspec.json.decode((system.home / "data" / "run" / "state.json").read_bytes(), type=State)
        buyers = await populate(system, options.sized(BUYERS, 20))
        async with connected(system.home) as connection, connected(system.home) as till_connection:
            products = await _open_shop(connection, state.sandbox, options.sized(SELLERS, 5))
            till = Till(till_connection)
            looking = asyncio.create_task(till.run())
            async with asking(system.port, CONNECTIONS) as asker:
                shop = Shop(asker, buyers, products, till, random.Random(1))  # noqa: S311 - no secret
                await _sell(shop, options.sized(WARM_UP_S, 1.0))
                await _all_paid(till, looking)
                for _ in range(options.runs):
                    found = await _run(system, shop, options.seconds)
                    await _all_paid(till, looking)
                    runs.append(found["ms"] | {f"paid {name}": percentile(till.waits, share) for name, share in SHARES})
                    details["runs"].append(found | {"ms": runs[-1]})
                    progress(", ".join(f"{name} {ms:.1f} ms" for name, ms in runs[-1].items()))
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)
            details["books"] = await _check_books(connection, state.sandbox)
            webhooks = await _webhooks_in_time(system.port)
    return Answer(figures=[*_figures(runs), webhooks], settings=UNLIMITED, details=details)


async def _webhooks_in_time(port: int) -> Figure:
    """How many of all webhooks the gateways answered within 50 ms, by their own histogram."""
    async with httpx.AsyncClient() as http:
        text = (await http.get(f"http://127.0.0.1:{port}/metrics")).raise_for_status().text
    counts = {
        bound: float(line.rpartition(" ")[2])
        for line in text.splitlines()
        if line.startswith("veza_http_request_seconds_bucket{") and 'route="/api/v1/webhooks/hyperswitch"' in line
        for bound in ("0.05", "+Inf")
        if f'le="{bound}"' in line
    }
    return Figure(
        name="webhooks answered within 50 ms",
        unit="% of them",
        runs=[100 * counts["0.05"] / counts["+Inf"]],
        target=99.0,
    )


def _figures(runs: list[dict[str, float]]) -> list[Figure]:
    return [
        Figure(
            name=f"{PER_SECOND} orders a second: {what}, {name}",
            unit="ms",
            runs=[run[prefix + name] for run in runs],
            target=P99_MS if (prefix, name) == ("", "p99") else None,
            bound="at most",
        )
        for prefix, what in (("", "answer"), ("paid ", "until it is paid"))
        for name, _ in SHARES
    ]


async def _open_shop(connection: Any, sandbox: dict[str, str], sellers: int) -> list[UUID]:
    """Sellers who went through the provider's onboarding, and what they sell."""
    ids = await add_people(connection, sellers, "creator")
    provider = StripeConnect(sandbox["stripe_secret_key"], api_base=sandbox["stripe_api_base"])
    try:
        async with httpx.AsyncClient() as http:
            found = [Seller(seller_id, await _onboard(provider, http, seller_id)) for seller_id in ids]
    finally:
        await provider.close()
    await enable(connection, found)
    return await add_products(connection, ids * PRODUCTS_EACH, stock=STOCK)


async def _onboard(provider: StripeConnect, http: httpx.AsyncClient, seller_id: UUID) -> str:
    account = await provider.create_account(f"acct_{seller_id.hex}", seller_id=str(seller_id), email="s@example.com")
    url = "http://127.0.0.1/"
    link = await provider.onboarding_link(account.account_id, return_url=url, refresh_url=url)
    (await http.get(link)).raise_for_status()
    return account.account_id


async def _run(system: System, shop: Shop, seconds: float) -> dict[str, Any]:
    shop.till.waits = []
    cores: dict[str, float] = {}
    with system.using(cores):
        sent = await _sell(shop, seconds)
    return {
        "orders": len(sent.answers),
        "ms": {name: percentile(sent.answers, share) for name, share in SHARES},
        "client_late_ms": round(max(sent.late), 2),
        "cores": cores,
    }


async def _sell(shop: Shop, seconds: float) -> Sent:
    """Send orders at the pace for so long; all are answered when it returns. Raises when one was not taken."""
    sent = Sent()
    began = time.monotonic() + 0.1

    async def order(number: int, due: float) -> None:
        items = [{"product_id": str(shop.chance.choice(shop.products)), "quantity": 1}]
        body = {"items": items, "payment_method": "card"}
        token = shop.buyers[number % len(shop.buyers)].api_token
        made = await shop.asker.ask("POST", "/marketplace/orders", token=token, body=body, status=201)
        sent.answers.append(1000 * (time.monotonic() - due))
        shop.till.expect(UUID(made["id"]), due)

    async with asyncio.TaskGroup() as group:
        for number in range(round(PER_SECOND * seconds)):
            due = began + number / PER_SECOND
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            sent.late.append(1000 * (time.monotonic() - due))
            group.create_task(order(number, due))
    return sent


async def _all_paid(till: Till, looking: "asyncio.Task[None]") -> None:
    deadline = time.monotonic() + PATIENCE_S
    while till.waiting:
        if looking.done():
            looking.result()
        if time.monotonic() > deadline:
            raise RuntimeError(f"{till.waiting} orders were not paid within {PATIENCE_S:.0f} s")
        await asyncio.sleep(0.05)


async def _check_books(connection: Any, sandbox: dict[str, str]) -> dict[str, Any]:
    """Wait until sellers have their money. Raises RuntimeError unless all is paid and both books say the same."""
    began = time.monotonic()
    while await connection.fetchval("SELECT EXISTS (SELECT FROM transfers WHERE status <> 'completed')"):
        if time.monotonic() > began + PATIENCE_S:
            raise RuntimeError(f"not every seller was paid within {PATIENCE_S:.0f} s")
        await asyncio.sleep(0.1)
    unpaid = await connection.fetchval("SELECT count(*) FROM orders WHERE status <> 'paid'")
    ours = (await ledger.balances(connection))["EUR"]
    async with httpx.AsyncClient(base_url=sandbox["hyperswitch_base_url"]) as http:
        answer = await http.get("/sandbox/book", headers={"api-key": sandbox["hyperswitch_api_key"]})
        book = answer.raise_for_status().json()
    if unpaid or ours[Account.PROVIDER] != book["balance"]["EUR"] or ours.get(Account.SELLER_PAYABLE):
        raise RuntimeError(f"the books differ: {unpaid} orders not paid, ours {ours}, the provider's {book['balance']}")
    return {
        "orders": await connection.fetchval("SELECT count(*) FROM orders"),
        "transfers": await connection.fetchval("SELECT count(*) FROM transfers"),
        "provider_cents": ours[Account.PROVIDER],
        "last_transfer_s": round(time.monotonic() - began, 2),
    }


QUESTION = Question(
    "checkout", "How long does a buyer wait for an order, and until it is paid?", measure, runs=3, seconds=60.0
)

if __name__ == "__main__":
    ask(QUESTION)
