"""The limits of requests, where they come in: a unit is spent here, or the limiter is asked first.

A request costs some look-ups in dicts while this gateway has units of its address; `realtime.rate_window` tells how
units go from gateway to gateway. Nobody waits for longer than half a second, and not at all while no limiter answers.
"""

import asyncio
import time
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

from veza import metrics
from veza.actors.channel import Endpoint, Inlet
from veza.actors.couriers import Couriers
from veza.actors.refs import LimiterRef
from veza.actors.tasks import TaskSet
from veza.config import Settings
from veza.errors import RateLimited
from veza.metrics import Tally
from veza.realtime import rate_window_messages as m
from veza.realtime.rate_window import Limiters, Now, Policy
from veza.realtime.rate_window_book import ASK, REFUSED, Book
from veza.realtime.rate_window_borrower import Borrower
from veza.realtime.rate_window_link import Incoming

if TYPE_CHECKING:
    from veza.http.request import Request

# How often waits are looked at while somebody waits, and at the latest.
WAITS_S, IDLE_S = 0.05, 1.0

Wait = Coroutine[Any, Any, None]


class Standing(NamedTuple):
    """What an answer says of a limit. `left` is what this gateway has left: others may have more."""

    limit: int
    left: int
    resets: int

    def headers(self) -> tuple[tuple[str, str], ...]:
        return (
            ("X-RateLimit-Limit", str(self.limit)),
            ("X-RateLimit-Remaining", str(self.left)),
            ("X-RateLimit-Reset", str(self.resets)),
        )

    def block(self) -> bytes:
        """The same as the wire has it."""
        return b"\r\nX-RateLimit-Limit: %d\r\nX-RateLimit-Remaining: %d\r\nX-RateLimit-Reset: %d" % self


