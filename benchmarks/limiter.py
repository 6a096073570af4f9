"""Limiter: are rate limits exact over two gateways, and what do they cost?

Three floods of `GET /api/v1/`, which does nothing, each from a proxy that passes addresses on (`X-Forwarded-For`), over
64 kept connections to two gateways:

- eight times what the limit of all requests lets pass (1,000 a second), from 200 addresses; then eight times what that
  of one address does (100). For each window that the flood filled: how far is what passed from the limit?
- half of the limit, from 200 addresses: how long did a limit hold up what passed? Of requests that waited for the
  limiter the gateways say it themselves; what one costs that did not wait is measured in a process of its own.
- each request from another address, a million of them, as fast as the machine goes, without a limit over all: how much
  larger do the gateways and the limiter become?
"""

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import httpx

from benchmarks.support import load
from benchmarks.support.figures import Figure
from benchmarks.support.processes import resident_bytes
from benchmarks.support.question import Answer, Options, Question, ask
from benchmarks.support.system import System, running
from veza.actors.tasks import TaskSet
from veza.config import load_settings
from veza.http.rate_limits import RateLimits

PATH = "/api/v1/"
GLOBAL, PER_ADDRESS = 1000, 100
ADDRESSES = 200
OVER = 8
PROXY = {"TRUSTED_PROXIES": "127.0.0.1"}
NO_LIMITS = {**PROXY, "RATE_LIMIT_GLOBAL": "1000000", "RATE_LIMIT_PER_IP": "1000000"}
MILLION = 1_000_000
# More than the machine answers: what is not answered yet holds it up.
FASTEST = 100_000
P50_MS, P99_MS = 0.1, 3.0
# Of a process: what the 262,144 addresses that it remembers at most take, and what it needs meanwhile.
MOST_MB = 200.0
SAMPLE_S = 0.5
ROUNDS = 200_000


def measure(options: Options) -> Answer:
    everybody: list[float] = []
    one: list[float] = []
    waits: list[tuple[float, dict[str, Any]]] = []
    details: dict[str, Any] = {"windows": [], "waits": []}
    with running(**PROXY) as system:
        for _ in range(options.runs):
            found = load.flood(system.port, PATH, OVER * GLOBAL, options.seconds, ADDRESSES)
            everybody.append(_off(found, GLOBAL))
            details["windows"].append(found["windows"])
            found = load.flood(system.port, PATH, OVER * PER_ADDRESS, options.seconds, 1)
            one.append(_off(found, PER_ADDRESS))
            details["windows"].append(found["windows"])
            waits.append(_waits(system, options.seconds))
    with running(**NO_LIMITS) as system:
        grown = _many_addresses(system, options)
    at_once = asyncio.run(_at_once(options.sized(ROUNDS, 10_000)))
    details["waits"] = [found for _, found in waits]
    details["many_addresses"] = grown
    figures = [
        Figure(
            name=f"{GLOBAL:,} a second over all: farthest from it, {OVER} times as many asked",
            unit="requests a window",
            runs=everybody,
            target=0.0,
            bound="at most",
        ),
        Figure(
            name=f"{PER_ADDRESS} a second of an address: farthest from it, {OVER} times as many asked",
            unit="requests a window",
            runs=one,
            target=0.0,
            bound="at most",
        ),
        Figure(
            name="what limits add to a request that passes, p50",
            unit="ms",
            runs=[at_once],
            target=P50_MS,
            bound="at most",
        ),
        Figure(
            name="the same, p99",
            unit="ms",
            runs=[max(at_once, p99) for p99, _ in waits],
            target=P99_MS,
            bound="at most",
        ),
        *(
            Figure(name=f"a million addresses: growth of {what}", unit="MB", runs=[mb], target=MOST_MB, bound="at most")
            for what, mb in (("a gateway", grown["gateway_mb"]), ("the limiter", grown["limiter_mb"]))
        ),
    ]
    return Answer(figures=figures, settings=PROXY, details=details)


