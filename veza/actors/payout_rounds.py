"""The work of a TransferProcessor: claim what is due, ask the provider for it, write down what came of it."""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, TypeVar
from uuid import UUID

import asyncpg
import msgspec

from veza import metrics
from veza.config import Settings
from veza.realtime import transfer as rules
from veza.realtime.breaker import Breaker
from veza.realtime.transfer import Answer, Attempt, TransferStatus
from veza.storage import payout_queue, payout_results, sellers
from veza.storage.database import FAILURES
from veza.storage.payments import (
    OutcomeUnknown,
    PayoutProvider,
    ProviderBusy,
    ProviderError,
    ProviderRefused,
    ProviderUnreachable,
)
from veza.storage.payout_queue import Claim, Due, Payout, Takeback
from veza.storage.payout_results import Paid, Unpaid

log = logging.getLogger(__name__)

LANES = 64
A_LANE = 16
# Requests to the provider at once.
AT_ONCE = 16
# Nothing is sent in the last part of a lease: a request takes up to ten seconds, and a process may be held up.
MARGIN_S = 20.0
LEASE_S = payout_queue.LEASE.total_seconds()
HEARTBEAT_S = LEASE_S / 4
RETRY_S = 0.5
# What the provider has done and our own rules refuse to book is looked at again after this long, and alerts again.
UNBOOKABLE_S = 3600.0

T = TypeVar("T")


class Held:
    """How long leases hold, by this process's own clock, which counted from before they were asked for."""

    def __init__(self, leases: Mapping[UUID, int], since: float) -> None:
        self.leases = dict(leases)
        self._until = dict.fromkeys(self.leases, since + LEASE_S)

    def renewed(self, sellers: set[UUID], since: float) -> None:
        self._until = {seller: since + LEASE_S for seller in self._until if seller in sellers}

    def safe(self, seller: UUID, now: float) -> bool:
        """Whether there is time enough to send something."""
        return now + MARGIN_S < self._until.get(seller, 0.0)


