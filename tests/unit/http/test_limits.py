"""The message allowance at a gateway: who waits for it, what is sent for it, and in which order a socket goes on."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from gateway_parts import ADA, ROOM, Parts, parts, until

from veza.errors import RateLimited, Unavailable
from veza.http import session
from veza.http.limits import MessageLimits, UserBuckets
from veza.realtime import commands as c
from veza.realtime import frames
from veza.realtime.frames import CloseCode

GRANT = (1 << 40) + 1


@asynccontextmanager
async def limited(burst: int = 10) -> AsyncIterator[tuple[Parts, MessageLimits]]:
    """A gateway with one session and limits; nobody has lent it anything."""
    async with parts() as made:
        limits = MessageLimits(60, burst, made.hub)
        made.session.sockets.limits = limits
        sweep = asyncio.create_task(limits.sweep_forever())
        try:
            yield made, limits
        finally:
            sweep.cancel()
            await asyncio.gather(sweep, return_exceptions=True)


def receive(made: Parts, kind: str, **arguments: Any) -> None:
    payload = json.dumps({"type": kind, **arguments}).encode()
    made.session.receive(payload, asyncio.get_running_loop().time())


def kinds(made: Parts) -> list[str]:
    return [type(command).__name__ for command in made.links.sent]


def raw(made: Parts) -> list[bytes]:
    """What is written from now on."""
    written: list[bytes] = []
    made.session.socket.write = written.append  # type: ignore[method-assign]
    return written


async def lend(made: Parts, tokens: float, grant: int = GRANT) -> None:
    await made.deliver(c.AllowanceLent(ADA.id, grant, tokens))


async def test_a_post_waits_for_the_allowance_and_spends_it() -> None:
    async with limited() as (made, limits):
        spending = [asyncio.create_task(limits.spend(ADA.id)) for _ in range(3)]
        await until(lambda: kinds(made) == ["TakeAllowance"])
        await lend(made, 2.0)
        outcomes = await asyncio.gather(*spending, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [type(None), type(None), RateLimited]


async def test_a_post_spends_of_an_allowance_that_is_called_back_at_once() -> None:
    """Two gateways that want it at the same time are lent it in turns, each with the recall for the other."""
    async with limited() as (made, limits):
        spending = [asyncio.create_task(limits.spend(ADA.id)) for _ in range(3)]
        await until(lambda: kinds(made) == ["TakeAllowance"])
        await made.deliver(
            c.AllowanceLent(ADA.id, GRANT, 7.0), c.Answer(1, b"{}"), c.RecallAllowance(ADA.id, GRANT, own=True)
        )
        await asyncio.gather(*spending)
        assert kinds(made) == ["TakeAllowance", "ReturnAllowance"]
        back = made.links.sent[-1]
        assert isinstance(back, c.ReturnAllowance)
        assert back.tokens == pytest.approx(4.0, abs=0.5)


async def test_who_left_while_waiting_spends_nothing() -> None:
    async with limited() as (made, limits):
        spending = asyncio.create_task(limits.spend(ADA.id))
        await until(lambda: kinds(made) == ["TakeAllowance"])
        spending.cancel()
        await asyncio.gather(spending, return_exceptions=True)
        await lend(made, 1.0)
        await limits.spend(ADA.id)


async def test_it_is_given_back_when_it_is_recalled() -> None:
    async with limited() as (made, limits):
        await lend(made, 7.0)
        await limits.spend(ADA.id)
        await made.deliver(c.RecallAllowance(ADA.id, GRANT, own=True))
        [back] = made.links.sent
        assert isinstance(back, c.ReturnAllowance)
        assert back.tokens == pytest.approx(6.0, abs=0.5)
        await made.deliver(c.RecallAllowance(ADA.id, GRANT, own=True))
        assert made.links.sent[-1] == c.ReturnAllowance(2, ADA.id, GRANT, None)


async def test_the_loan_of_a_shard_that_lost_the_user_is_passed_on_to_the_owner() -> None:
    async with limited() as (made, limits):
        made.links.router.owner = lambda _: "another shard"
        await lend(made, 3.0)
        assert made.links.sent == [c.ReturnAllowance(1, ADA.id, GRANT, 3.0)]
        assert limits.take(ADA.id) is None


async def test_full_allowances_of_who_is_not_here_go_back() -> None:
    async with limited() as (made, limits):
        await lend(made, 10.0)
        await until(lambda: made.links.sent)
        assert made.links.sent == [c.ReturnAllowance(1, ADA.id, GRANT, 10.0)]
        assert list(limits.holders()) == []


async def test_of_who_is_here_they_stay_and_a_new_owner_is_told() -> None:
    async with limited() as (made, limits):
        made.hub.arrive(made.session.socket, ADA.id)
        await lend(made, 10.0)
        # What each sweep asks.
        assert list(limits._borrower.spare(lambda user_id: user_id in made.hub.users, 10**9)) == []
        assert list(limits.holders()) == [ADA.id]
        assert kinds(made) == ["Attend"]
        made.hub._moved(set(range(256)))
        report = made.links.sent[-1]
        assert isinstance(report, c.Attend)
        assert (report.again, report.grant, report.tokens) == (True, GRANT, 10.0)
        made.hub.depart(made.session.socket, ADA.id)
        limits.left(ADA.id)
        await until(lambda: kinds(made)[-1] == "ReturnAllowance")


async def test_nobody_waits_for_an_owner_that_does_not_answer() -> None:
    async with limited() as (made, limits):
        waiting = [asyncio.create_task(limits.spend(ADA.id)) for _ in range(4)]
        outcomes = await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), 10)
        # A quarter of the allowance is this gateway's own meanwhile.
        assert sum(outcome is None for outcome in outcomes) == 2
        made.links.handlers[0](Unavailable())
        await until(lambda: kinds(made).count("TakeAllowance") == 2)


async def test_an_answer_without_a_loan_is_asked_again() -> None:
    async with limited() as (made, limits):
        spending = asyncio.create_task(limits.spend(ADA.id))
        await until(lambda: kinds(made) == ["TakeAllowance"])
        await made.deliver(c.Answer(1, b"{}"))
        await until(lambda: kinds(made) == ["TakeAllowance"] * 2)
        await lend(made, 1.0)
        await spending


async def test_what_a_socket_sent_after_a_message_that_waits_is_done_after_it() -> None:
    async with limited() as (made, _):
        receive(made, "send_message", id="1", room_id=str(ROOM), content="one")
        receive(made, "typing", id="2", room_id=str(ROOM), is_typing=True)
        receive(made, "send_message", id="3", room_id=str(ROOM), content="three")
        receive(made, "ping", id="4")
        assert kinds(made) == ["TakeAllowance"]
        assert not made.shown
        await lend(made, 1.0)
        assert kinds(made) == ["TakeAllowance", "Post", "Typing"]
        assert [frame["id"] for frame in made.shown] == ["3", "4"]
        assert made.shown[0]["error"]["code"] == "RATE_LIMITED"


async def test_a_message_that_waits_again_keeps_its_place() -> None:
    """The allowance is called away between two messages of one breath."""
    async with limited() as (made, limits):
        for number in (1, 2):
            receive(made, "send_message", id=str(number), room_id=str(ROOM), content=f"m{number}")
        receive(made, "ping", id="3")
        take, limits.take = limits.take, lambda _: 0.0 if made.links.sent[-1:] == [first] else None  # type: ignore[method-assign]
        [first] = made.links.sent
        made.session._go_on()
        assert kinds(made) == ["TakeAllowance", "Post"]
        assert not made.shown
        limits.take = take  # type: ignore[method-assign]
        await lend(made, 1.0)
        assert kinds(made) == ["TakeAllowance", "Post", "Post"]
        assert [frame["id"] for frame in made.shown] == ["3"]


async def test_what_may_wait_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "HELD_BYTES", 2000)
    async with limited() as (made, _):
        for number in range(10):
            receive(made, "send_message", id=str(number), room_id=str(ROOM), content="x")
        refused = [frame["id"] for frame in made.shown]
        assert refused == [str(number) for number in range(10)][-len(refused) :]
        assert 0 < len(refused) < 9
        await lend(made, 10.0)
        assert kinds(made).count("Post") == 10 - len(refused)


async def test_a_leaving_socket_waits_for_a_message_that_waits() -> None:
    async with limited() as (made, _):
        receive(made, "send_message", id="1", room_id=str(ROOM), content="last words")
        written = raw(made)
        made.session.leave(500)
        assert not made.session.socket.closing
        await lend(made, 1.0)
        assert not made.session.socket.closing
        await made.deliver(c.Answer(2, b"{}"))
        assert made.session.socket.closing
        assert b'"id":"1"' in written[-2]


async def test_the_newest_sockets_are_closed_when_there_are_too_many() -> None:
    async with parts() as made:
        made.hub.arrive(made.session.socket, ADA.id)
        written = raw(made)
        await made.deliver(c.TooManySockets(ADA.id, 3))
        assert written == [frames.encode_close(CloseCode.ABUSE, "too many sockets")]


def test_full_buckets_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("veza.http.limits.REMEMBERED", 1)
    buckets = UserBuckets(60, 1)
    assert buckets.take(ADA.id, 0.0) == 0.0
    assert buckets.take(ADA.id, 0.0) > 0.0
    assert buckets.take(ROOM, 100.0) == 0.0
    assert len(buckets._buckets) == 1
