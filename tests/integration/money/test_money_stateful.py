"""Orders, webhooks, refunds, disputes, failures and crashes in any order, on the real stack: every cent is accounted
for after each step, and at the end everybody has what is theirs, once.
"""

import asyncio
import contextlib
import os
import random
from collections import Counter
from collections.abc import Coroutine
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from market import Market, Person

from veza.realtime.order import BOUGHT

T = TypeVar("T")

METHODS = ["card", "card", "card_declined", "card_error_after", "card_duplicate", "card_reordered", "card_manual"]
REFUNDABLE = ["card_refund_declined", "card_refund_slow"]
SENDING = ["error", "error_after", "refuse", "unavailable", "rate_limit", "hang_up", "hang_up_after", "timeout"]
ASKED = ["transfers.create", "transfers.list", "reversals.create", "reversals.list", "refunds.create"]
RETRIES = 3
FINAL = {*BOUGHT, "failed", "expired"}


class Run:
    """Work on the event loop of the test, step by step, from the thread of the machine."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.failures: list[BaseException] = []
        # Whether sellers of this story or an earlier one may owe something.
        self.owed = False

    def __call__(self, work: Coroutine[Any, Any, T]) -> T:
        try:
            return asyncio.run_coroutine_threadsafe(work, self._loop).result(120)
        except BaseException as error:
            self.failures.append(error)
            raise


class MoneyMachine(RuleBasedStateMachine):
    """`market` and `run` are given to the class by the test."""

    market: Market
    run: Run
    people: dict[str, Person]

    @initialize()
    def open(self) -> None:
        self.run(self._open())

    async def _open(self) -> None:
        one, two = await self.market.seller(), await self.market.seller(connected=False)
        self.sellers = {"one": one, "two": two}
        self.connected = {"one"}
        self.buyer, self.admin = self.people["buyer"], self.people["admin"]
        self.products = [
            await one.offer(),
            await two.offer(price_cents=1001),
            await one.offer(price_cents=5, stock=2),
            await two.offer(price_cents=777, currency="USD"),
        ]
        self.orders: list[str] = []
        self.disputes: list[str] = []
        self.emptied = False
        self.asleep = False

    # -- what people do ----------------------------------------------------------------------------------------

    @rule(
        which=st.sampled_from([[0], [1], [2], [3], [0, 1], [0, 2], [0, 1, 2]]),
        pieces=st.integers(1, 3),
        method=st.sampled_from(METHODS + REFUNDABLE),
    )
    def buy(self, which: list[int], pieces: int, method: str) -> None:
        self.run(self._buy([self.products[each] for each in which], pieces, method))

    async def _buy(self, products: list[str], pieces: int, method: str) -> None:
        items = [{"product_id": each, "quantity": pieces} for each in products]
        body = {"items": items, "payment_method": method}
        answer = await self.buyer.ask("POST", "/marketplace/orders", json=body)
        assert answer.status_code in {201, 409, 503}, answer.text
        if answer.status_code == 201:
            self.orders.append(answer.json()["data"]["id"])

    @rule(
        number=st.integers(0, 9),
        who=st.sampled_from(["buyer", "one", "two"]),
        part=st.booleans(),
        times=st.integers(1, 2),
    )
    def refund(self, number: int, who: str, part: bool, times: int) -> None:
        if self.orders:
            self.run(self._refund(self.orders[number % len(self.orders)], who, part=part, times=times))

    async def _refund(self, order: str, who: str, *, part: bool, times: int) -> None:
        person = self.buyer if who == "buyer" else self.sellers[who]
        more = {"items": [self.products[0]]} if part else {}
        answers = await asyncio.gather(*(person.refund(order, **more) for _ in range(times)))
        assert all(answer.status_code in {200, 400, 404, 409} for answer in answers), [a.text for a in answers]

    @rule()
    def connect(self) -> None:
        self.run(self._connect())

    async def _connect(self) -> None:
        with contextlib.suppress(AssertionError):  # a provider that is made to fail
            await self.market.connect(self.sellers["two"])

    @rule()
    def retry(self) -> None:
        self.run(self._retry())

    async def _retry(self) -> None:
        for status in ("failed", "dead"):
            found = await self.admin.call("GET", f"/admin/transfers?status={status}&limit=1")
            for transfer in found["transfers"]:
                answer = await self.admin.ask("POST", f"/admin/transfers/{transfer['id']}/retry")
                assert answer.status_code in {200, 409}, answer.text

    # -- what the provider does --------------------------------------------------------------------------------

    @rule(on=st.sampled_from(ASKED), kind=st.sampled_from(SENDING), times=st.integers(1, 3))
    def provider_fails(self, on: str, kind: str, times: int) -> None:
        self.run(self.market.sandbox.fault(on, kind, times=times, seconds=2))

    @rule(hold=st.booleans())
    def webhooks_wait(self, hold: bool) -> None:
        self.run(self.market.sandbox.ask("POST", f"/sandbox/webhooks/{'hold' if hold else 'release'}"))

    @rule(number=st.integers(0, 9))
    def webhook_again(self, number: int) -> None:
        if self.orders:
            self.run(self._tell(self.orders[number % len(self.orders)]))

    async def _tell(self, order: str) -> None:
        name = (await self.buyer.call("GET", f"/marketplace/orders/{order}"))["payment"]["payment_id"]
        # The provider may never have heard of it.
        await self.market.sandbox.http.post(f"/sandbox/payments/{name}/webhook")

    @rule(number=st.integers(0, 9), status=st.sampled_from(["opened", "won", "lost"]), part=st.booleans())
    def dispute(self, number: int, status: str, part: bool) -> None:
        if self.orders:
            self.run(self._dispute(self.orders[number % len(self.orders)], status, part=part))

    async def _dispute(self, order: str, status: str, *, part: bool) -> None:
        found = await self.buyer.call("GET", f"/marketplace/orders/{order}")
        body: dict[str, Any] = {"payment_id": found["payment"]["payment_id"], "status": status}
        if part and status == "opened":
            body["amount"] = max(1, found["total_cents"] // 3)
        # It refuses what cannot be, as a dispute that was never opened.
        await self.market.sandbox.http.post("/sandbox/disputes", json=body)

    @rule()
    def seller_spends_it_all(self) -> None:
        self.run(self._empty())

    async def _empty(self) -> None:
        self.emptied = self.run.owed = True
        for row in await self.market.pool.fetch("SELECT account_id FROM seller_accounts"):
            await self.market.sandbox.ask("POST", f"/sandbox/accounts/{row['account_id']}/payout")

    # -- what befalls us ---------------------------------------------------------------------------------------

    @rule(which=st.sampled_from(["processor", "jobs", "sandbox", "both"]))
    def killed(self, which: str) -> None:
        self.run(self._kill(which))

    async def _kill(self, which: str) -> None:
        # At some step of what is under way.
        await asyncio.sleep(random.random() * 0.03)  # noqa: S311 - no secret
        if which in {"processor", "both"}:
            await self.market.kill_processor()
            self.market.start_processor()
        if which == "jobs":
            await self.market.kill_jobs()
            self.market.start_jobs()
        if which in {"sandbox", "both"}:
            await self.market.sandbox.kill()
            await self.market.sandbox.start()

    @rule()
    def half_an_hour_passes(self) -> None:
        self.run(self.market.pool.execute("UPDATE orders SET expires_at = now() WHERE status = 'pending'"))

    @rule()
    def a_day_passes(self) -> None:
        self.run(self._day())

    async def _day(self) -> None:
        await self.market.sandbox.ask("POST", "/sandbox/clock", {"advance_seconds": 90_000})
        day = "sent_at = sent_at - interval '25 hours'"
        await self.market.pool.execute(f"UPDATE transfers SET {day} WHERE sent_at IS NOT NULL AND status = 'failed'")
        await self.market.pool.execute(f"UPDATE reversals SET {day} WHERE sent_at IS NOT NULL")

    @rule()
    def time_passes(self) -> None:
        self.run(self.market.hurry())

    # -- what always holds -------------------------------------------------------------------------------------

    @invariant()
    def the_books_are_right(self) -> None:
        self.run(self._books())

    async def _books(self) -> None:
        sums = await self.market.pool.fetch("SELECT currency, sum(amount_cents) FROM ledger_entries GROUP BY 1")
        assert all(total == 0 for _, total in sums), sums
        report = await self.market.books()
        assert report.findings == []

    def teardown(self) -> None:
        if hasattr(self, "orders"):
            self.run(self._end())

    async def _end(self) -> None:
        """All that can be mended is; then everybody has what is theirs."""
        await self.market.sandbox.ask("DELETE", "/sandbox/faults")
        await self.market.sandbox.ask("POST", "/sandbox/webhooks/release")
        for order in self.orders:
            await self._tell(order)
        await self.market.connect(self.sellers["two"])
        await self._settle_all()
        for order in self.orders:
            found = await self.buyer.call("GET", f"/marketplace/orders/{order}")
            assert found["status"] in FINAL, found
        report = await self.market.report()
        assert report.findings == []
        assert "the provider's balance is the ledger's" in report.checks
        await self._everybody_has_theirs()

    async def _settle_all(self) -> None:
        for _ in range(RETRIES):
            await self.market.ask_for_payments()
            await self.market.quiet()
            self.dead = (await self.admin.call("GET", "/admin/transfers?status=dead&limit=100"))["transfers"]
            if not self.dead:
                return
            for transfer in self.dead:
                await self.admin.call("POST", f"/admin/transfers/{transfer['id']}/retry")
        # What sellers owe who spent what was to be taken back is not there for others to be paid with.
        assert self.run.owed, self.dead
        assert all("balance" in transfer["error"] for transfer in self.dead), self.dead

    async def _everybody_has_theirs(self) -> None:
        """What lies in each seller's account, by the provider's own list, is their part of what was sold and not
        returned; less only what they had spent before it was taken back.
        """
        arrived: Counter[tuple[str, str]] = Counter()
        async for sent in self.market.payments.sellers.all_sent():
            arrived[sent.account_id, sent.currency] += sent.amount_cents - sent.reversed_cents
        rows = await self.market.pool.fetch(EARNED, [seller.id for seller in self.sellers.values()])
        for row in rows:
            has = arrived[row["account_id"], row["currency"]]
            assert has >= row["cents"] or self.dead, (dict(row), has)
            assert has <= row["cents"] or self.emptied, (dict(row), has)


EARNED = """
    SELECT a.account_id, o.currency, sum(p.cents)::bigint AS cents
    FROM (
        SELECT order_id, seller_id, amount_cents - fee_cents AS cents FROM order_shares WHERE sold_at IS NOT NULL
        UNION ALL
        SELECT r.order_id, s.seller_id, s.fee_cents - s.amount_cents FROM refund_shares s
        JOIN refunds r ON r.id = s.refund_id WHERE r.status = 'succeeded'
        UNION ALL
        SELECT d.order_id, s.seller_id, s.fee_cents - s.amount_cents FROM dispute_shares s
        JOIN disputes d ON d.id = s.dispute_id WHERE d.status <> 'won'
    ) p
    JOIN orders o ON o.id = p.order_id JOIN seller_accounts a ON a.seller_id = p.seller_id
    WHERE p.seller_id = ANY ($1::uuid[]) GROUP BY 1, 2
    """


@pytest.mark.timeout(600)
async def test_every_cent_is_accounted_for_whatever_happens(market: Market) -> None:
    people = {"buyer": await market.buyer(), "admin": await market.admin()}
    run = Run(asyncio.get_running_loop())
    machine = type("Money", (MoneyMachine,), {"market": market, "run": run, "people": people})
    wanted = settings(
        max_examples=int(os.environ.get("MONEY_EXAMPLES", "6")),
        stateful_step_count=25,
        # A story that went wrong is told as it was: it would not go the same way again.
        phases=[Phase.generate],
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    # Processes are started in the main thread only, so it is the machine that runs in another.
    try:
        await asyncio.to_thread(run_state_machine_as_test, machine, settings=wanted)
    except BaseException:
        # What Hypothesis says of a story that does not go the same way twice hides what went wrong in it.
        raise run.failures[0] from None