class Payouts:
    """`round` does once what is to be done. Several of its rounds may run at once, here and elsewhere."""

    def __init__(self, name: str, settings: Settings, pool: Any, provider: PayoutProvider) -> None:
        self.breaker = Breaker()
        self._name = name
        self._retry = settings.transfer_retry_enabled
        self._base_seconds = settings.transfer_retry_base_seconds
        self._pool = pool
        self._provider = provider
        self._requests = asyncio.Semaphore(AT_ONCE)
        # From the start on, for Prometheus sees no increase in a series that begins at 1.
        for answer in (*Answer, "found", "not_found"):
            metrics.TRANSFERS.labels(answer)
        for answer in ("made", Answer.REFUSED, Answer.UNKNOWN, Answer.ANSWERED, Answer.UNSENT):
            metrics.REVERSALS.labels(answer)
        for call in ("send", "find", "reverse", "account"):
            metrics.PROVIDER_SECONDS.labels(call)

    async def round(self) -> int:
        """Claim, send and write down; returns how many things were claimed. Raises one of FAILURES when the database
        is away: the leases end by themselves then.
        """
        since = time.monotonic()
        whole = self.breaker.closed
        claim = await payout_queue.claim(
            self._pool, self._name, lanes=LANES if whole else 1, a_lane=A_LANE if whole else 1
        )
        if not claim.lanes:
            return 0
        held = Held(claim.lanes, since)
        heartbeat = asyncio.create_task(self._renew(held), name=f"{self._name} heartbeat")
        try:
            await self._work(claim, held)
        finally:
            heartbeat.cancel()
            await asyncio.gather(heartbeat, return_exceptions=True)
        await payout_queue.release(self._pool, claim.lanes)
        return len(claim.payouts) + len(claim.takebacks)

    async def _renew(self, held: Held) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_S)
            since = time.monotonic()
            try:
                held.renewed(await payout_queue.renew(self._pool, held.leases), since)
            except FAILURES as error:
                log.warning("leases not renewed", extra={"reason": type(error).__name__})

    async def _work(self, claim: Claim, held: Held) -> None:
        writer = _Writer(self._pool)
        writing = asyncio.create_task(writer.run(), name=f"{self._name} results")
        try:
            async with asyncio.TaskGroup() as group:
                for payout in claim.payouts:
                    group.create_task(self._pay(payout, held, writer))
                for takeback in claim.takebacks:
                    group.create_task(self._take_back_alone(takeback, held))
        finally:
            writer.end()
            await writing

    # -- transfers -------------------------------------------------------------------------------------------

    async def _pay(self, payout: Payout, held: Held, writer: "_Writer") -> None:
        async with self._requests:
            result = await self._outcome(payout, held)
        writer.add(result)

    async def _outcome(self, payout: Payout, held: Held) -> Paid | Unpaid:
        if not payout.amount_cents:
            return Paid(payout, None, 0)
        try:
            found = await self._ask(payout) if payout.ask and not self._leave_alone(payout, held) else None
            if found is not None:
                return found
            if self._leave_alone(payout, held):
                pause = self.breaker.waits(time.monotonic())
                return Unpaid(payout, payout.attempt, TransferStatus.PENDING, pause, None)
            return await self._send(payout)
        except ProviderRefused as error:
            return await self._after_refusal(payout, error)
        except ProviderError as error:
            return self._refused(payout, error)

    async def _send(self, payout: Payout) -> Paid:
        sent = await self._timed(
            "send",
            self._provider.send(
                rules.key(payout.id, payout.attempt.number),
                account_id=payout.account_id,
                amount_cents=payout.amount_cents,
                currency=payout.currency,
                group=str(payout.id),
                metadata={"transfer_id": str(payout.id), "order_id": str(payout.order_id)},
            ),
        )
        metrics.TRANSFERS.labels("paid").inc()
        return Paid(payout, sent.provider_id, sent.amount_cents)

    async def _ask(self, payout: Payout) -> Paid | Unpaid | None:
        """What the provider knows of a transfer that it may have made before; None when it can be sent now."""
        try:
            found = await self._timed("find", self._provider.find_sent(str(payout.id)))
        except ProviderRefused as error:
            # That a question was refused says nothing of the transfer.
            raise ProviderBusy(error.message) from error
        except OutcomeUnknown as error:
            raise ProviderUnreachable(error.message) from error
        if found is not None:
            metrics.TRANSFERS.labels("found").inc()
            return Paid(payout, found.provider_id, found.amount_cents)
        if not payout.forgotten:
            return None
        metrics.TRANSFERS.labels("not_found").inc()
        return Unpaid(
            payout, rules.not_found(payout.attempt), TransferStatus.PENDING, 0.0, "The provider knows nothing of it."
        )

    async def _after_refusal(self, payout: Payout, error: ProviderRefused) -> Unpaid:
        """Where the account can be paid no more, the seller waits, as one without an account."""
        result = self._refused(payout, error)
        try:
            account = await self._timed("account", self._provider.account(payout.account_id))
        except ProviderError as failure:
            log.warning("account not looked at", extra={"reason": failure.message})
            return result
        if account.payouts_enabled:
            return result
        await _written(
            partial(
                sellers.checked,
                self._pool,
                payout.account_id,
                details_submitted=account.details_submitted,
                payouts_enabled=False,
            )
        )
        attempt = msgspec.structs.replace(result.attempt, retry_count=payout.attempt.retry_count)
        return Unpaid(payout, attempt, TransferStatus.PENDING, 0.0, error.message)

    def _refused(self, payout: Payout, error: ProviderError) -> Unpaid:
        answer = _answer(error)
        metrics.TRANSFERS.labels(answer.value).inc()
        before = payout.attempt
        if answer is not Answer.UNSENT:
            before = rules.sending(before, time.time())
        attempt = rules.after(before, answer)
        status = rules.status_after(attempt)
        log.warning(
            "transfer not made",
            extra={"transfer": str(payout.id), "answer": answer.value, "tries": attempt.retry_count},
        )
        wait = self._wait(attempt, error) if status is TransferStatus.FAILED and self._retry else None
        return Unpaid(payout, attempt, status, wait, error.message)

    # -- reversals -------------------------------------------------------------------------------------------

    async def _take_back_alone(self, takeback: Takeback, held: Held) -> None:
        """Whatever goes wrong with it is of no other's concern."""
        try:
            await self._take_back(takeback, held)
        except asyncpg.IntegrityConstraintViolationError as error:
            log.exception("reversal not booked", extra={"reversal": str(takeback.id)}, exc_info=error)
            metrics.PAYMENT_ALERTS.labels("transfer_not_booked").inc()
            attempt = rules.sending(takeback.attempt, time.time())
            await self._postpone(takeback, attempt, UNBOOKABLE_S, "It was made, and cannot be booked.")
        except FAILURES as error:
            # Its lease ends, and whoever is next finds it made or not.
            log.warning("reversal not written down", extra={"reason": type(error).__name__})

    async def _take_back(self, takeback: Takeback, held: Held) -> None:
        async with self._requests:
            if self._leave_alone(takeback, held):
                wait = self.breaker.waits(time.monotonic())
                await self._postpone(takeback, takeback.attempt, wait, None)
                return
            try:
                provider_id = await self._reversed(takeback)
            except ProviderError as error:
                await self._not_reversed(takeback, error)
                return
        if provider_id is None:
            await self._postpone(takeback, rules.not_found(takeback.attempt), 0.0, "The provider knows nothing of it.")
            return
        metrics.REVERSALS.labels("made").inc()
        await _written(partial(payout_results.taken_back, self._pool, takeback, provider_id))

    async def _reversed(self, takeback: Takeback) -> str | None:
        """The provider's name for it; None when it was asked for before, and is not there."""
        if takeback.ask:
            try:
                made = await self._timed("find", self._provider.reversals(takeback.provider_id))
            except ProviderError as error:
                raise ProviderUnreachable(error.message) from error
            for reversal in made:
                if reversal.metadata.get("reversal_id") == str(takeback.id):
                    return reversal.reversal_id
            if takeback.forgotten:
                return None
        reversal = await self._timed(
            "reverse",
            self._provider.reverse(
                f"rv_{takeback.id.hex}_{takeback.attempt.number}",
                takeback.provider_id,
                amount_cents=takeback.amount_cents,
                metadata={"reversal_id": str(takeback.id)},
            ),
        )
        return reversal.reversal_id

    async def _not_reversed(self, takeback: Takeback, error: ProviderError) -> None:
        answer = _answer(error)
        metrics.REVERSALS.labels(answer.value).inc()
        log.warning("reversal not made", extra={"reversal": str(takeback.id), "answer": answer.value})
        if answer is Answer.REFUSED:
            await _written(partial(payout_results.not_taken_back, self._pool, takeback, error.message))
            return
        before = takeback.attempt if answer is Answer.UNSENT else rules.sending(takeback.attempt, time.time())
        attempt = rules.after(before, answer)
        await self._postpone(takeback, attempt, self._wait(attempt, error), error.message)

    async def _postpone(self, takeback: Takeback, attempt: Attempt, wait: float, error: str | None) -> None:
        await _written(partial(payout_results.postponed, self._pool, takeback, attempt, wait, error))

    # -- both ------------------------------------------------------------------------------------------------

    def _leave_alone(self, due: Due, held: Held) -> bool:
        now = time.monotonic()
        return self.breaker.waits(now) > 0 or not held.safe(due.seller_id, now)

    async def _timed(self, call: str, request: Awaitable[T]) -> T:
        """What the provider answers. The breaker hears of it, and so do the metrics."""
        began = time.monotonic()
        try:
            found = await request
        except ProviderRefused:
            self.breaker.succeeded()
            raise
        except ProviderError:
            self.breaker.failed(time.monotonic())
            raise
        finally:
            metrics.PROVIDER_SECONDS.labels(call).observe(time.monotonic() - began)
        self.breaker.succeeded()
        return found

    def _wait(self, attempt: Attempt, error: ProviderError) -> float:
        wait = rules.backoff(attempt.retry_count, self._base_seconds, random.random())  # noqa: S311 - no secret
        return max(wait, getattr(error, "retry_after", None) or 0.0)