def _off(found: dict[str, Any], limit: int) -> float:
    """By how much what passed differed from the limit, at worst, in the windows that were asked from beginning to end.
    Raises RuntimeError when there is none, or something failed.
    """
    whole = found["windows"][1:-1]
    if found["others"] or not whole:
        raise RuntimeError(f"the flood was not what it should be: {found}")
    return float(max(abs(passed - limit) for _, passed, _ in whole))


def _waits(system: System, seconds: float) -> tuple[float, dict[str, Any]]:
    """The 99th percentile, in milliseconds, of how long a limiter held up what passed at half of the limit."""
    before = _shown(system)
    found = load.flood(system.port, PATH, GLOBAL / 2, seconds, ADDRESSES)
    # Gateways show what they counted each second.
    time.sleep(1.5)
    counts = {name: value - before.get(name, 0.0) for name, value in _shown(system).items()}
    passed = counts['veza_rate_limit_passed_total{limit="global"}']
    beyond = passed * 0.01
    buckets = sorted(
        (float(name.split('"')[1]), count) for name, count in counts.items() if "_wait_seconds_bucket" in name
    )
    waited = counts["veza_rate_limit_wait_seconds_count"]
    found |= {"passed": passed, "waited": waited, "buckets": buckets}
    if waited <= beyond:
        return 0.0, found
    return 1000 * next(bound for bound, count in buckets if waited - count <= beyond), found


def _shown(system: System) -> dict[str, float]:
    lines = httpx.get(f"{system.url}/metrics", timeout=10.0).text.splitlines()
    pairs = (line.rpartition(" ") for line in lines if line.startswith("veza_rate_limit"))
    return {name: float(value) for name, _, value in pairs}


def _many_addresses(system: System, options: Options) -> dict[str, Any]:
    kinds = ("Gateway", "RateLimiter")
    before = {kind: _largest(system, kind) for kind in kinds}
    most = dict(before)
    with _watching(system, most):
        found = load.flood(system.port, PATH, FASTEST, options.sized(MILLION, 20_000) / FASTEST, MILLION)
    grown = {kind: (most[kind] - before[kind]) / 1e6 for kind in kinds}
    return {
        "gateway_mb": grown["Gateway"],
        "limiter_mb": grown["RateLimiter"],
        "addresses": found["requests"],
        "seconds": found["seconds"],
        "p99_ms": found["p99_ms"],
    }


def _largest(system: System, kind: str) -> int:
    return max(resident_bytes([process]) for process in system.actors(kind))


@contextmanager
def _watching(system: System, most: dict[str, int]) -> Iterator[None]:
    """Keep in `most` how large the largest of each kind became during the block."""
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(SAMPLE_S):
            most.update({kind: max(size, _largest(system, kind)) for kind, size in most.items()})

    watcher = threading.Thread(target=watch, name="memory")
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()


async def _at_once(rounds: int) -> float:
    """What a request costs that has not to wait, in milliseconds; from one address, whose units are here."""
    settings = load_settings({"RATE_LIMIT_PER_IP": str(10**9), "RATE_LIMIT_GLOBAL": str(10**9)}, None)
    tasks = TaskSet("benchmark")
    gate = RateLimits("benchmark", settings, tasks).gate(None, limited=True)
    request: Any = SimpleNamespace(client_subject="10.0.0.1", standing=None)
    if (wait := gate.enter(request)) is not None:
        await wait
    began = time.perf_counter()
    for _ in range(rounds):
        # Waits where a window begins, and is counted with the rest.
        if (wait := gate.enter(request)) is not None:
            await wait
    lasted = time.perf_counter() - began
    await tasks.close()
    return lasted / rounds * 1000


QUESTION = Question("limiter", "Are rate limits exact, and what do they cost?", measure, runs=3, seconds=6.0)

if __name__ == "__main__":
    ask(QUESTION)
