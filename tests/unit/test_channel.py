"""Batches from process to process: in order, answered, and no stranger's."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from system.waiting import until

from veza.actors import channel as channels
from veza.actors.channel import KEY_BYTES, MOST_BYTES, Channel, Disconnected, Endpoint, HandlerFailed, Inlet
from veza.actors.tasks import TaskSet

HOST = "127.0.0.1"


class Side:
    """An inlet that keeps what it got, and a channel to it. `gate` holds the handler back; `fail` makes it fail."""

    def __init__(self) -> None:
        self.got: list[bytes] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.fail = False
        self.tasks = TaskSet("test")
        self.inlet = Inlet(self.handle, self.tasks)
        self.channel = Channel(self.find)

    async def handle(self, batch: bytes) -> None:
        await self.gate.wait()
        if self.fail:
            raise RuntimeError("on purpose")
        self.got.append(batch)

    async def find(self) -> Endpoint:
        return self.inlet.place()


@asynccontextmanager
async def sides() -> AsyncIterator[Side]:
    side = Side()
    await side.inlet.start(HOST)
    try:
        yield side
    finally:
        await side.channel.close()
        await side.inlet.close()
        await side.tasks.close()


async def connected(side: Side) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    endpoint = await side.find()
    return await asyncio.open_connection(endpoint.host, endpoint.port)


async def gone(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


async def test_batches_of_any_size_arrive_in_order() -> None:
    async with sides() as side:
        batches = [b"", b"a", b"b" * 70_000, b"c" * 5_000_000, *(bytes([n]) for n in range(200))]
        await asyncio.gather(*(side.channel.call(batch) for batch in batches))
        assert side.got == batches


async def test_a_call_waits_until_the_batch_was_taken() -> None:
    async with sides() as side:
        side.gate.clear()
        first = asyncio.ensure_future(side.channel.call(b"1"))
        second = asyncio.ensure_future(side.channel.call(b"2"))
        await until_handled(side)
        assert not first.done()
        first.cancel()
        side.gate.set()
        await second
        # Who gave up waiting for the first did not take the answer to the second.
        assert side.got == [b"1", b"2"]
        side.fail = True
        with pytest.raises(HandlerFailed):
            await side.channel.call(b"3")
        side.fail = False
        await side.channel.call(b"4")


async def test_a_lost_connection_is_told_and_made_again() -> None:
    async with sides() as side:
        await side.channel.call(b"1")
        side.gate.clear()
        waiting = asyncio.ensure_future(side.channel.call(b"2"))
        await until_handled(side)
        await side.inlet.close()
        with pytest.raises(Disconnected):
            await waiting
        with pytest.raises(Disconnected):
            await side.channel.call(b"3")
        side.gate.set()
        await side.inlet.start(HOST)
        await side.channel.call(b"4")
        assert side.got[-1] == b"4"


async def until_handled(side: Side) -> None:
    """A batch is at the handler, which waits for the gate."""

    async def at_the_gate() -> bool:
        return bool(side.gate._waiters)  # type: ignore[attr-defined]

    await until(at_the_gate, "the handler to begin")


@pytest.mark.parametrize(
    "begin",
    [
        lambda _: b"\x00" * KEY_BYTES,
        lambda key: key[:-1] + bytes([key[-1] ^ 1]),
        lambda _: b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        lambda key: key + (MOST_BYTES + 1).to_bytes(4),
        lambda key: key + b"\xff\xff\xff\xff",
    ],
    ids=["zeros", "almost", "http", "too large", "far too large"],
)
async def test_strangers_are_shown_out(begin: Callable[[bytes], bytes]) -> None:
    async with sides() as side:
        reader, writer = await connected(side)
        writer.write(begin((await side.find()).key))
        assert await reader.read() == b""
        await gone(writer)
        await side.channel.call(b"a friend")
        assert side.got == [b"a friend"]


async def test_who_says_nothing_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channels, "KEY_PATIENCE_S", 0.05)
    async with sides() as side:
        reader, writer = await connected(side)
        writer.write(b"\x00" * (KEY_BYTES - 1))
        assert await reader.read() == b""
        await gone(writer)


async def test_a_frame_in_pieces_is_one_batch() -> None:
    async with sides() as side:
        reader, writer = await connected(side)
        for byte in (await side.find()).key + (3).to_bytes(4) + b"abc" + (1).to_bytes(4):
            writer.write(bytes([byte]))
            await writer.drain()
        assert await reader.readexactly(1) == b"\x01"
        # Cut off in the middle of the next: it never was.
        await gone(writer)
        await side.channel.call(b"d")
        assert side.got == [b"abc", b"d"]
