"""Queues between actors, and the tasks that serve them: order, bounds, and no task that dies unseen."""

import asyncio
import weakref
from collections.abc import Callable

import pytest

from veza.actors.mailbox import FairMailbox, Mailbox, Outbox
from veza.actors.tasks import Life, TaskSet


async def turns(condition: Callable[[], bool] = lambda: False, at_most: int = 20) -> None:
    """Let other tasks run until nothing more can change, or the condition holds."""
    for _ in range(at_most):
        if condition():
            return
        await asyncio.sleep(0)


class TestMailbox:
    async def test_keeps_order_and_takes_no_more_than_asked(self) -> None:
        mailbox: Mailbox[int] = Mailbox(10)
        await mailbox.put([1, 2, 3])
        await mailbox.put([4])
        assert len(mailbox) == 4
        assert await mailbox.take(3) == [1, 2, 3]
        assert await mailbox.take(3) == [4]

    async def test_take_waits_for_something(self) -> None:
        mailbox: Mailbox[int] = Mailbox(10)
        taking = asyncio.ensure_future(mailbox.take(5))
        await turns()
        assert not taking.done()
        await mailbox.put([])
        await turns()
        assert not taking.done()
        await mailbox.put([1])
        assert await taking == [1]

    async def test_put_waits_while_it_is_full(self) -> None:
        mailbox: Mailbox[int] = Mailbox(2)
        await mailbox.put([1, 2])
        putting = [asyncio.ensure_future(mailbox.put([number])) for number in (3, 4)]
        await turns()
        assert not any(task.done() for task in putting)
        assert await mailbox.take(1) == [1]
        await turns(putting[0].done)
        assert [task.done() for task in putting] == [True, False]
        assert await mailbox.take(5) == [2, 3]
        await asyncio.gather(*putting)
        assert await mailbox.take(5) == [4]

    async def test_what_is_put_back_comes_first(self) -> None:
        mailbox: Mailbox[int] = Mailbox(2)
        await mailbox.put([3])
        mailbox.put_back([1, 2])
        mailbox.put_back([])
        assert await mailbox.take(5) == [1, 2, 3]

    async def test_what_is_put_back_wakes(self) -> None:
        mailbox: Mailbox[int] = Mailbox(2)
        taking = asyncio.ensure_future(mailbox.take(5))
        await turns()
        mailbox.put_back([1])
        assert await taking == [1]

    async def test_nothing_at_all_needs_no_room(self) -> None:
        mailbox: Mailbox[int] = Mailbox(1)
        await mailbox.put([1])
        async with asyncio.timeout(5):
            assert await mailbox.put([]) == []


def fair(limit: int) -> FairMailbox[str]:
    """Of words with the same first letter at most three wait."""
    return FairMailbox(limit, key=lambda word: word[0], key_limit=3)


class TestFairMailbox:
    async def test_of_one_key_only_so_many_wait(self) -> None:
        mailbox = fair(100)
        assert await mailbox.put(["a1", "a2", "a3", "a4", "b1"]) == ["a4"]
        assert await mailbox.put(["a5"]) == ["a5"]
        assert await mailbox.take(2) == ["a1", "b1"]
        assert await mailbox.put(["a6", "a7"]) == ["a7"]
        mailbox.put_back(["a1"])
        assert await mailbox.take(100) == ["a1", "a2", "a3", "a6"]
        assert await mailbox.put(["a8", "a9", "a10"]) == []

    async def test_what_waits_for_room_is_counted_when_it_is_in(self) -> None:
        mailbox = fair(2)
        await mailbox.put(["a1", "b1"])
        putting = [asyncio.ensure_future(mailbox.put(["c1", "c2"])) for _ in range(2)]
        await turns()
        # Empty for a moment, before they are in.
        assert await mailbox.take(100) == ["a1", "b1"]
        assert await putting[0] == []
        assert await mailbox.take(1) == ["c1"]
        assert await putting[1] == []
        assert await mailbox.take(1) == ["c2"]
        assert await mailbox.take(1) == ["c1"]
        assert await mailbox.put(["c3", "c4", "c5"]) == ["c5"]

    async def test_what_was_given_up_before_it_was_in_does_not_count(self) -> None:
        mailbox = fair(2)
        await mailbox.put(["a1", "a2"])
        putting = asyncio.ensure_future(mailbox.put(["b1", "b2", "b3"]))
        await turns()
        putting.cancel()
        await asyncio.gather(putting, return_exceptions=True)
        assert await mailbox.take(1) == ["a1"]
        assert await mailbox.put(["b1", "b2", "b3"]) == []

    async def test_it_remembers_no_more_keys_than_wait(self) -> None:
        living: weakref.WeakSet[Key] = weakref.WeakSet()
        mailbox: FairMailbox[Key] = FairMailbox(100, key=lambda key: key, key_limit=3)
        await mailbox.put([Key()])
        for _ in range(1000):
            key = Key()
            living.add(key)
            await mailbox.put([key])
            del key
            await mailbox.take(1)
        assert len(living) <= len(mailbox)


class Key:
    """Something to be told apart from others of its kind."""


