"""Transfers: how fast do sellers get what they earned?

The queue alone: 10,000 transfers are due, of 2,000 sellers or each of another, and the provider does nothing and
answers at once. One, two and four processors, each a process with the loop of a TransferProcessor and its two rounds,
work them off; Ray is not around them, since it takes no part in this. From the word to begin until all are completed.

The peer, in turns with ours, on copies of the same database: Procrastinate, a queue in PostgreSQL too, with as many
workers of 16 jobs at once, a job for each transfer. A job marks its transfer, books it and notifies its seller in one
transaction. Ours does the same in one transaction for many, and more besides: what will be sent is committed before it
is; what a seller owes is kept; one seller's transfers are in one pair of hands. Celery keeps its queue in a broker
and so cannot book in the transaction that takes a job; it is left out.

Then through Stripe's library against the payment sandbox, a process of its own on the same cores: 2,000 transfers of a
seller each, so that there are lanes for everybody; one and two processors. Beside it what a call of the library costs
when nothing else is done.
"""

import asyncio
import json
import os
import sqlite3
import sys
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import procrastinate

from benchmarks.support.databases import Server, postgres
from benchmarks.support.figures import Figure, PeerRuns
from benchmarks.support.paths import BUILD, ROOT, SOURCES
from benchmarks.support.payout_process import ALONE
from benchmarks.support.processes import Talker, cpu_seconds, talking, tree
from benchmarks.support.progress import progress
from benchmarks.support.question import Answer, Options, Question, ask
from benchmarks.support.shop import Seller, add_due_transfers
from benchmarks.support.system import free_port, new_home
from veza.sandbox.schema import SCHEMA
from veza.storage.embedded import PaymentSandbox

TRANSFERS, SELLERS = 10_000, 2_000
PROCESSORS = (1, 2, 4)
THROUGH_STRIPE, STRIPE_PROCESSORS = 2_000, (1, 2)
QUEUE_TARGET, STRIPE_TARGET = 2_000.0, 200.0
CONCURRENCY = 16
PEER = f"Procrastinate {procrastinate.__version__}"
OURS = [sys.executable, "-m", "benchmarks.support.payout_process"]
THEIRS = [sys.executable, str(SOURCES / "peers" / "procrastinate_worker.py")]
STRIPE_KEY = "sk_test_benchmark"
START_S, LONGEST_S = 30.0, 600.0
LOOK_S = 0.01

Run = dict[str, Any]


def measure(options: Options) -> Answer:
    return asyncio.run(_measure(options))


