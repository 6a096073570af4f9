"""Limits of requests at a gateway: what counts, what answers say, and two gateways with a limiter between them."""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import httpx
import pytest
from http_harness import ORIGIN, make_services, served
from http_samples import sample_resource

from veza.actors import rate_limiter
from veza.actors.rate_limiter import RateLimiter
from veza.actors.refs import ActorGone, ActorUnreachable
from veza.actors.tasks import TaskSet
from veza.errors import RateLimited, Unavailable
from veza.http import rate_limits
from veza.http.api import attachments, auth, system
from veza.http.context import Context
from veza.http.file_kinds import ATTACHMENT_LIMITS
from veza.http.middleware.client_address import subject_of
from veza.http.rate_limits import RateLimits
from veza.http.routing import Auth, Resource
from veza.http.services import Services
from veza.http.uploads import UPLOADS, File
from veza.realtime.rate_window import Limiters, Policy

# In the middle of a window of either kind.
START = 1_000_000_030.5
PER_IP, GLOBAL = 3, 8
POKES = Policy("pokes", 2, 60)
LOOKS = Policy("looks", 2, 60)
POSTS = Policy("posts", 2, 60, per="user")
GIFTS = Policy("gifts", 2, 60, per="user")

resource = Resource("counted", "What has limits of its own.")


@resource.get("/poke", auth=Auth.NONE, limit=POKES)
async def poke(ctx: Context) -> str:
    """Counts against all limits, and its own."""
    return ctx.ip


@resource.get("/look", auth=Auth.NONE, limit=LOOKS, limited=False)
async def look(ctx: Context) -> str:
    """Counts against its own only."""
    return ctx.ip


@resource.post("/give", limit=GIFTS, upload=File)
async def give(ctx: Context) -> str:
    """Counts by user, and takes a file."""
    async with ctx.services.uploads.received(ctx, "gifts", ATTACHMENT_LIMITS) as file:
        return file.name


@resource.post("/post", limit=POSTS)
async def post(ctx: Context) -> str:
    """Counts by user."""
    return ctx.principal.username


class Clock:
    def __init__(self) -> None:
        self.wall = START


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    fake = SimpleNamespace(time=lambda: made.wall, monotonic=lambda: asyncio.get_running_loop().time())
    monkeypatch.setattr(rate_limits, "time", fake)
    monkeypatch.setattr(rate_limiter, "time", fake)
    return made


@pytest.fixture
async def tasks() -> AsyncIterator[TaskSet]:
    made = TaskSet("test")
    yield made
    await made.close()


@pytest.fixture
def services(tmp_path: Path, tasks: TaskSet) -> Services:
    """Of the only gateway, which lets the whole limit pass while no limiter is there."""
    settings = {"RATE_LIMIT_PER_IP": str(PER_IP), "RATE_LIMIT_GLOBAL": str(GLOBAL), "VEZA_GATEWAYS": "1"}
    made = make_services(tmp_path, TRUSTED_PROXIES="127.0.0.1", **settings)
    made.limits = RateLimits("gateway", made.settings, tasks)
    return made


@pytest.fixture
async def client(services: Services, clock: Clock) -> AsyncIterator[httpx.AsyncClient]:
    async with served(services, [system.resource, sample_resource, auth.resource, resource]) as found:
        yield found


async def ask(client: httpx.AsyncClient, path: str, address: str = "10.0.0.1", **options: Any) -> httpx.Response:
    headers = {"X-Forwarded-For": address, **options.pop("headers", {})}
    return await client.request(options.pop("method", "GET"), path, headers=headers, **options)


def standing(response: httpx.Response) -> tuple[int, int, int]:
    return tuple(int(response.headers[f"x-ratelimit-{name}"]) for name in ("limit", "remaining", "reset"))  # type: ignore[return-value]


# -- what counts -------------------------------------------------------------------------------------------------


