"""Sellers are paid exactly once, whoever is killed at whatever step of a transfer: a processor, PostgreSQL, or the
payment provider's process.
"""

import contextlib
import json
import os
import signal
from collections.abc import Callable

import asyncpg
import httpx
import psutil
import pytest
from system.books import Books
from system.market import connect, offer, order
from system.people import People, Person
from system.running import Running
from system.sandbox import Sandbox
from system.waiting import until

SELLERS = 4
ORDERS = 24
SETTLED_S = 100.0
# While the provider works on it, when it is done but not answered, and whenever that may be.
STEPS: dict[str, tuple[str, float] | None] = {
    "it is sent": ("delay", 0.3),
    "it is made and not answered": ("timeout", 1.5),
    "it comes and goes": None,
}


def processor(victim: Running) -> psutil.Process:
    return victim.actors("TransferProcessor")[0]


def postgres(victim: Running) -> psutil.Process:
    return victim.postmaster()


def provider(victim: Running) -> psutil.Process:
    for process in psutil.Process(victim.process.pid).children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if "veza.sandbox" in process.cmdline():
                return process
    raise AssertionError("no sandbox runs below `veza serve`")


@pytest.fixture(scope="module")
async def shop(victim: Running, crowd: People) -> tuple[Person, list[str]]:
    """Somebody who buys, and products of several sellers."""
    products = []
    for _ in range(SELLERS):
        seller = await crowd.register()
        await seller.call("POST", "users/me/creator")
        await connect(seller)
        products.append(await offer(seller))
    return await crowd.register(), products


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("whom", [processor, postgres, provider])
async def test_everybody_is_paid_once(
    victim: Running, shop: tuple[Person, list[str]], whom: Callable[[Running], psutil.Process], step: str
) -> None:
    buyer, products = shop
    sandbox = Sandbox(victim)
    fault = STEPS[step]
    if fault is not None:
        await sandbox.fault("transfers.create", fault[0], times=ORDERS, seconds=fault[1])
    made = [(await order(buyer, products[number % SELLERS]))["id"] for number in range(ORDERS)]
    async with Books(victim) as books:
        await until(lambda: _some_under_way(books, made), "a transfer to be under way", SETTLED_S)
        killed = whom(victim).pid
        os.kill(killed, signal.SIGKILL)
    await until(lambda: _replaced(victim, whom, killed), "another process in its place", SETTLED_S)
    await until(victim.is_ready, "the platform to be ready", SETTLED_S)
    await until(lambda: _mended(sandbox), "the sandbox to answer", SETTLED_S)
    async with Books(victim) as books:
        await until(lambda: _all_paid(books, made), "every seller to be paid", SETTLED_S)
        rows = await books.rows("SELECT id::text, amount_cents FROM transfers WHERE order_id = ANY ($1::uuid[])", made)
        assert len(rows) == ORDERS
        for transfer_id, cents in rows:
            assert [each["amount"] for each in await sandbox.sent(transfer_id)] == [cents]
        await books.agree(sandbox)
    await _proven(victim)


async def _replaced(victim: Running, whom: Callable[[Running], psutil.Process], killed: int) -> bool:
    """And PostgreSQL takes connections."""
    try:
        if whom(victim).pid == killed:
            return False
        async with Books(victim) as books:
            return bool(await books.value("SELECT true"))
    except (AssertionError, IndexError, psutil.Error, OSError, asyncpg.PostgresError):
        return False


async def _mended(sandbox: Sandbox) -> bool:
    try:
        await sandbox.mend()
    except httpx.TransportError:
        return False
    return True


async def _some_under_way(books: Books, made: list[str]) -> bool:
    count: int = await books.value(
        "SELECT count(*) FROM transfers WHERE order_id = ANY ($1::uuid[]) AND status <> 'pending'", made
    )
    return count > 0


async def _all_paid(books: Books, made: list[str]) -> bool:
    # Nobody waits for a minute here.
    await books.change("UPDATE transfers SET next_retry_at = now() WHERE status = 'failed' AND next_retry_at > now()")
    await books.change("UPDATE payout_lanes SET due_at = now() WHERE due_at > now()")
    count: int = await books.value(
        "SELECT count(*) FROM transfers WHERE order_id = ANY ($1::uuid[]) AND status = 'completed'", made
    )
    return count == len(made)


async def _proven(victim: Running) -> None:
    found = json.loads(await victim.command("ledger", "check", "-o", "json"))
    assert (found["findings"], bool(found["checks"])) == ([], True)
