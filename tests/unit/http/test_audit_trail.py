"""What requests leave for the audit log, and that it stays until somebody has committed it."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import httpx
import msgspec
import pytest
from http_harness import raw_exchange, served
from http_samples import READER, USER, sample_resource

from veza.actors.refs import ActorGone, ActorUnreachable
from veza.http import audit_trail
from veza.http.api import system
from veza.http.audit_trail import AuditTrail
from veza.http.context import Context
from veza.http.routing import Auth, Resource
from veza.http.services import Services
from veza.ids import new_id
from veza.storage.audit import AuditRow

decode = msgspec.msgpack.Decoder(list[AuditRow]).decode
WAIT_S = 10.0


class Runner:
    """Commits what it is sent, unless it is to fail first; `lost` says that the failing batches were committed."""

    def __init__(self, name: str, failures: list[Exception] | None = None, *, lost: bool = False) -> None:
        self.name = name
        self.rows: list[AuditRow] = []
        self.failures = failures or []
        self._lost = lost

    async def send(self, batch: bytes) -> None:
        failure = self.failures.pop(0) if self.failures else None
        if failure is None or self._lost:
            self.rows += decode(batch)
        if failure is not None:
            raise failure

    async def close(self) -> None:
        return


def trail_to(*runners: Runner) -> AuditTrail:
    known = {runner.name: runner for runner in runners}
    connect: Any = known.__getitem__
    return AuditTrail(connect)


def row(number: int) -> AuditRow:
    return AuditRow(new_id(), None, "POST", f"/{number}", "", "", 200, "", datetime.now(UTC))


@asynccontextmanager
async def working(trail: AuditTrail) -> AsyncIterator[None]:
    task = asyncio.create_task(trail.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not condition():
            await asyncio.sleep(0.01)


async def test_rows_stay_until_they_are_committed_and_go_to_the_next_runner() -> None:
    first = Runner("first", [ActorUnreachable("first"), ActorGone("first")], lost=True)
    second = Runner("second")
    trail = trail_to(first, second)
    rows = [row(number) for number in range(1200)]
    for each in rows[:600]:
        trail.add(each)
    async with working(trail):
        trail.set_runner("first")
        # Its answers are lost: whether it has committed is not known.
        await until(lambda: not first.failures)
        assert len(trail) == 600
        trail.set_runner(None)
        for each in rows[600:]:
            trail.add(each)
        assert len(trail) == 1200
        trail.set_runner("second")
        await until(lambda: not len(trail))
    assert second.rows[-1] == rows[-1]
    assert {each.id for each in first.rows + second.rows} == {each.id for each in rows}


async def test_without_a_runner_the_oldest_go_to_the_log_file(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(audit_trail, "MOST_WAITING", 3)
    runner = Runner("late")
    trail = trail_to(runner)
    rows = [row(number) for number in range(5)]
    with caplog.at_level(logging.ERROR):
        for each in rows:
            trail.add(each)
    spilt = [vars(record)["row"] for record in caplog.records]
    assert spilt == [msgspec.to_builtins(each) for each in rows[:2]]
    async with working(trail):
        trail.set_runner("late")
        await until(lambda: not len(trail))
    assert runner.rows == rows[2:]


async def test_a_drain_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(audit_trail, "FLUSH_S", 0.05)
    trail = trail_to()
    trail.add(row(1))
    with caplog.at_level(logging.ERROR):
        await trail.flushed()
    assert (len(trail), len(caplog.records)) == (0, 1)


@pytest.fixture
def runner() -> Runner:
    return Runner("runner")


@pytest.fixture
async def answering(services: Services, runner: Runner) -> AsyncIterator[httpx.AsyncClient]:
    """The samples, and a route whose path holds a token."""
    services.trail = trail_to(runner)
    shares = Resource("shares", "Shares.")

    @shares.post("/shares/<token>", auth=Auth.NONE)
    async def take(ctx: Context, token: str) -> str:
        """Take what is shared."""
        return "taken"

    @shares.post("/admin/things", auth=Auth.ADMIN)
    async def act(ctx: Context) -> AuditRow:
        """Show the row of an administrator's action."""
        return ctx.audit("thing.act", kind="odd")

    async with served(services, [system.resource, sample_resource, shares]) as client:
        yield client


async def noted(services: Services, runner: Runner, count: int) -> list[AuditRow]:
    """The rows that were left, in order."""
    async with working(services.trail):
        services.trail.set_runner(runner.name)
        await until(lambda: len(runner.rows) >= count and not len(services.trail))
    return runner.rows


async def test_what_changes_something_leaves_a_row(
    services: Services, answering: httpx.AsyncClient, runner: Runner
) -> None:
    asked = (
        ("POST", "/api/v1/me?secret=1", "user", 200),
        ("POST", "/api/v1/me", "veza_sk_reader", 403),
        ("POST", "/api/v1/me", "nobody", 401),
        ("DELETE", f"/api/v1/songs/{new_id()}", "user", 403),
        ("PUT", "/api/v1/nothing/here", "user", 404),
        ("POST", "/api/v1/shares/s3cret", "", 200),
        # These leave none.
        ("GET", "/api/v1/me", "user", 200),
        ("POST", "/api/v1/admin/things", "admin", 200),
        ("POST", "/health", "", 405),
    )
    for method, path, token, status in asked:
        answer = await answering.request(method, path, headers={"Authorization": f"Bearer {token}"} if token else {})
        assert answer.status_code == status, answer.text
    rows = await noted(services, runner, 6)
    assert [(each.action, each.status) for each in rows] == [(each[0], each[3]) for each in asked[:6]]
    # Who was refused is known as well; who is nobody is not, nor who asked for what is not there.
    assert [each.user_id for each in rows] == [USER.user_id, READER.user_id, None, USER.user_id, None, None]
    assert rows[0].resource == "/api/v1/me"
    assert rows[5].resource == "/api/v1/shares/<token>"


@pytest.mark.parametrize("agent", [b"\xff\xfe caf\xe9", b"a\tb\x01c\x7f", b"x" * 3000, "\u202e\u2028🎸".encode()])
async def test_a_client_names_itself_as_it_likes(
    services: Services, answering: httpx.AsyncClient, runner: Runner, agent: bytes
) -> None:
    head = b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\nUser-Agent: " + agent
    path = b"/api/v1/shares%FF/" + b"y" * 2000
    assert b"404 Not Found" in await raw_exchange(answering, head % path + b"\r\n\r\n")
    admin = b"\r\nAuthorization: Bearer admin\r\n\r\n"
    answer = await raw_exchange(answering, head % b"/api/v1/admin/things" + admin)
    assert b"200 OK" in answer
    [found] = await noted(services, runner, 1)
    for each in (found, msgspec.json.decode(answer.partition(b"\r\n\r\n")[2], type=dict[str, Any])["data"]):
        shown = each.user_agent if isinstance(each, AuditRow) else each["user_agent"]
        assert len(shown) <= 512
        assert shown.isprintable()
        shown.encode()
    assert len(found.resource) == 512