async def test_answers_say_what_is_left_and_then_refuse(client: httpx.AsyncClient, clock: Clock) -> None:
    ends = int(START) + 1
    for left in (2, 1, 0):
        response = await ask(client, "/api/v1/songs")
        assert response.status_code == 200
        assert standing(response) == (PER_IP, left, ends)
    refused = await ask(client, "/api/v1/songs", headers={"Origin": ORIGIN})
    assert refused.status_code == 429
    assert standing(refused) == (PER_IP, 0, ends)
    assert refused.headers["retry-after"] == "1"
    body = refused.json()
    assert (body["success"], body["code"]) == (False, "rate_limited")
    assert body["request_id"] == refused.headers["x-request-id"]
    assert "X-RateLimit-Reset" in refused.headers["access-control-expose-headers"]
    assert (await ask(client, "/api/v1/songs", "10.0.0.2")).status_code == 200
    clock.wall += 1.0
    assert standing(await ask(client, "/api/v1/songs")) == (PER_IP, 2, ends + 1)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("GET", "/api/v1/nothing", 404),
        ("PUT", "/api/v1/songs", 405),
        ("OPTIONS", "/api/v1/songs", 200),
        ("GET", "/sdk/veza.js", 200),
        ("GET", "/api/v1/me", 401),
        ("GET", "/api/v1/fail/bug", 500),
        ("GET", "/api/v1/", 200),
    ],
)
async def test_whatever_is_asked_counts(client: httpx.AsyncClient, method: str, path: str, status: int) -> None:
    for left in (2, 1, 0):
        response = await ask(client, path, method=method)
        assert (response.status_code, standing(response)[1]) == (status, left)
    assert (await ask(client, path, method=method)).status_code == 429
    assert (await ask(client, "/api/v1/songs")).status_code == 429


async def test_a_body_that_is_too_large_counts(client: httpx.AsyncClient) -> None:
    body = b"x" * (2 * 1024 * 1024)
    response = await ask(client, "/api/v1/songs", method="POST", content=body)
    assert (response.status_code, standing(response)[1]) == (413, 2)


@pytest.mark.parametrize("path", ["/health", "/api/v1/healthz", "/metrics", "/swagger", "/swagger/openapi.json"])
async def test_probes_and_documentation_do_not(client: httpx.AsyncClient, path: str) -> None:
    for _ in range(PER_IP + 1):
        response = await ask(client, path)
        assert response.status_code == 200
        assert "x-ratelimit-limit" not in response.headers


async def test_who_signs_in_does_not(client: httpx.AsyncClient) -> None:
    for _ in range(PER_IP + 1):
        response = await ask(client, "/api/v1/auth/logout", method="POST", headers={"Authorization": "Bearer no"})
        assert response.status_code == 401
        assert "x-ratelimit-limit" not in response.headers


async def test_nobody_is_limited_where_no_limits_are_made(tmp_path: Path) -> None:
    async with served(make_services(tmp_path), [sample_resource]) as client:
        for _ in range(3):
            response = await client.get("/api/v1/songs")
            assert "x-ratelimit-limit" not in response.headers


async def test_only_a_trusted_proxy_says_who_asks(tmp_path: Path, tasks: TaskSet, clock: Clock) -> None:
    stranger = make_services(tmp_path, RATE_LIMIT_PER_IP=str(PER_IP), VEZA_GATEWAYS="1")
    stranger.limits = RateLimits("gateway", stranger.settings, tasks)
    async with served(stranger, [sample_resource]) as client:
        answers = [await ask(client, "/api/v1/songs", f"10.0.0.{number}") for number in range(PER_IP + 1)]
    assert [answer.status_code for answer in answers] == [200] * PER_IP + [429]


