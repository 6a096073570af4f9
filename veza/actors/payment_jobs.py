"""The JobRunner's work about money: webhooks, refunds, and what nobody tells us of unless we ask."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Iterable
from datetime import timedelta
from typing import Any, TypeVar

import asyncpg

from veza import metrics
from veza.actors.tasks import TaskSet
from veza.errors import InvalidArgument
from veza.realtime import payment_events
from veza.realtime.order import Verdict
from veza.realtime.transfer import backoff
from veza.storage import jobs, ledger, payment_inbox, refund_results, sales, sellers, webhooks
from veza.storage.database import FAILURES
from veza.storage.payments import (
    Payment,
    PaymentProvider,
    Payments,
    PaymentStatus,
    ProviderError,
    ProviderRefused,
    Refund,
)
from veza.storage.refund_results import DueRefund
from veza.storage.wakeups import REFUNDS, WEBHOOKS, Wakeups
from veza.storage.webhooks import DueWebhook

log = logging.getLogger(__name__)

BATCH = 50
AT_ONCE = 4
# Whoever claimed something and died leaves it for so long.
LEASE = timedelta(seconds=60)
LOOK_S = 5.0
AWAY_S = 1.0
# An event that came before what it is about looks again after this long, then twice as long each time.
WEBHOOK_BASE_S = 0.25
WEBHOOK_MOST_S = 600.0
REFUND_BASE_S = 2.0
EXPIRE_EVERY_S = 10.0
RECONCILE_EVERY_S = 20.0
ACCOUNTS_EVERY_S = 3.0
CLOSE_EVERY_S = 900.0
# A seller who has just come back from the provider should not wait for long.
ACCOUNT_AGE = timedelta(seconds=2)

# Of a payment or dispute that is not what was charged; of a refund that was made after it had failed; and others.
ALERTS = ("payment", "dispute", "refund", "unknown_payment", "refund_failed", "webhook_failed", "transfer_not_booked")

T = TypeVar("T")


class PaymentJobs:
    """`start` begins all of it in `tasks`. Two of these at once do no harm: rows are claimed."""

    def __init__(self, pool: Any, payments: Payments, wakeups: Wakeups) -> None:
        self._pool = pool
        self._payments = payments
        self._wakeups = wakeups

    def start(self, tasks: TaskSet) -> None:
        # From the start on, for Prometheus sees no increase in a series that begins at 1.
        for reason in ALERTS:
            metrics.PAYMENT_ALERTS.labels(reason)
        for verdict in Verdict:
            metrics.PAYMENT_WEBHOOKS.labels(verdict)
        tasks.start(self._worked_off(WEBHOOKS, self._webhooks, webhooks.take_over), "webhooks")
        tasks.start(self._worked_off(REFUNDS, self._refunds, refund_results.take_over), "refunds")
        tasks.start(self._every("expire_orders", EXPIRE_EVERY_S, self._expire), "expire orders")
        tasks.start(self._every("reconcile_payments", RECONCILE_EVERY_S, self._reconcile), "reconcile payments")
        tasks.start(self._every("close_ledger", CLOSE_EVERY_S, self._close), "close ledger")
        tasks.start(self._every("check_seller_accounts", ACCOUNTS_EVERY_S, self._check_accounts), "seller accounts")

    async def _worked_off(
        self, channel: str, batch: Callable[[], Awaitable[int]], take_over: Callable[[Any], Awaitable[None]]
    ) -> None:
        """A queue, whenever there may be something in it; at first what a JobRunner before this one had begun."""
        taken_over = False
        while True:
            try:
                if not taken_over:
                    await take_over(self._pool)
                    taken_over = True
                if not await batch():
                    await self._wakeups.wait(channel, LOOK_S)
            except FAILURES as error:
                log.warning("queue not worked off", extra={"queue": channel, "reason": type(error).__name__})
                await asyncio.sleep(AWAY_S)

    async def _every(self, name: str, seconds: float, job: Callable[[], Awaitable[int]]) -> None:
        """A job now and then, with a note of how it went."""
        while True:
            done, error = 0, None
            try:
                await jobs.started(self._pool, name)
                try:
                    done = await job()
                except ProviderError as failure:
                    error = failure.message
                await jobs.finished(self._pool, name, done, error)
                metrics.JOB_RUNS.labels(name, "failed" if error else "succeeded").inc()
            except FAILURES as failure:
                log.warning("job not run", extra={"job": name, "reason": type(failure).__name__})
                metrics.JOB_RUNS.labels(name, "failed").inc()
                done = 0
            if done < BATCH:
                await asyncio.sleep(seconds)

    # -- webhooks --------------------------------------------------------------------------------------------

    async def _webhooks(self) -> int:
        due = await webhooks.claim(self._pool, BATCH, LEASE)
        await _side_by_side(self._webhook, due)
        return len(due)

    async def _webhook(self, webhook: DueWebhook) -> None:
        try:
            event = payment_events.read(webhook.body)
        except InvalidArgument as error:
            await webhooks.finish(self._pool, webhook.id, "ignored", error.message)
            return
        try:
            did = await payment_inbox.apply(self._pool, event)
        except payment_inbox.NotYet as error:
            await self._not_yet(webhook, str(error))
            return
        except asyncpg.TransactionRollbackError as error:
            # Of two that waited for each other PostgreSQL ended this one. The other is done by now.
            await webhooks.put_off(self._pool, webhook.id, 0.0, type(error).__name__)
            return
        except asyncpg.IntegrityConstraintViolationError as error:
            log.exception("webhook breaks a rule", extra={"webhook": str(webhook.id)}, exc_info=error)
            metrics.PAYMENT_ALERTS.labels("webhook_failed").inc()
            await webhooks.finish(self._pool, webhook.id, "failed", type(error).__name__)
            return
        except FAILURES:
            raise
        except Exception as error:
            # A bug of ours, which must not keep every other webhook from being worked off.
            log.exception("webhook not worked off", extra={"webhook": str(webhook.id)}, exc_info=error)
            metrics.PAYMENT_ALERTS.labels("webhook_failed").inc()
            await self._not_yet(webhook, type(error).__name__)
            return
        metrics.PAYMENT_WEBHOOKS.labels(did).inc()
        if did == Verdict.ALERT:
            _call_for_a_person(event.name.partition(".")[0], event.payment_id)
        await webhooks.finish(self._pool, webhook.id, "ignored" if did == "ignore" else "processed", did)

    async def _not_yet(self, webhook: DueWebhook, reason: str) -> None:
        if webhook.old:
            log.error("webhook is of nothing known", extra={"webhook": str(webhook.id), "reason": reason})
            metrics.PAYMENT_ALERTS.labels("unknown_payment").inc()
            await webhooks.finish(self._pool, webhook.id, "failed", reason)
        else:
            wait = min(backoff(webhook.tries, WEBHOOK_BASE_S, 0.0), WEBHOOK_MOST_S)
            await webhooks.put_off(self._pool, webhook.id, wait, reason)

    # -- refunds ---------------------------------------------------------------------------------------------

    async def _refunds(self) -> int:
        due = await refund_results.claim(self._pool, BATCH, LEASE)
        await _side_by_side(self._refund, due)
        return len(due)

    async def _refund(self, due: DueRefund) -> None:
        """Ask for it by its name, which does it once, however often it is asked for."""
        try:
            made = await self._buyers.refund(
                due.refund_id, payment_id=due.payment_id, amount_cents=due.amount_cents, reason="requested_by_customer"
            )
        except ProviderRefused as error:
            await self._refund_refused(due, error.message)
            return
        except ProviderError as error:
            await self._later(due, error.message)
            return
        await self._refund_is(due, made)

    async def _refund_refused(self, due: DueRefund, said: str) -> None:
        """It may have been made by an earlier request, whose answer was lost: only what the provider knows counts."""
        try:
            found = await self._buyers.find_refund(due.refund_id)
        except ProviderError as error:
            await self._later(due, error.message)
            return
        if found is None:
            await self._refund_failed(due, said)
        else:
            await self._refund_is(due, found)

    async def _refund_is(self, due: DueRefund, made: Refund) -> None:
        match made.status:
            case PaymentStatus.SUCCEEDED:
                await refund_results.succeeded(self._pool, due.id)
            case PaymentStatus.FAILED:
                await self._refund_failed(due, made.error or "The provider could not give the money back.")
            case PaymentStatus.PROCESSING:
                await self._later(due, None)

    async def _refund_failed(self, due: DueRefund, error: str) -> None:
        log.error("refund failed", extra={"refund": due.refund_id, "reason": error})
        metrics.PAYMENT_ALERTS.labels("refund_failed").inc()
        await refund_results.failed(self._pool, due.id, error)

    async def _later(self, due: DueRefund, error: str | None) -> None:
        wait = backoff(due.retry_count + 1, REFUND_BASE_S, random.random())  # noqa: S311 - no secret
        await refund_results.postpone(self._pool, due.id, wait, error)

    # -- now and then ----------------------------------------------------------------------------------------

    @property
    def _buyers(self) -> PaymentProvider:
        return self._payments.buyers

    async def _expire(self) -> int:
        return await sales.expire(self._pool, BATCH)

    async def _close(self) -> int:
        return await ledger.close(self._pool)

    async def _reconcile(self) -> int:
        """Ask for payments of which no webhook told."""
        return await self._each(await sales.unheard(self._pool, BATCH), self._ask_for)

    async def _ask_for(self, payment_id: str) -> None:
        found = await self._buyers.find(payment_id)
        if found is None:
            await sales.failed(self._pool, payment_id, "The payment never reached the provider.")
        else:
            await self._payment_is(payment_id, found)

    async def _payment_is(self, payment_id: str, found: Payment) -> None:
        match found.status:
            case PaymentStatus.SUCCEEDED:
                did = await sales.succeeded(self._pool, payment_id, found.amount_cents, found.currency)
                if did is Verdict.ALERT:
                    _call_for_a_person("payment", payment_id)
            case PaymentStatus.FAILED:
                await sales.failed(self._pool, payment_id, found.error)
            case PaymentStatus.PROCESSING:
                await sales.answered(
                    self._pool, payment_id, client_secret=found.client_secret, redirect_url=found.redirect_url
                )

    async def _check_accounts(self) -> int:
        """See whether sellers who could not be paid can be now."""
        return await self._each(await sellers.to_check(self._pool, BATCH, ACCOUNT_AGE), self._check_account)

    async def _check_account(self, account_id: str) -> None:
        account = await self._payments.sellers.account(account_id)
        await sellers.checked(
            self._pool,
            account_id,
            details_submitted=account.details_submitted,
            payouts_enabled=account.payouts_enabled,
        )

    async def _each(self, names: list[str], ask: Callable[[str], Awaitable[None]]) -> int:
        """Ask the provider for each. One that it cannot say keeps no other from being asked for; the first such is
        raised in the end.
        """
        errors: list[ProviderError] = []

        async def one(name: str) -> None:
            try:
                await ask(name)
            except ProviderError as error:
                errors.append(error)

        await _side_by_side(one, names)
        if errors:
            raise errors[0]
        return len(names)


def _call_for_a_person(reason: str, payment_id: str) -> None:
    log.error("payment needs a person", extra={"reason": reason, "payment": payment_id})
    metrics.PAYMENT_ALERTS.labels(reason).inc()


async def _side_by_side(work: Callable[[T], Awaitable[None]], things: Iterable[T]) -> None:
    """Some at a time; what fails, fails alone, and the first failure is raised when all are done."""
    limit = asyncio.Semaphore(AT_ONCE)

    async def one(thing: T) -> None:
        async with limit:
            await work(thing)

    for outcome in await asyncio.gather(*(one(thing) for thing in things), return_exceptions=True):
        if isinstance(outcome, BaseException):
            raise outcome
