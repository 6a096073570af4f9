"""How well this gateway is: its own state, and checks that the owners of its parts register."""

import asyncio
import enum
import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import msgspec

log = logging.getLogger(__name__)

CHECK_SECONDS = 2.0
# Probes are public: however many arrive together, a check runs at most this often.
REUSE_SECONDS = 0.25

Details = dict[str, Any]
Check = Callable[[], Awaitable[Details | None]]


class CheckStatus(enum.StrEnum):
    OK = "ok"
    ERROR = "error"
    NOT_CONFIGURED = "not_configured"


class CheckResult(msgspec.Struct, frozen=True, omit_defaults=True):
    """The outcome of one check. `latency_ms` is how long it took."""

    status: CheckStatus
    latency_ms: float | None = None
    details: Details | None = None
    error: str | None = None


class Registered:
    """One check, what it last said, and whether the gateway is of any use without it."""

    def __init__(self, check: Check, *, vital: bool) -> None:
        self.check = check
        self.vital = vital
        self.last: CheckResult | None = None
        self.finished_at = 0.0
        self.lock = asyncio.Lock()


class Health:
    """State of one gateway. `ready` is set when it serves, `draining` when it begins to stop."""

    def __init__(self) -> None:
        self.ready = False
        self.draining = False
        self._checks: dict[str, Registered] = {}

    def register(self, name: str, check: Check, *, vital: bool = False) -> None:
        """`check` returns details or None when well, and raises when not; it has 2 s.

        Without a `vital` part the gateway is not ready, without another it is degraded.
        """
        self._checks[name] = Registered(check, vital=vital)

    def is_vital(self, name: str) -> bool:
        return name in self._checks and self._checks[name].vital

    async def run(self, names: Iterable[str] | None = None) -> dict[str, CheckResult]:
        """Results of the named checks (of all without names), run side by side."""
        wanted = list(self._checks) if names is None else list(names)
        results = await asyncio.gather(*(self._run(name) for name in wanted))
        return dict(zip(wanted, results, strict=True))

    async def _run(self, name: str) -> CheckResult:
        registered = self._checks.get(name)
        if registered is None:
            return CheckResult(CheckStatus.NOT_CONFIGURED)
        async with registered.lock:
            now = time.monotonic()
            if registered.last is None or now - registered.finished_at > REUSE_SECONDS:
                registered.last = await _measure(name, registered.check)
                registered.finished_at = time.monotonic()
            return registered.last


async def _measure(name: str, check: Check) -> CheckResult:
    started = time.perf_counter()
    details: Details | None = None
    problem: str | None = None
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            details = await check()
    except TimeoutError:
        problem = "timed out"
    except Exception as error:
        # Whatever a check raises is its answer. Its text may hold an address: the log gets the class only.
        log.warning("health check failed", extra={"check": name, "reason": type(error).__name__})
        problem = "unreachable"
    latency_ms = round((time.perf_counter() - started) * 1000, 2)
    status = CheckStatus.OK if problem is None else CheckStatus.ERROR
    return CheckResult(status, latency_ms, details, problem)