class RateLimits:
    """The windows of this gateway, and its links to the limiters."""

    def __init__(self, name: str, settings: Settings, tasks: TaskSet) -> None:
        self._tasks = tasks
        self._borrower = Borrower(settings.gateways)
        self._addresses = self._borrower.book(Policy("address", settings.rate_limit_per_ip, 1))
        self._everybody = self._borrower.book(Policy("global", settings.rate_limit_global, 1, "all"))
        self._inlet = Inlet(self._receive, tasks)
        self._incoming = Incoming()
        self._couriers = Couriers(
            tasks,
            encode=lambda number, items: m.encode(m.LimiterBatch(name, number, items)),
            connect=LimiterRef,
            on_taken=lambda limiter: self._borrower.heard(limiter, _now()),
            on_lost=self._lost,
            on_gone=self._lost,
        )
        self._known = Limiters(0, 0, (), ())
        self._rehoming: asyncio.Task[None] | None = None
        self._somebody_waits = asyncio.Event()
        self._passed = Tally(metrics.RATE_LIMIT_PASSED, known=("address", "global"))
        self._refusals = Tally(metrics.RATE_LIMIT_REFUSED, known=("address", "global"))
        self._alone = Tally(metrics.RATE_LIMIT_ALONE, known=(None,))
        self._keys = metrics.RATE_WINDOWS.labels(name)

    async def start(self, host: str) -> None:
        """Take what limiters say, on this address."""
        await self._inlet.start(host)
        self._tasks.start(self._sweep_forever(), "rate windows")

    def place(self) -> Endpoint:
        """Where limiters send to. Raises Unavailable before `start`."""
        return self._inlet.place()

    async def close(self) -> None:
        await self._inlet.close()

    def sample(self) -> None:
        """Show what happened since the last time."""
        self._alone.add(amount=self._borrower.alone)
        self._borrower.alone = 0
        for tally in (self._passed, self._refusals, self._alone):
            tally.flush()
        self._keys.set(len(self._borrower))

    # -- spending --------------------------------------------------------------------------------------------

    def gate(self, own: Policy | None, *, limited: bool) -> "Gate":
        """For a route: its own policy, if it has one, and whether it is `limited` by address and over all."""
        return Gate(self, self._borrower.book(own) if own is not None else None, limited=limited)

    def enter(self, request: "Request") -> Wait | None:
        """Spend a unit of the address and one of everybody's. Raises RateLimited; what it returns is to be awaited."""
        second = int(time.time())
        addresses, everybody = self._addresses, self._everybody
        # A flood from many addresses is turned away before it makes us remember each.
        if everybody.refuses("", second):
            raise self._refuse(request, everybody, second)
        left = addresses.take(request.client_subject, second)
        if left >= 0:
            rest = everybody.take("", second)
            if rest >= 0:
                self._pass(request, addresses, left, second)
                self._passed.add("global")
                return None
        elif left == REFUSED:
            raise self._refuse(request, addresses, second)
        return self._enter(request, left, second)

    async def _enter(self, request: "Request", left: int, window: int) -> None:
        """The same for who has to wait: until both units are of one window."""
        began = time.monotonic()
        addresses, everybody = self._addresses, self._everybody
        subject = request.client_subject
        if left == ASK:
            left, window = await self._taken(addresses, subject)
        while left != REFUSED:
            rest, then = await self._taken(everybody, "")
            if rest == REFUSED:
                addresses.put_back(subject, window)
                raise self._refuse(request, everybody, then)
            if then <= window:
                self._pass(request, addresses, left, window)
                self._passed.add("global")
                metrics.RATE_LIMIT_WAITS.observe(time.monotonic() - began)
                return
            # Windows have changed meanwhile.
            everybody.put_back("", then)
            left, window = await self._taken(addresses, subject)
        raise self._refuse(request, addresses, window)

    def spend(self, request: "Request", book: Book, subject: str) -> Wait | None:
        """Spend a unit of a key. Raises RateLimited; what it returns is to be awaited."""
        window = int(time.time()) // book.policy.period_s
        left = book.take(subject, window)
        if left == ASK:
            return self._spend(request, book, subject)
        if left == REFUSED:
            raise self._refuse(request, book, window)
        self._pass(request, book, left, window)
        return None

    async def _spend(self, request: "Request", book: Book, subject: str) -> None:
        began = time.monotonic()
        left, window = await self._asked(book, subject)
        if left == REFUSED:
            raise self._refuse(request, book, window)
        self._pass(request, book, left, window)
        metrics.RATE_LIMIT_WAITS.observe(time.monotonic() - began)

    async def _taken(self, book: Book, subject: str) -> tuple[int, int]:
        """What is left after a unit was spent, or REFUSED; and the window."""
        window = int(time.time()) // book.policy.period_s
        left = book.take(subject, window)
        return (left, window) if left != ASK else await self._asked(book, subject)

    def _asked(self, book: Book, subject: str) -> "asyncio.Future[tuple[int, int]]":
        """The same, of whom `take` said ASK."""
        taken: asyncio.Future[tuple[int, int]] = asyncio.get_running_loop().create_future()

        def decided(left: int, window: int) -> None:
            if not taken.done():
                taken.set_result((left, window))
            elif left != REFUSED:
                # Whoever has left spends nothing.
                book.put_back(subject, window)

        self._couriers.send(self._borrower.wait(book, subject, decided, _now()))
        self._somebody_waits.set()
        return taken

    def _pass(self, request: "Request", book: Book, left: int, window: int) -> None:
        policy = book.policy
        self._passed.add(policy.name)
        # The route's own limit was met first, and is the one to be told.
        if request.standing is None or policy.per == "user":
            request.standing = Standing(policy.limit, left, (window + 1) * policy.period_s)

    def _refuse(self, request: "Request", book: Book, window: int) -> RateLimited:
        policy = book.policy
        self._refusals.add(policy.name)
        ends = (window + 1) * policy.period_s
        request.standing = Standing(policy.limit, 0, ends)
        return RateLimited(retry_after=max(1.0, ends - time.time()))

    # -- limiters --------------------------------------------------------------------------------------------

    def set_limiters(self, known: Limiters) -> None:
        """What the Supervisor says: who the limiters are."""
        if known.version <= self._known.version:
            return
        self._known = known
        self._couriers.keep(known.limiters)
        greetings = self._borrower.set_limiters(known)
        self._couriers.send(greetings)
        if greetings or not known.limiters:
            if self._rehoming is not None:
                self._rehoming.cancel()
            self._rehoming = self._tasks.start(self._rehome(), "rehome")

    async def _rehome(self) -> None:
        for tells in self._borrower.rehome(_now()):
            self._couriers.send(tells)
            await asyncio.sleep(0)

    async def _receive(self, data: bytes) -> None:
        batch = m.decode_to_gateway(data)
        if self._incoming.news(batch.sender, batch.number):
            now = _now()
            for item in batch.items:
                self._couriers.send(self._borrower.take(batch.sender, item, now))

    def _lost(self, limiter: str) -> None:
        self._borrower.limiter_down(limiter, _now())

    async def _sweep_forever(self) -> None:
        """Let nobody wait too long; give back what is not used any more."""
        while True:
            if not self._borrower.busy:
                self._somebody_waits.clear()
                try:
                    async with asyncio.timeout(IDLE_S):
                        await self._somebody_waits.wait()
                except TimeoutError:
                    pass
            await asyncio.sleep(WAITS_S)
            now = _now()
            self._borrower.overdue(now)
            self._couriers.send(self._borrower.give_back(now))


class Gate:
    """What the requests of one route pass."""

    def __init__(self, limits: RateLimits, own: Book | None, *, limited: bool) -> None:
        self._limits = limits
        self._limited = limited
        self._by_address = own if own is not None and own.policy.per == "address" else None
        self._by_user = own if own is not None and own.policy.per == "user" else None

    def enter(self, request: "Request") -> Wait | None:
        """When the request has come. Raises RateLimited; what it returns is to be awaited."""
        own = self._by_address
        if own is None:
            return self._limits.enter(request) if self._limited else None
        wait = self._limits.spend(request, own, request.client_subject)
        if not self._limited:
            return wait
        return self._then_enter(request, wait) if wait is not None else self._limits.enter(request)

    async def _then_enter(self, request: "Request", wait: Wait) -> None:
        await wait
        after = self._limits.enter(request)
        if after is not None:
            await after

    def enter_as(self, request: "Request", user_id: UUID) -> Wait | None:
        """When it is known who sent it; the same."""
        if self._by_user is None:
            return None
        return self._limits.spend(request, self._by_user, user_id.hex)


def _now() -> Now:
    return Now(time.time(), time.monotonic())