@pytest.mark.parametrize(
    ("address", "subject"),
    [
        ("10.1.2.3", "10.1.2.3"),
        ("::ffff:10.1.2.3", "10.1.2.3"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:DB8:1:2::", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("unix:socket", "unix:socket"),
        ("", ""),
    ],
)
def test_whom_an_address_stands_for(address: str, subject: str) -> None:
    assert subject_of(address) == subject


async def test_all_together_are_limited_and_an_address_is_not_charged_for_it(
    client: httpx.AsyncClient, clock: Clock
) -> None:
    passed = [await ask(client, "/api/v1/songs", f"10.0.1.{number // 2}") for number in range(GLOBAL)]
    assert {response.status_code for response in passed} == {200}
    for address in ("10.0.1.0", "10.0.9.9"):
        refused = await ask(client, "/api/v1/songs", address)
        assert (refused.status_code, standing(refused)[:2]) == (429, (GLOBAL, 0))
    clock.wall += 1.0
    assert standing(await ask(client, "/api/v1/songs", "10.0.1.0"))[1] == PER_IP - 1


# -- a route's own limit -----------------------------------------------------------------------------------------


async def test_a_route_has_a_limit_of_its_own_as_well(client: httpx.AsyncClient, clock: Clock) -> None:
    ends = (int(START) // 60 + 1) * 60
    answers = [await ask(client, "/api/v1/poke") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert [standing(answer) for answer in answers] == [(2, 1, ends), (2, 0, ends), (2, 0, ends)]
    assert int(answers[2].headers["retry-after"]) == int(ends - START) + 1
    # What it refused does not count elsewhere.
    assert standing(await ask(client, "/api/v1/songs")) == (PER_IP, 0, int(START) + 1)
    clock.wall += 1.0
    assert (await ask(client, "/api/v1/poke")).status_code == 429
    clock.wall += 60.0
    assert (await ask(client, "/api/v1/poke")).status_code == 200


async def test_a_route_may_have_nothing_but_its_own(client: httpx.AsyncClient) -> None:
    answers = [await ask(client, "/api/v1/look") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert standing(await ask(client, "/api/v1/songs"))[1] == PER_IP - 1


async def test_a_limit_by_user_is_met_by_who_is_known(client: httpx.AsyncClient, clock: Clock) -> None:
    async def post_as(token: str, address: str) -> httpx.Response:
        return await ask(client, "/api/v1/post", address, method="POST", headers={"Authorization": f"Bearer {token}"})

    answers = [await post_as("user", f"10.0.0.{number}") for number in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert [standing(answer)[:2] for answer in answers] == [(2, 1), (2, 0), (2, 0)]
    assert (await post_as("admin", "10.0.0.0")).status_code == 200
    assert (await post_as("nobody", "10.0.0.5")).status_code == 401


async def test_a_file_that_is_too_much_is_refused_before_it_is_read(client: httpx.AsyncClient) -> None:
    headers = {"Authorization": "Bearer user"}
    files = {"file": ("a.bin", b"x" * 3_000_000)}
    asked = [await ask(client, "/api/v1/give", method="POST", headers=headers, files=files) for _ in range(3)]
    # There is no store.
    assert [answer.status_code for answer in asked] == [503, 503, 429]
    assert standing(asked[2])[:2] == (2, 0)


def test_a_limit_by_user_needs_a_user() -> None:
    async def odd(ctx: Context) -> str:
        """Nobody is known."""
        return ""

    with pytest.raises(TypeError, match="counts by user"):
        Resource("odd", "Odd.").get("/odd", auth=Auth.OPTIONAL, limit=POSTS)(odd)


def test_uploads_are_limited_wherever_they_go() -> None:
    taking = [route for route in attachments.resource.routes if route.upload is not None]
    assert taking
    assert all(route.limit is UPLOADS for route in taking)
    assert (UPLOADS.limit, UPLOADS.period_s, UPLOADS.per) == (120, 60, "user")


# -- gateways and a limiter --------------------------------------------------------------------------------------


class Ref:
    """Takes batches by a call in place of a connection. `state` is `well`, `silent`, `cut` or `dead`."""

    def __init__(self, name: str, take: Any, state: "State") -> None:
        self.name = name
        self.on_lost = lambda: None
        self._take = take
        self._state = state

    async def send(self, batch: bytes) -> None:
        await asyncio.sleep(0)
        if self._state.of.get(self.name) == "silent":
            await asyncio.Event().wait()
        if self._state.of.get(self.name) == "cut":
            self.on_lost()
            raise ActorUnreachable(self.name)
        if self._state.of.get(self.name) == "dead":
            self.on_lost()
            raise ActorGone(self.name)
        await self._take(batch)

    async def close(self) -> None: ...


class State:
    def __init__(self) -> None:
        self.of: dict[str, str] = {}


class Platform:
    """Some gateways' limits and limiters, who know each other."""

    def __init__(self, tmp_path: Path, tasks: TaskSet, monkeypatch: pytest.MonkeyPatch, limits: dict[str, str]) -> None:
        self.settings = make_services(tmp_path, **limits).settings
        self.tasks = tasks
        self.state = State()
        self.gateways: dict[str, RateLimits] = {}
        self.limiters: dict[str, RateLimiter] = {}
        self.version = 0
        self._all: list[RateLimits | RateLimiter] = []
        monkeypatch.setattr(rate_limits, "LimiterRef", lambda name: Ref(name, self._to_limiter(name), self.state))
        monkeypatch.setattr(rate_limiter, "WindowsRef", lambda name: Ref(name, self._to_gateway(name), self.state))
        monkeypatch.setattr(rate_limiter, "setup_logging", lambda *_: None)

    def _to_limiter(self, name: str) -> Any:
        return self.limiters[name].submit

    def _to_gateway(self, name: str) -> Any:
        return self.gateways[name]._receive

    async def gateway(self, name: str) -> RateLimits:
        made = self.gateways[name] = RateLimits(name, self.settings, self.tasks)
        self._all.append(made)
        await made.start("127.0.0.1")
        return made

    async def limiter(self, name: str) -> RateLimiter:
        made = self.limiters[name] = RateLimiter(name, self.settings)
        self._all.append(made)
        await made.start()
        return made

    def tell(self) -> None:
        self.version += 1
        known = Limiters(self.version, self.version, tuple(self.limiters), tuple(self.gateways))
        for gateway in self.gateways.values():
            gateway.set_limiters(known)

    async def pass_(self, gateway: str, address: str, own: Policy | None = None) -> bool:
        """Whether a request passes."""
        gate = self.gateways[gateway].gate(own, limited=True)
        request: Any = SimpleNamespace(client_subject=address, standing=None)
        try:
            async with asyncio.timeout(5):
                if (wait := gate.enter(request)) is not None:
                    await wait
        except RateLimited:
            return False
        return True

    async def passed(self, count: int, address: str = "a") -> int:
        names = list(self.gateways)
        asked = [self.pass_(names[number % len(names)], address) for number in range(count)]
        return sum(await asyncio.gather(*asked))

    async def settled(self, clock: Clock) -> None:
        """Until the limiter lends."""
        [limiter] = self.limiters.values()
        async with asyncio.timeout(5):
            number = 0
            while not (await limiter.ping())["windows"]:
                await self.pass_("Gateway-1", f"first {number}")
                number += 1
                clock.wall += 1.0

    async def close(self) -> None:
        for each in self._all:
            await (each.close() if isinstance(each, RateLimits) else each.drain())


@asynccontextmanager
async def platform_of(
    tmp_path: Path, tasks: TaskSet, monkeypatch: pytest.MonkeyPatch, clock: Clock, **limits: str
) -> AsyncIterator[Platform]:
    made = Platform(tmp_path, tasks, monkeypatch, limits)
    for number in (1, 2):
        await made.gateway(f"Gateway-{number}")
    await made.limiter("RateLimiter-1")
    made.tell()
    try:
        await made.settled(clock)
        clock.wall += 60.0
        yield made
    finally:
        await tasks.close()
        await made.close()


@pytest.fixture
async def platform(
    tmp_path: Path, tasks: TaskSet, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> AsyncIterator[Platform]:
    limits = {"RATE_LIMIT_PER_IP": "100", "RATE_LIMIT_GLOBAL": "150"}
    async with platform_of(tmp_path, tasks, monkeypatch, clock, **limits) as made:
        yield made


@pytest.fixture
def quiet() -> Iterator[None]:
    logging.disable(logging.WARNING)
    yield
    logging.disable(logging.NOTSET)


async def test_of_300_exactly_100_pass(platform: Platform, clock: Clock) -> None:
    for _ in range(3):
        assert await platform.passed(300) == 100
        clock.wall += 1.0


async def test_all_together_are_limited_exactly(platform: Platform, clock: Clock) -> None:
    for _ in range(3):
        assert sum(await asyncio.gather(*(platform.passed(60, f"10.0.0.{number}") for number in range(4)))) == 150
        clock.wall += 1.0


async def test_a_minute_is_over_all_gateways_too(platform: Platform) -> None:
    asked = [platform.pass_(f"Gateway-{1 + number % 2}", "a", POKES) for number in range(10)]
    assert sum(await asyncio.gather(*asked)) == POKES.limit


async def test_whoever_leaves_while_waiting_spends_nothing(platform: Platform, clock: Clock) -> None:
    waiting = [asyncio.create_task(platform.pass_("Gateway-1", "a")) for _ in range(50)]
    await asyncio.sleep(0)
    for task in waiting[:20]:
        task.cancel()
    assert sum(1 for done in await asyncio.gather(*waiting, return_exceptions=True) if done is True) == 30
    assert await platform.passed(200) == 70


async def test_a_window_may_end_while_somebody_waits(platform: Platform, clock: Clock) -> None:
    gateway = platform.gateways["Gateway-1"]
    assert await platform.pass_("Gateway-1", "a")
    # Everybody's units go to the other one, for the next window.
    clock.wall += 1.0
    assert await platform.pass_("Gateway-2", "b")
    clock.wall += 1.0
    request: Any = SimpleNamespace(client_subject="a", standing=None)
    wait = gateway.enter(request)
    assert wait is not None
    task = asyncio.create_task(wait)
    await asyncio.sleep(0)
    clock.wall += 1.0
    await task
    # In the window that the unit of the address is of.
    assert request.standing.resets == int(clock.wall) + 1
    assert request.standing.left == 99


async def test_without_a_limiter_each_lets_its_part_pass(platform: Platform, clock: Clock, quiet: None) -> None:
    assert await platform.passed(10) == 10
    platform.state.of["RateLimiter-1"] = "dead"
    clock.wall += 1.0
    # Nobody is told of it yet: the connection says so.
    assert await platform.passed(300, "b") == 100
    platform.limiters.clear()
    platform.tell()
    await asyncio.sleep(0)
    clock.wall += 1.0
    assert [await platform.passed(300, address) for address in "ab"] == [100, 50]
    gateway = platform.gateways["Gateway-1"]
    gateway.sample()


async def test_one_that_does_not_answer_is_not_waited_for_long(platform: Platform, clock: Clock, quiet: None) -> None:
    platform.state.of["RateLimiter-1"] = "silent"
    assert await platform.passed(10) == 10


async def test_what_was_cut_off_is_sent_again(platform: Platform, clock: Clock, quiet: None) -> None:
    platform.state.of["RateLimiter-1"] = "cut"
    assert await platform.passed(10) == 10
    platform.state.of.clear()
    clock.wall += 1.0

    async with asyncio.timeout(5):
        while await platform.passed(300) != 100:
            clock.wall += 1.0
            await asyncio.sleep(0.02)


async def test_a_gateway_that_is_dead_is_told_nothing_more(platform: Platform, clock: Clock, quiet: None) -> None:
    assert await platform.pass_("Gateway-2", "a")
    platform.state.of["Gateway-2"] = "dead"
    gone = platform.gateways.pop("Gateway-2")
    await platform.limiters["RateLimiter-1"].gateway_lost("Gateway-2")
    clock.wall += 1.0
    assert await platform.passed(300) == 100
    platform.gateways["Gateway-2"] = gone


async def test_a_limiter_shows_what_it_does(platform: Platform) -> None:
    limiter = platform.limiters["RateLimiter-1"]
    assert await platform.passed(3) == 3
    report = await limiter.ping()
    assert report["started"]
    assert report["windows"] >= 2
    limiter._sample()
    assert (await limiter.endpoint()).host == "127.0.0.1"


async def test_an_older_map_changes_nothing(platform: Platform) -> None:
    gateway = platform.gateways["Gateway-1"]
    gateway.set_limiters(Limiters(0, 0, (), ()))
    await asyncio.sleep(0)
    assert await platform.passed(300) == 100


def test_nobody_sends_before_it_listens(tmp_path: Path, tasks: TaskSet) -> None:
    with pytest.raises(Unavailable):
        RateLimits("gateway", make_services(tmp_path).settings, tasks).place()
    assert UUID(int=1).hex
