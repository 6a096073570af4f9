"""One processor of transfers in a process of its own: the loop of a TransferProcessor, without Ray around it.

`python -m benchmarks.support.payout_process NAME`; `DATABASE_URL` says where the queue is, and `STRIPE_API_BASE` and
`STRIPE_KEY` where Stripe is. Without these two the provider does nothing, and answers at once.

It says `ready`, begins when it is told to (a line on its input), and at the next line ends and says what it has used.
With `alone` in place of a name there is no queue: so many calls (`CALLS`) go to Stripe, as many at once as in rounds.
"""

import asyncio
import json
import os
import resource
import sys
import time
from collections.abc import Mapping
from typing import Any, cast

import msgspec
import uvloop

from veza.actors.payout_rounds import AT_ONCE, Payouts
from veza.actors.transfer_processor import LOOK_S, POOL_SIZE, ROUNDS
from veza.config import load_settings
from veza.ids import new_id
from veza.storage import payout_queue
from veza.storage.database import open_pool
from veza.storage.payments import PayoutProvider, Sent, open_payments
from veza.storage.wakeups import TRANSFERS, Wakeups

ALONE = "alone"


class Nothing:
    """Sends nothing, and says that it did. The rest of what a provider can do is not asked of it."""

    name = "nothing"

    async def send(
        self,
        key: str,
        *,
        account_id: str,
        amount_cents: int,
        currency: str,
        group: str,
        metadata: Mapping[str, str],  # noqa: ARG002 - the provider's signature
    ) -> Sent:
        return Sent(key, account_id, amount_cents, currency, group, 0)


async def main(name: str) -> None:
    base, key = os.environ.get("STRIPE_API_BASE", ""), os.environ.get("STRIPE_KEY", "")
    settings = load_settings({}, None, keep_secrets=False)
    settings = msgspec.structs.replace(
        settings, stripe_api_base=base, stripe_secret_key=key, database_url=os.environ.get("DATABASE_URL", "")
    )
    async with open_payments(settings) as payments:
        if base:
            # The library is imported when it is first used; that is not what is measured.
            await payments.sellers.balance()
        if name == ALONE:
            await _calls(payments.sellers, int(os.environ["CALLS"]), json.loads(os.environ["ACCOUNTS"]))
            return
        provider = payments.sellers if base else cast("PayoutProvider", Nothing())
        pool = await open_pool(settings.database_url, size=POOL_SIZE, name=name)
        payouts = Payouts(name, settings, pool, provider)
        wakeups = Wakeups(settings.database_url, name, [TRANSFERS])
        listening = asyncio.create_task(wakeups.run())
        _say({"ready": True})
        await _told()
        _say({"begun": True})
        used = _used()
        stopping = asyncio.Event()
        rounds = [asyncio.create_task(_work(pool, payouts, wakeups, stopping)) for _ in range(ROUNDS)]
        told = asyncio.create_task(_told())
        await asyncio.wait([told, *rounds], return_when=asyncio.FIRST_COMPLETED)
        stopping.set()
        wakeups.wake_all()
        # A round that failed ends this process, and with it the measurement.
        count = sum(await asyncio.gather(*rounds))
        _say({"transfers": count, "cpu_seconds": _used() - used})
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
        pool.terminate()


async def _work(pool: Any, payouts: Payouts, wakeups: Wakeups, stopping: asyncio.Event) -> int:
    """As TransferProcessor._work_forever, but that nothing may fail. How many transfers it worked off."""
    count = 0
    while not stopping.is_set():
        done = await payouts.round()
        count += done
        if not done:
            due = await payout_queue.next_due(pool)
            await wakeups.wait(TRANSFERS, LOOK_S if due is None else min(max(due, 0.01), LOOK_S))
    return count


async def _calls(provider: PayoutProvider, calls: int, accounts: list[str]) -> None:
    gate = asyncio.Semaphore(AT_ONCE)

    async def send(number: int) -> None:
        transfer_id = str(new_id())
        async with gate:
            await provider.send(
                f"tr_{transfer_id}_1",
                account_id=accounts[number % len(accounts)],
                amount_cents=100,
                currency="EUR",
                group=transfer_id,
                metadata={"transfer_id": transfer_id, "order_id": str(new_id())},
            )

    _say({"ready": True})
    await _told()
    used, began = _used(), time.monotonic()
    async with asyncio.TaskGroup() as group:
        for number in range(calls):
            group.create_task(send(number))
    _say({"transfers": calls, "cpu_seconds": _used() - used, "seconds": time.monotonic() - began})


async def _told() -> None:
    await asyncio.to_thread(sys.stdin.readline)


def _used() -> float:
    found = resource.getrusage(resource.RUSAGE_SELF)
    return found.ru_utime + found.ru_stime


def _say(found: dict[str, Any]) -> None:
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1]))