def _answer(error: ProviderError) -> Answer:
    match error:
        case ProviderRefused():
            return Answer.REFUSED
        case OutcomeUnknown():
            return Answer.ANSWERED if error.answered else Answer.UNKNOWN
    return Answer.UNSENT


async def _written(write: Callable[[], Awaitable[T]]) -> T:
    """Write a result down, however often that takes while a lease can last: it is not to be had again."""
    last = time.monotonic() + LEASE_S
    while True:
        try:
            return await write()
        except asyncpg.IntegrityConstraintViolationError:
            raise
        except FAILURES as error:
            if time.monotonic() > last:
                raise
            log.warning("result not written down yet", extra={"reason": type(error).__name__})
            await asyncio.sleep(RETRY_S)


class _Writer:
    """Writes results of transfers down: all that have come meanwhile, in one transaction."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool
        self._results: list[Paid | Unpaid] = []
        self._more = asyncio.Event()
        self._ended = False

    def add(self, result: Paid | Unpaid) -> None:
        self._results.append(result)
        self._more.set()

    def end(self) -> None:
        self._ended = True
        self._more.set()

    async def run(self) -> None:
        """Until the end, and all is written."""
        while not self._ended or self._results:
            await self._more.wait()
            self._more.clear()
            results, self._results = self._results, []
            await self._write_paid([each for each in results if isinstance(each, Paid)])
            for each in results:
                if isinstance(each, Unpaid):
                    await _written(partial(payout_results.unpaid, self._pool, each))

    async def _write_paid(self, paid: list[Paid]) -> None:
        if not paid:
            return
        try:
            await _written(partial(payout_results.paid, self._pool, paid))
        except asyncpg.IntegrityConstraintViolationError as error:
            if len(paid) > 1:
                # One that cannot be booked must not keep the others from it.
                for each in paid:
                    await self._write_paid([each])
                return
            log.exception("transfer not booked", extra={"transfer": str(paid[0].payout.id)}, exc_info=error)
            metrics.PAYMENT_ALERTS.labels("transfer_not_booked").inc()
            attempt = rules.sending(paid[0].payout.attempt, time.time())
            said = "It was sent, and cannot be booked."
            later = Unpaid(paid[0].payout, attempt, TransferStatus.FAILED, UNBOOKABLE_S, said)
            await _written(partial(payout_results.unpaid, self._pool, later))