async def _measure(options: Options) -> Answer:
    BUILD.mkdir(exist_ok=True)
    count, through = options.sized(TRANSFERS, 600), options.sized(THROUGH_STRIPE, 100)
    figures: list[Figure] = []
    details: dict[str, Any] = {"concurrency": CONCURRENCY, "peer": PEER}
    with new_home() as home:
        async with postgres(home) as server:
            for sellers in (min(SELLERS, count // 5), count):
                await server.make(f"due_{sellers}", partial(_fill, sellers=sellers, transfers=count))
                found = await _queue(server, f"due_{sellers}", options.runs)
                figures += _queue_figures(found, count, sellers)
                details[f"queue, {sellers} sellers"] = found
            owners: list[Seller] = []
            await server.make("stripe", partial(_fill, sellers=through, transfers=through, owners=owners))
            found = await _stripe(server, home, owners, through, options.runs)
            figures += _stripe_figures(found, through)
            details["through Stripe's library"] = found
    return Answer(figures=figures, details=details)


async def _fill(connection: Any, sellers: int, transfers: int, owners: list[Seller] | None = None) -> None:
    """What is due, and a job for each of it."""
    found = await add_due_transfers(connection, sellers, transfers)
    if owners is not None:
        owners += found
    await connection.execute(procrastinate.schema.SchemaManager.get_schema())
    await connection.execute(
        """
        INSERT INTO procrastinate_jobs (queue_name, task_name, args)
        SELECT 'default', 'pay', jsonb_build_object('transfer_id', id) FROM transfers ORDER BY id
        """
    )


# -- the queue alone ---------------------------------------------------------------------------------------------


async def _queue(server: Server, template: str, runs: int) -> dict[str, list[Run]]:
    """By who and how many: `ours 1`, `theirs 4`."""
    found: dict[str, list[Run]] = {}
    for _ in range(runs):
        for processes in PROCESSORS:
            for who, words in (("ours", OURS), ("theirs", THEIRS)):
                run = await _drained(server, template, words, processes)
                progress(f"{template}: {who}, {processes}: {run['transfers'] / run['seconds']:,.0f} a second")
                found.setdefault(f"{who} {processes}", []).append(run)
    return found


async def _drained(
    server: Server, template: str, words: list[str], processes: int, settings: dict[str, str] | None = None
) -> Run:
    """Work off all that is due in a copy of a database. Raises RuntimeError unless everything was booked once."""
    async with server.copy(template) as name, server.connected(name) as connection:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "DATABASE_URL": server.url(name)}
        environment |= {"CONCURRENCY": str(CONCURRENCY), **(settings or {})}
        with ExitStack() as stack:
            workers = [
                stack.enter_context(talking([*words, f"processor-{number}"], env=environment))
                for number in range(processes)
            ]
            _all_ready(workers)
            before, began = server.cpu_seconds(), time.monotonic()
            for worker in workers:
                worker.ask("begin", START_S)
            await _completed(connection, workers)
            seconds = time.monotonic() - began
            database = server.cpu_seconds() - before
            ends = [worker.ask("end", START_S) for worker in workers]
        transfers = await _check(connection)
    return {
        "transfers": transfers,
        "seconds": round(seconds, 3),
        "workers_cpu_seconds": round(sum(end["cpu_seconds"] for end in ends), 3),
        "database_cpu_seconds": round(database, 3),
        "shares": [end["transfers"] for end in ends if "transfers" in end],
    }


def _all_ready(workers: Iterable[Talker]) -> None:
    for worker in workers:
        worker.read(START_S)


async def _completed(connection: Any, workers: list[Talker]) -> None:
    """Until nothing is left to be sent."""
    deadline = time.monotonic() + LONGEST_S
    while await connection.fetchval(
        "SELECT EXISTS (SELECT FROM transfers WHERE status IN ('pending', 'processing', 'failed', 'dead'))"
    ):
        if time.monotonic() > deadline:
            raise RuntimeError(f"{len(workers)} processes did not work off everything in {LONGEST_S:.0f} s")
        await asyncio.sleep(LOOK_S)


async def _check(connection: Any) -> int:
    """How many transfers were completed. Each has its movement and its notification, and sellers are owed nothing."""
    row = await connection.fetchrow(
        """
        SELECT (SELECT count(*) FROM transfers) AS transfers,
               (SELECT count(*) FROM transfers WHERE status = 'completed' AND sent_cents = amount_cents) AS completed,
               (SELECT count(*) FROM ledger_movements WHERE kind = 'transfer') AS booked,
               (SELECT count(*) FROM notifications WHERE kind = 'transfer_completed') AS told,
               (SELECT coalesce(sum(amount_cents), 0) FROM ledger_entries WHERE account = 'seller_payable') AS owed
        """
    )
    if row["owed"] or len({row["transfers"], row["completed"], row["booked"], row["told"]}) != 1:
        raise RuntimeError(f"not every transfer was booked once: {dict(row)}")
    return int(row["transfers"])


def _queue_figures(found: dict[str, list[Run]], count: int, sellers: int) -> list[Figure]:
    owners = f"of {sellers:,} sellers" if sellers < count else "of a seller each"
    return [
        Figure(
            name=f"{count:,} transfers {owners}, {processes} processor{'s' if processes > 1 else ''}",
            unit="transfers/s",
            runs=_rates(found[f"ours {processes}"]),
            peers=[PeerRuns(name=PEER, runs=_rates(found[f"theirs {processes}"]))],
            target=QUEUE_TARGET,
        )
        for processes in PROCESSORS
    ]


def _rates(runs: list[Run]) -> list[float]:
    return [run["transfers"] / run["seconds"] for run in runs]


# -- through Stripe's library ------------------------------------------------------------------------------------


async def _stripe(server: Server, home: Path, owners: list[Seller], count: int, runs: int) -> dict[str, list[Run]]:
    found: dict[str, list[Run]] = {}
    for number in range(runs):
        for processes in STRIPE_PROCESSORS:
            # A new book each time: transfers of the same names would be answered from memory.
            async with _sandbox(home / f"book-{number}-{processes}", owners) as sandbox:
                settings = {"STRIPE_API_BASE": sandbox.url, "STRIPE_KEY": STRIPE_KEY}
                with _using(sandbox) as used:
                    run = await _drained(server, "stripe", OURS, processes, settings)
            run |= used
            progress(f"through Stripe's library, {processes}: {run['transfers'] / run['seconds']:,.0f} a second")
            found.setdefault(f"ours {processes}", []).append(run)
        async with _sandbox(home / f"book-{number}-alone", owners) as sandbox:
            settings = {"STRIPE_API_BASE": sandbox.url, "STRIPE_KEY": STRIPE_KEY, "CALLS": str(count)}
            settings["ACCOUNTS"] = json.dumps([owner.account_id for owner in owners])
            environment = {**os.environ, "PYTHONPATH": str(ROOT), **settings}
            with talking([*OURS, ALONE], env=environment) as worker, _using(sandbox) as used:
                worker.read(START_S)
                run = worker.ask("begin", LONGEST_S)
            found.setdefault("the library alone", []).append(run | used)
    return found


@asynccontextmanager
async def _sandbox(home: Path, owners: list[Seller]) -> AsyncIterator[PaymentSandbox]:
    """A sandbox in whose book these sellers have accounts, and the platform money enough."""
    _write_book(home / "sandbox" / "book.sqlite", owners)
    sandbox = PaymentSandbox(
        home,
        webhook_url=f"http://127.0.0.1:{free_port()}/",
        api_key="snd_benchmark",
        stripe_key=STRIPE_KEY,
        webhook_secret="secret-of-benchmarks",
    )
    try:
        sandbox.start()
        await sandbox.ready()
        yield sandbox
    finally:
        sandbox.stop()


def _write_book(path: Path, owners: list[Seller]) -> None:
    path.parent.mkdir(parents=True)
    # What the service expects beside its book.
    (path.parents[1] / "run").mkdir()
    with sqlite3.connect(path) as book:
        book.executescript(SCHEMA)
        book.executemany(
            "INSERT INTO accounts (account_id, kind, country, metadata, onboarded, created)"
            " VALUES (?, 'express', 'FR', '{}', 1, 0)",
            [(owner.account_id,) for owner in owners],
        )
        book.execute("INSERT INTO balances VALUES ('', 'EUR', ?)", (10**12,))
    book.close()


@contextmanager
def _using(sandbox: PaymentSandbox) -> Iterator[Run]:
    """How much processor time the sandbox used in the block."""
    used: Run = {}
    processes = tree(sandbox.pid) if sandbox.pid else []
    before = cpu_seconds(processes)
    yield used
    used["sandbox_cpu_seconds"] = round(cpu_seconds(processes) - before, 3)


def _stripe_figures(found: dict[str, list[Run]], count: int) -> list[Figure]:
    figures = [
        Figure(
            name=f"{count:,} transfers through Stripe's library, {processes} processor{'s' if processes > 1 else ''}",
            unit="transfers/s of each processor",
            runs=[rate / processes for rate in _rates(found[f"ours {processes}"])],
            target=STRIPE_TARGET,
        )
        for processes in STRIPE_PROCESSORS
    ]
    alone = found["the library alone"]
    return [
        *figures,
        Figure(name="Stripe's library alone, one process", unit="calls/s", runs=_rates(alone)),
        Figure(
            name="processor time of a call of Stripe's library alone",
            unit="ms",
            runs=[1000 * run["cpu_seconds"] / run["transfers"] for run in alone],
        ),
    ]


QUESTION = Question("transfers", "How fast do sellers get what they earned?", measure, runs=3)

if __name__ == "__main__":
    ask(QUESTION)
