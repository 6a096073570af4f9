"""The control log against a real server: every event arrives once, whatever happens to the connection."""

import asyncio
from typing import Any
from uuid import uuid4

import pytest
from gateways import following, until

from veza.storage import control_log
from veza.storage.control_log import ControlEvent, ControlKind, ControlReader
from veza.storage.database import transaction

KILL = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'veza control reader'"


def event() -> ControlEvent:
    return ControlEvent(ControlKind.USER_CHANGED, str(uuid4()))


class Listener:
    """Notes what it is handed; fails on purpose as often as told."""

    def __init__(self, failures: int = 0) -> None:
        self.heard: list[ControlEvent] = []
        self.failures = failures

    async def __call__(self, event: ControlEvent) -> None:
        if self.failures:
            self.failures -= 1
            raise ConnectionError
        self.heard.append(event)


@pytest.fixture(autouse=True)
async def empty_log(pool: Any) -> None:
    await pool.execute("TRUNCATE control_log RESTART IDENTITY")


async def test_events_arrive_once_and_in_order(pool: Any, database_url: str) -> None:
    await control_log.append(pool, event())
    listener = Listener()
    async with following(ControlReader(database_url, listener)):
        sent = [event() for _ in range(5)]
        for one in sent:
            await control_log.append(pool, one)
        await until(lambda: len(listener.heard) >= 5)
        await control_log.append(pool, last := event())
        await until(lambda: last in listener.heard)
    assert listener.heard == [*sent, last]


async def test_an_event_of_a_transaction_that_is_undone_never_arrives(pool: Any, database_url: str) -> None:
    listener = Listener()
    async with following(ControlReader(database_url, listener)):
        async with pool.acquire() as connection:
            undone = connection.transaction()
            await undone.start()
            await control_log.append(connection, event())
            await undone.rollback()
        await control_log.append(pool, last := event())
        await until(lambda: last in listener.heard)
    assert listener.heard == [last]


async def test_events_become_visible_in_the_order_of_their_ids(pool: Any, database_url: str) -> None:
    listener = Listener()
    async with following(ControlReader(database_url, listener)):
        async with transaction(pool) as connection:
            await control_log.append(connection, first := event())
            second = event()
            waiting = asyncio.create_task(control_log.append(pool, second))
            # The second writer waits for the first to commit, or its row would be read first.
            await until_locked(pool)
            assert not waiting.done()
        await waiting
        await until(lambda: second in listener.heard)
    assert listener.heard == [first, second]


async def test_an_event_of_a_newer_version_is_passed_over(pool: Any, database_url: str) -> None:
    listener = Listener()
    async with following(ControlReader(database_url, listener)):
        await pool.execute("INSERT INTO control_log (kind, subject) VALUES ('of_the_future', 'x')")
        await control_log.append(pool, known := event())
        await until(lambda: known in listener.heard)
    assert listener.heard == [known]


async def until_locked(pool: Any) -> None:
    """Wait until somebody waits for the writers' lock."""
    async with asyncio.timeout(10):
        while not await pool.fetchval(
            "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted)"
        ):
            await asyncio.sleep(0)


async def test_nothing_is_missed_while_the_connection_is_lost(pool: Any, database_url: str) -> None:
    listener = Listener()
    async with following(ControlReader(database_url, listener)):
        # The log is empty so far: what comes next must not be taken for the past.
        await pool.execute(KILL)
        await control_log.append(pool, one := event())
        await until(lambda: one in listener.heard)
    assert listener.heard == [one]


async def test_an_event_that_could_not_be_handled_comes_again(pool: Any, database_url: str) -> None:
    listener = Listener(failures=1)
    async with following(ControlReader(database_url, listener)):
        await control_log.append(pool, one := event())
        await until(lambda: one in listener.heard)
    assert listener.heard == [one]


async def test_what_is_kept_is_renewed_with_each_connection_before_the_events(pool: Any, database_url: str) -> None:
    story: list[str] = []
    reachable = asyncio.Event()
    reachable.set()

    async def handle(one: ControlEvent) -> None:
        story.append(one.subject)

    async def renew() -> None:
        if not reachable.is_set():
            story.append("failed")
            raise ConnectionError
        story.append("renewed")

    async with following(ControlReader(database_url, handle, renew)):
        await control_log.append(pool, first := event())
        await until(lambda: first.subject in story)
        reachable.clear()
        await pool.execute(KILL)
        await control_log.append(pool, second := event())
        await until(lambda: "failed" in story)
        assert second.subject not in story
        reachable.set()
        await until(lambda: second.subject in story)
    assert [each for each in story if each != "failed"] == ["renewed", first.subject, "renewed", second.subject]