class Peer:
    """Takes calls one at a time; each is answered when the test says so."""

    def __init__(self) -> None:
        self.calls: list[list[bytes]] = []
        self.answers: list[asyncio.Future[None]] = []

    async def receive(self, items: list[bytes]) -> None:
        self.calls.append(items)
        answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.answers.append(answer)
        await answer

    async def called(self, times: int) -> None:
        await turns(lambda: len(self.calls) == times)
        assert len(self.calls) == times

    def answer(self) -> None:
        self.answers[-1].set_result(None)


class TestOutbox:
    async def test_one_call_in_flight_and_the_rest_together(self) -> None:
        peer = Peer()
        outbox: Outbox[bytes] = Outbox(peer.receive, weigh=len)
        running = asyncio.ensure_future(outbox.run())
        assert outbox.put(b"a")
        await peer.called(1)
        assert all(outbox.put(item) for item in (b"b", b"c"))
        assert (len(outbox), outbox.bytes) == (2, 2)
        await peer.called(1)
        peer.answer()
        await peer.called(2)
        assert peer.calls == [[b"a"], [b"b", b"c"]]
        peer.answer()
        await outbox.flushed()
        assert (len(outbox), outbox.bytes) == (0, 0)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    async def test_flushed_waits_for_the_call_in_flight(self) -> None:
        peer = Peer()
        outbox: Outbox[bytes] = Outbox(peer.receive, weigh=len)
        await outbox.flushed()
        outbox.put(b"a")
        flushing = asyncio.ensure_future(outbox.flushed())
        running = asyncio.ensure_future(outbox.run())
        await peer.called(1)
        await turns()
        assert not flushing.done()
        peer.answer()
        await flushing
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    async def test_beyond_its_limit_it_keeps_nothing(self) -> None:
        outbox: Outbox[bytes] = Outbox(Peer().receive, weigh=len, limit=4)
        assert outbox.put(b"abcd")
        assert not outbox.put(b"e")
        assert outbox.put(b"fg", always=True)
        assert (len(outbox), outbox.bytes) == (2, 6)

    async def test_a_call_has_a_size(self) -> None:
        peer = Peer()
        outbox: Outbox[bytes] = Outbox(peer.receive, weigh=len, call_bytes=3)
        for item in (b"aa", b"bb", b"cccc", b"d"):
            outbox.put(item)
        running = asyncio.ensure_future(outbox.run())
        for count in (1, 2, 3):
            await peer.called(count)
            peer.answer()
        await outbox.flushed()
        assert peer.calls == [[b"aa", b"bb"], [b"cccc"], [b"d"]]
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    async def test_drop_takes_out_what_waits(self) -> None:
        peer = Peer()
        outbox: Outbox[bytes] = Outbox(peer.receive, weigh=len)
        running = asyncio.ensure_future(outbox.run())
        outbox.put(b"a")
        await peer.called(1)
        for item in (b"drop", b"keep"):
            outbox.put(item)
        outbox.drop(lambda item: item in (b"a", b"drop"))
        assert outbox.bytes == 4
        peer.answer()
        await peer.called(2)
        outbox.drop(lambda _: True)
        peer.answer()
        await outbox.flushed()
        assert peer.calls == [[b"a"], [b"keep"]]
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    async def test_when_the_peer_is_gone_nobody_waits_for_it(self) -> None:
        peer = Peer()
        outbox: Outbox[bytes] = Outbox(peer.receive, weigh=len)
        outbox.put(b"a")
        running = asyncio.ensure_future(outbox.run())
        await peer.called(1)
        flushing = asyncio.ensure_future(outbox.flushed())
        outbox.put(b"b")
        peer.answers[0].set_exception(ConnectionError("gone"))
        with pytest.raises(ConnectionError):
            await running
        async with asyncio.timeout(1):
            await flushing


class TestTasks:
    async def test_a_failure_is_reported_once_and_others_go_on(self, caplog: pytest.LogCaptureFixture) -> None:
        failures: list[BaseException] = []
        tasks = TaskSet("owner", failures.append)

        async def fail() -> None:
            raise ValueError("broken")

        async def wait() -> None:
            await asyncio.Event().wait()

        waiting = tasks.start(wait(), "waits")
        failing = tasks.start(fail(), "fails")
        assert failing.get_name() == "owner fails"
        await asyncio.gather(failing, return_exceptions=True)
        await turns(lambda: bool(failures))
        assert [str(error) for error in failures] == ["broken"]
        assert "owner fails" in caplog.text
        assert not waiting.done()
        await tasks.close()
        assert waiting.cancelled()
        assert len(failures) == 1

    async def test_without_a_listener_a_failure_is_logged(self, caplog: pytest.LogCaptureFixture) -> None:
        tasks = TaskSet("owner")

        async def fail() -> None:
            raise ValueError("broken")

        await asyncio.gather(tasks.start(fail(), "fails"), return_exceptions=True)
        await turns(lambda: bool(caplog.text))
        assert "owner fails" in caplog.text
        await tasks.close()


class TestLife:
    async def test_it_ends_in_peace(self) -> None:
        life = Life()
        waiting = asyncio.ensure_future(life.wait())
        await turns()
        assert not waiting.done()
        life.end()
        await waiting

    async def test_the_first_failure_ends_it(self) -> None:
        life = Life()
        life.fail(ValueError("first"))
        life.fail(KeyError("second"))
        life.end()
        with pytest.raises(RuntimeError, match="ValueError"):
            await life.wait()
