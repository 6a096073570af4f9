"""A marketplace at work: HTTP on a real database, the JobRunner's jobs, processors, and a real sandbox behind them.

What an actor does here runs as tasks, so that it can be cut off at any moment, as by SIGKILL: what was not committed
never was.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import msgspec
from gateways import SECRET, Gateway, serving, until
from people import administrator, registered
from sandboxes import API_KEY, STRIPE_KEY, WEBHOOK_SECRET, Receiver, Sandbox
from sanic import Sanic

from veza.actors.payment_jobs import PaymentJobs
from veza.actors.payout_rounds import Payouts
from veza.actors.tasks import TaskSet
from veza.config import Settings, load_settings
from veza.http.api import orders, products, sellers, transfers, webhooks
from veza.http.auth import Authenticator
from veza.http.services import Services
from veza.http.tokens import Tokens
from veza.storage import payout_queue
from veza.storage.database import FAILURES, open_pool
from veza.storage.ledger_check import Report, check_books, check_provider
from veza.storage.payments import Payments
from veza.storage.payments.calls import Limits
from veza.storage.payments.connect import StripeConnect
from veza.storage.payments.hyperswitch import Hyperswitch
from veza.storage.wakeups import REFUNDS, WEBHOOKS, Wakeups

# Somebody who waits for an answer that never comes should not wait for long here.
PATIENCE = Limits(connect_seconds=0.3, call_seconds=1.0)
QUIET_S = 30.0


class _Elsewhere(Receiver):
    """Webhooks go to the platform."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/api/v1/webhooks/hyperswitch"


class Person:
    """Somebody who buys or sells."""

    def __init__(self, gateway: Gateway, grant: dict[str, Any]) -> None:
        self._gateway = gateway
        self.id = UUID(grant["user"]["id"])
        self.token: str = grant["access_token"]

    async def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        return await self._gateway.call(method, path, token=self.token, **options)

    async def call(self, method: str, path: str, status: int = 200, **options: Any) -> Any:
        """The `data` of an answer with that status."""
        answer = await self.ask(method, path, **options)
        assert answer.status_code == status, answer.text
        return answer.json()["data"]

    async def offer(self, **changed: Any) -> str:
        """A published product."""
        body = {
            "title": "Aria",
            "description": "",
            "price_cents": 2999,
            "currency": "EUR",
            "product_type": "track",
            "status": "published",
            **changed,
        }
        made: dict[str, Any] = await self.call("POST", "/marketplace/products", 201, json=body)
        return str(made["id"])

    async def buy(self, *products: str, method: str = "card", quantity: int = 1) -> str:
        """An order of these."""
        items = [{"product_id": each, "quantity": quantity} for each in products]
        body = {"items": items, "payment_method": method}
        return str((await self.call("POST", "/marketplace/orders", 201, json=body))["id"])

    async def refund(self, order: str, **more: Any) -> httpx.Response:
        return await self.ask("POST", f"/marketplace/orders/{order}/refund", json={"reason": "No.", **more})


