"""Limits of requests over two gateways, to the request; and while the RateLimiter dies."""

import asyncio
import itertools
import json
import os
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from uuid import uuid4

import pytest
from system.running import Running
from system.waiting import until, within
from system.wire import Answer, Wire

PER_ADDRESS, GLOBAL = 100, 1000
# Enough that each gateway gets some.
CONNECTIONS = 12
PATH = "/api/v1/"
UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
}
# Of bursts that are cut in two by the end of a window, or meet a machine that is busy with something else.
TRIES = 10
HEALED_S = 60.0

_addresses = itertools.count(1)


def address() -> str:
    """One that nobody had before."""
    number = next(_addresses)
    return f"10.{number >> 8}.{number & 255}.1"


@pytest.fixture(scope="module")
async def limited() -> AsyncIterator[Running]:
    """The platform with the limits that it has by itself."""
    settings = {"RATE_LIMIT_GLOBAL": str(GLOBAL), "RATE_LIMIT_PER_IP": str(PER_ADDRESS)}
    async with Running(settings) as running:
        yield running


@pytest.fixture
async def wires(limited: Running) -> AsyncIterator[list[Wire]]:
    """Connections to both gateways."""
    async with AsyncExitStack() as stack:
        found = [await stack.enter_async_context(Wire(limited.port)) for _ in range(CONNECTIONS)]
        await asyncio.gather(*(wire.ask("/health") for wire in found))
        ports = {wire.local_port for wire in found}
        for gateway in await limited.living("Gateway"):
            peers = {c.raddr.port for c in gateway.net_connections("tcp") if c.raddr}
            assert peers & ports, "all connections went to one gateway"
        yield found


async def window_begins(period: int = 1) -> None:
    await asyncio.sleep(period - time.time() % period + 0.01)


async def in_one_window(burst: Callable[[], Awaitable[list[Answer]]]) -> list[Answer]:
    """The answers of a burst that fell into one window, from its beginning."""
    for _ in range(TRIES):
        await window_begins()
        answers = await burst()
        if len({answer.window for answer in answers}) == 1:
            return answers
    raise AssertionError("no burst fell into one window")


def statuses(answers: list[Answer]) -> dict[int, int]:
    return dict(Counter(answer.status for answer in answers))


async def test_of_300_requests_over_two_gateways_exactly_100_pass(wires: list[Wire]) -> None:
    async def burst() -> list[Answer]:
        one = address()
        share = 300 // CONNECTIONS
        return list(itertools.chain(*await asyncio.gather(*(wire.ask(PATH, share, address=one) for wire in wires))))

    assert statuses(await in_one_window(burst)) == {200: PER_ADDRESS, 429: 300 - PER_ADDRESS}


