"""Idempotency keys over HTTP: work is done once for a key, whatever is retried."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from gateways import Gateway, serving, until
from people import refused, registered

from veza.errors import Conflict, Unavailable
from veza.http.context import Context
from veza.http.health import Health
from veza.http.routing import Resource
from veza.storage.passwords import Passwords

work = Resource("work", "Something that must be done once.")


class Order(msgspec.Struct, frozen=True):
    what: str


class Done(msgspec.Struct, frozen=True):
    number: int


class Worker:
    """Counts what is done, and can be held or made to fail."""

    def __init__(self) -> None:
        self.done = 0
        self.may_go = asyncio.Event()
        self.may_go.set()
        self.failures: list[Exception] = []
        self.clients: list[Any] = []  # the connections that asked, first to last


worker = Worker()


@work.post("/work", status=201, errors=(Conflict,), idempotent=True)
async def do(ctx: Context, body: Order) -> Done:
    """Do it."""
    assert ctx.principal
    assert body.what
    worker.clients.append(ctx.request.conn_info)
    await worker.may_go.wait()
    if worker.failures:
        raise worker.failures.pop()
    worker.done += 1
    return Done(worker.done)


@pytest.fixture
async def works(gateway: Gateway) -> AsyncIterator[Gateway]:
    worker.__init__()  # type: ignore[misc]
    services = dataclasses.replace(gateway.services, passwords=Passwords(), health=Health())
    async with serving(services, work) as served:
        yield served


async def order(gateway: Gateway, token: str, key: str, what: str = "x") -> Any:
    headers = {"Idempotency-Key": key}
    return await gateway.call("POST", "/work", token=token, json={"what": what}, headers=headers)


async def test_the_same_request_is_answered_alike_and_done_once(works: Gateway) -> None:
    token = (await registered(works))["access_token"]
    first = await order(works, token, "k1")
    again = await order(works, token, "k1")
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.content == again.content
    assert again.headers["Idempotent-Replayed"] == "true"
    assert worker.done == 1


async def test_another_body_under_the_key_is_a_conflict(works: Gateway) -> None:
    token = (await registered(works))["access_token"]
    await order(works, token, "k1")
    refused(await order(works, token, "k1", "y"), 409, "conflict")
    assert worker.done == 1


async def test_keys_of_two_people_do_not_meet(works: Gateway) -> None:
    tokens = [(await registered(works))["access_token"] for _ in range(2)]
    assert [(await order(works, token, "k1")).status_code for token in tokens] == [201, 201]
    assert worker.done == 2


async def test_a_retry_while_the_first_is_at_work_waits_its_turn(works: Gateway) -> None:
    token = (await registered(works))["access_token"]
    worker.may_go.clear()
    first = asyncio.create_task(order(works, token, "k1"))
    pool = works.services.pool
    async with asyncio.timeout(10):
        while not await pool.fetchval("SELECT count(*) FROM idempotency_keys WHERE status IS NULL"):
            await asyncio.sleep(0)
    refused(await order(works, token, "k1"), 503, "unavailable")
    worker.may_go.set()
    assert (await first).status_code == 201
    assert (await order(works, token, "k1")).content == (await first).content
    assert worker.done == 1


async def test_who_hangs_up_finds_the_first_answer_on_return(works: Gateway) -> None:
    token = (await registered(works))["access_token"]
    worker.may_go.clear()
    first = asyncio.create_task(order(works, token, "k1"))
    await until(lambda: bool(worker.clients))
    first.cancel()
    await until(lambda: worker.clients[0].lost)
    refused(await order(works, token, "k1"), 503, "unavailable")
    worker.may_go.set()
    answers: list[Any] = []

    async def answered() -> bool:
        answers.append(await order(works, token, "k1"))
        return answers[-1].status_code != 503

    await until(answered)
    assert answers[-1].json() == {"success": True, "data": {"number": 1}}
    assert answers[-1].headers["Idempotent-Replayed"] == "true"
    assert (worker.done, len(worker.clients)) == (1, 1)


async def test_who_is_gone_when_it_fails_may_try_again(works: Gateway) -> None:
    token = (await registered(works))["access_token"]
    worker.may_go.clear()
    worker.failures = [RuntimeError("as a bug would")]
    first = asyncio.create_task(order(works, token, "k1"))
    await until(lambda: bool(worker.clients))
    first.cancel()
    await until(lambda: worker.clients[0].lost)
    worker.may_go.set()

    async def answered() -> bool:
        return bool((await order(works, token, "k1")).status_code == 201)

    await until(answered)
    assert worker.done == 1


async def test_a_definite_refusal_is_kept_and_a_passing_failure_is_not(works: Gateway) -> None:
    token = (await registered(works))["access_token"]
    worker.failures = [Conflict()]
    refused(await order(works, token, "k1"), 409, "conflict")
    refused(await order(works, token, "k1"), 409, "conflict")
    worker.failures = [Unavailable()]
    refused(await order(works, token, "k2"), 503, "unavailable")
    assert (await order(works, token, "k2")).status_code == 201
    assert worker.done == 1


async def test_a_key_whose_process_died_is_taken_over(works: Gateway) -> None:
    token = (await registered(works))["access_token"]
    assert (await order(works, token, "k1")).status_code == 201
    await works.services.pool.execute(
        "UPDATE idempotency_keys SET status = NULL, body = NULL, started_at = now() - interval '2 minutes'"
    )
    assert (await order(works, token, "k1")).status_code == 201
    assert worker.done == 2


@pytest.mark.parametrize("key", ["", "a b", "x" * 129])
async def test_a_malformed_key_is_refused(works: Gateway, key: str) -> None:
    token = (await registered(works))["access_token"]
    refused(await order(works, token, key), 400, "invalid_argument")