class Market:
    """`gateway` is the HTTP side, `sandbox` the provider; `processors` are at work until they are cut off."""

    def __init__(self, gateway: Gateway, pool: Any, settings: Settings, sandbox: Sandbox, payments: Payments) -> None:
        self.gateway = gateway
        self.pool = pool
        self.sandbox = sandbox
        self.payments = payments
        self._settings = settings
        self._jobs = TaskSet("jobs")
        self._processors: dict[str, TaskSet] = {}
        self._names = 0

    async def seller(self, *, connected: bool = True) -> Person:
        person = Person(self.gateway, await registered(self.gateway))
        await person.call("POST", "/users/me/creator")
        if connected:
            await self.connect(person)
        return person

    async def connect(self, person: Person) -> None:
        """Onboard a seller at the provider."""
        link = (await person.call("POST", "/sell/connect/onboard"))["onboarding_url"]
        assert (await self.sandbox.http.get(link)).status_code == 200
        assert (await person.call("GET", "/sell/connect/status"))["connected"]

    async def buyer(self) -> Person:
        return Person(self.gateway, await registered(self.gateway))

    async def admin(self) -> Person:
        return Person(self.gateway, await administrator(self.gateway))

    # -- who works ---------------------------------------------------------------------------------------------

    def start_jobs(self) -> None:
        wakeups = Wakeups(self._settings.database_url, "jobs", [REFUNDS, WEBHOOKS])
        self._jobs.start(wakeups.run(), "wakeups")
        PaymentJobs(self.pool, self.payments, wakeups).start(self._jobs)

    async def kill_jobs(self) -> None:
        await self._jobs.close()

    def start_processor(self) -> str:
        self._names += 1
        name = f"TransferProcessor-test-{self._names}"
        tasks = self._processors[name] = TaskSet(name)
        payouts = Payouts(name, self._settings, self.pool, self.payments.sellers)
        for number in range(2):
            tasks.start(self._work(payouts), f"round {number}")
        return name

    @staticmethod
    async def _work(payouts: Payouts) -> None:
        while True:
            with contextlib.suppress(*FAILURES):
                await payouts.round()
            await asyncio.sleep(0.01)

    async def kill_processor(self, name: str | None = None) -> None:
        """Cut one off; the Supervisor ends its leases."""
        name = name or next(iter(self._processors))
        await self._processors.pop(name).close()
        async with self.pool.acquire() as connection:
            await payout_queue.end(connection, name)

    async def close(self) -> None:
        for tasks in [self._jobs, *self._processors.values()]:
            await tasks.close()

    # -- what is seen ------------------------------------------------------------------------------------------

    async def status_is(self, person: Person, order: str, *wanted: str) -> dict[str, Any]:
        """Wait for an order's status."""
        found: dict[str, Any] = {}

        async def there() -> bool:
            found.update(await person.call("GET", f"/marketplace/orders/{order}"))
            return found["status"] in wanted

        await until(there, QUIET_S)
        return found

    async def hurry(self) -> None:
        """Whatever waits for its time is due."""
        await self.pool.execute("UPDATE refunds SET next_at = now() WHERE status = 'pending' AND next_at > now()")
        await self.pool.execute("UPDATE webhooks SET next_at = now() WHERE next_at > now() + interval '1 second'")
        await self.pool.execute(
            "UPDATE transfers SET next_retry_at = now() WHERE status IN ('pending', 'failed') AND next_retry_at > now()"
        )
        await self.pool.execute(
            "UPDATE reversals SET next_retry_at = now() WHERE status = 'pending' AND next_retry_at > now()"
        )
        await self.pool.execute("UPDATE payout_lanes SET due_at = now() WHERE due_at > now()")

    async def quiet(self, seconds: float = QUIET_S) -> None:
        """Wait until nothing is under way, but transfers to sellers without an account and the dead."""

        async def still() -> bool:
            await self.hurry()
            busy: bool = await self.pool.fetchval(
                """
                SELECT EXISTS (SELECT FROM orders WHERE status = 'pending')
                    OR EXISTS (SELECT FROM payments WHERE status IN ('creating', 'processing'))
                    OR EXISTS (SELECT FROM refunds WHERE status = 'pending')
                    OR EXISTS (SELECT FROM reversals WHERE status = 'pending')
                    OR EXISTS (SELECT FROM webhooks WHERE status IN ('received', 'waiting'))
                    OR EXISTS (SELECT FROM transfers t JOIN seller_accounts a USING (seller_id)
                               WHERE a.payouts_enabled AND t.status IN ('pending', 'processing', 'failed'))
                """
            )
            return not busy and await self.sandbox.quiet()

        try:
            await until(still, seconds)
        except TimeoutError:
            raise AssertionError(f"it is never quiet: {await self._busy()}") from None

    async def _busy(self) -> dict[str, list[Any]]:
        """What is under way, for whoever wonders why."""
        found = {}
        for table, condition in (
            ("orders", "status = 'pending'"),
            ("payments", "status IN ('creating', 'processing')"),
            ("refunds", "status = 'pending'"),
            ("reversals", "status = 'pending'"),
            ("webhooks", "status IN ('received', 'waiting')"),
            ("transfers", "status IN ('pending', 'processing', 'failed')"),
            ("payout_lanes", "due_at IS NOT NULL"),
        ):
            rows = await self.pool.fetch(f"SELECT * FROM {table} WHERE {condition} LIMIT 3")
            if rows:
                found[table] = [dict(row) for row in rows]
        return found

    async def ask_for_payments(self) -> None:
        """Reconciliation asks for everything of which nothing was heard, as if two minutes had passed."""
        await self.pool.execute(
            "UPDATE payments SET asked_at = now() - interval '1 hour', created_at = created_at - interval '10 minutes' "
            "WHERE status IN ('creating', 'processing')"
        )

    async def books(self) -> Report:
        """What the check of our own books finds, but what waits for a person."""
        report = Report()
        async with self.pool.acquire() as connection:
            await check_books(connection, report)
        report.findings = [each for each in report.findings if each.check != "nothing waits for a person"]
        return report

    async def report(self, *, balance: bool = True) -> Report:
        """What the check of the ledger finds."""
        report = Report()
        async with self.pool.acquire() as connection:
            await check_books(connection, report)
        await check_provider(self.pool, self.payments, report, balance=balance)
        return report


@contextlib.asynccontextmanager
async def open_market(database_url: str, directory: Path) -> AsyncIterator[Market]:
    """A market on a migrated database, its jobs and two processors at work."""
    made = load_settings(
        {
            "APP_ENV": "test",
            "JWT_SECRET": SECRET,
            "HYPERSWITCH_WEBHOOK_SECRET": WEBHOOK_SECRET,
            "TRANSFER_RETRY_BASE_SECONDS": "0.05",
            "VEZA_DATA_DIR": str(directory / "data"),
        },
        None,
        keep_secrets=False,
    )
    settings = msgspec.structs.replace(made, database_url=database_url)
    # Sanic rewrites its own methods when an application starts, and does so once only unless told this.
    Sanic.test_mode = True
    pool = await open_pool(database_url, size=20, name="market")
    authenticator = Authenticator(pool, Tokens(SECRET), fresh=lambda: True)
    services = Services(settings=settings, pool=pool, authenticator=authenticator)
    resources = (products.resource, orders.resource, sellers.resource, transfers.resource, webhooks.resource)
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(pool.close)
        gateway = await stack.enter_async_context(serving(services, *resources))
        receiver = _Elsewhere()
        receiver.port = gateway.client.base_url.port or 0
        sandbox = Sandbox(directory, receiver)
        stack.push_async_callback(sandbox.close)
        await sandbox.start()
        buyers = Hyperswitch(sandbox.service.url, API_KEY, confirm=True, limits=PATIENCE)
        sold = StripeConnect(STRIPE_KEY, api_base=sandbox.service.url, limits=PATIENCE)
        stack.push_async_callback(buyers.close)
        stack.push_async_callback(sold.close)
        services.payments = Payments(buyers, sold)
        market = Market(gateway, pool, settings, sandbox, services.payments)
        stack.push_async_callback(market.close)
        market.start_jobs()
        # Two, as on two nodes.
        market.start_processor()
        market.start_processor()
        yield market