async def test_so_it_is_in_every_window_of_the_same_address(wires: list[Wire]) -> None:
    """Whichever gateway had the units before."""
    one, share = address(), 300 // CONNECTIONS
    halves = itertools.cycle([wires, wires[: CONNECTIONS // 2], wires[CONNECTIONS // 2 :]])

    async def burst() -> list[Answer]:
        return list(
            itertools.chain(*await asyncio.gather(*(w.ask(PATH, 2 * share, address=one) for w in next(halves))))
        )

    for _ in range(3):
        assert statuses(await in_one_window(burst))[200] == PER_ADDRESS


async def test_one_gateway_gets_the_whole_limit_and_says_what_is_left(wires: list[Wire]) -> None:
    async def burst() -> list[Answer]:
        return await wires[0].ask(PATH, PER_ADDRESS + 20, address=address())

    answers = await in_one_window(burst)
    passed, refused = answers[:PER_ADDRESS], answers[PER_ADDRESS:]
    assert {answer.status for answer in passed} == {200}
    assert [int(a.headers["x-ratelimit-remaining"]) for a in passed] == list(reversed(range(PER_ADDRESS)))
    assert {answer.status for answer in refused} == {429}
    for answer in refused:
        assert (answer.headers["x-ratelimit-limit"], answer.headers["x-ratelimit-remaining"]) == ("100", "0")
        assert answer.headers["retry-after"] == "1"
        assert answer.headers["x-frame-options"] == "DENY"
        body = json.loads(answer.body)
        assert (body["success"], body["code"]) == (False, "rate_limited")
        assert body["request_id"] == answer.headers["x-request-id"]


async def test_exactly_so_many_pass_over_all_addresses(wires: list[Wire]) -> None:
    async def visits(wire: Wire) -> list[Answer]:
        return [answer for _ in range(2) for answer in await wire.ask(PATH, 70, address=address())]

    async def burst() -> list[Answer]:
        return list(itertools.chain(*await asyncio.gather(*map(visits, wires))))

    answers = await in_one_window(burst)
    assert len(answers) > GLOBAL
    assert statuses(answers)[200] == GLOBAL
    assert {a.headers["x-ratelimit-limit"] for a in answers if a.status == 429} == {str(GLOBAL)}


async def test_what_has_no_route_counts_too(limited: Running) -> None:
    async def burst() -> list[Answer]:
        one = address()
        # A connection that was upgraded is of no more use.
        async with Wire(limited.port) as wire, Wire(limited.port) as socket:
            return await _of_every_kind(wire, socket, one)

    answers = await in_one_window(burst)
    assert [answer.status for answer in answers[:7]] == [404, 200, 200, 405, 400, 101, 401]
    assert statuses(answers[7:]) == {404: PER_ADDRESS - 7, 429: 7}


async def _of_every_kind(wire: Wire, socket: Wire, one: str) -> list[Answer]:
    return [
        *await wire.ask("/nothing/here", address=one),
        *await wire.ask("/sdk/veza.js", address=one),
        *await wire.ask(PATH, address=one, method="OPTIONS"),
        *await wire.ask(PATH, address=one, method="DELETE"),
        *await wire.ask("/ws", address=one),
        *await socket.ask("/ws", address=one, headers=UPGRADE),
        *await wire.ask("/api/v1/users/me", address=one),
        *await wire.ask("/nothing/here", PER_ADDRESS, address=one),
    ]


async def test_probes_documentation_and_sign_in_do_not(wires: list[Wire]) -> None:
    one = address()
    wire = wires[0]
    for path in ("/health", "/healthz", "/readyz", "/metrics", "/swagger", "/swagger/openapi.json"):
        [answer] = await wire.ask(path, address=one)
        assert answer.status == 200
        assert "x-ratelimit-limit" not in answer.headers, path
    assert statuses(await wire.ask("/health", 2 * PER_ADDRESS, address=one)) == {200: 2 * PER_ADDRESS}
    [answer] = await wire.ask("/api/v1/auth/refresh", method="POST", address=one, body=b'{"refresh_token":"x"}')
    assert answer.status == 401
    assert "x-ratelimit-limit" not in answer.headers


async def test_sign_in_and_validation_have_limits_of_their_own(wires: list[Wire]) -> None:
    """Over both gateways, and not at the cost of anything else."""
    wrong = json.dumps({"email": f"{uuid4()}@example.com", "password": "Wr0ng!pass"}).encode()
    right = json.dumps({"type": "uuid", "value": str(uuid4())}).encode()
    for path, body, well in (("/api/v1/auth/login", wrong, {401, 429}), ("/api/v1/validate", right, {200})):

        async def burst(path: str = path, body: bytes = body) -> list[Answer]:
            one = address()
            asked = [wire.ask(path, 4, method="POST", address=one, body=body) for wire in wires]
            return list(itertools.chain(*await asyncio.gather(*asked)))

        answers = await in_one_window(burst)
        over = [answer for answer in answers if answer.headers["x-ratelimit-remaining"] == "0" and answer.status == 429]
        limited = [answer for answer in over if "slow down" in json.loads(answer.body)["error"]]
        assert len(limited) == len(answers) - 20, path
        assert {answer.status for answer in answers if answer not in limited} <= well
        assert {answer.headers["x-ratelimit-limit"] for answer in answers} == {"20"}
        assert all(1 <= int(answer.headers["retry-after"]) <= 60 for answer in limited)


async def test_a_network_of_ipv6_counts_as_one(wires: list[Wire]) -> None:
    network = f"2001:db8:{next(_addresses):x}:1"

    async def burst() -> list[Answer]:
        asked = [wire.ask(PATH, 25, address=f"{network}::{number:x}") for number, wire in enumerate(wires, 1)]
        return list(itertools.chain(*await asyncio.gather(*asked)))

    assert statuses(await in_one_window(burst))[200] == PER_ADDRESS


async def test_while_the_limiter_dies_nobody_fails_and_then_it_is_exact_again(
    limited: Running, wires: list[Wire]
) -> None:
    ended = asyncio.Event()
    seen: Counter[int] = Counter()

    async def visit(wire: Wire) -> None:
        """Someone well below their limit, and ever new ones."""
        one = address()
        while not ended.is_set():
            for each in (one, address()):
                [answer] = await wire.ask(PATH, address=each)
                seen[answer.status] += 1
            await asyncio.sleep(0.03)

    visits = [asyncio.create_task(visit(wire)) for wire in wires]
    for _ in range(2):
        [limiter] = await limited.living("RateLimiter", 1)
        before = seen.total()
        os.kill(limiter.pid, signal.SIGKILL)

        async def replaced(gone: int = limiter.pid, before: int = before) -> bool:
            living = [process.pid for process in limited.actors("RateLimiter")]
            return living not in ([], [gone]) and seen.total() > before + 100

        await until(replaced, "another RateLimiter, and requests meanwhile", HEALED_S)
    ended.set()
    async with within(HEALED_S, "the visits to end"):
        await asyncio.gather(*visits)
    assert set(seen) == {200}

    async def exact() -> bool:
        one = address()
        await window_begins()
        answers = await asyncio.gather(*(wire.ask(PATH, 25, address=one) for wire in wires))
        found = list(itertools.chain(*answers))
        return len({a.window for a in found}) == 1 and statuses(found)[200] == PER_ADDRESS

    await until(exact, "windows that are exact again", HEALED_S)
    assert await limited.metric("veza_rate_limit_alone_total") > 0
