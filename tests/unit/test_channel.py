"""Batches from process to process: in order, answered, and no stranger's."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
from system.waiting import until, within

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


BIG = b"x" * 16_000_000


@contextmanager
def deaf() -> Iterator[tuple[socket.socket, Channel]]:
    """One who lets connections in and never reads, and a channel to it."""
    with socket.create_server((HOST, 0)) as server:

        async def find() -> Endpoint:
            return Endpoint(HOST, server.getsockname()[1], b"k" * KEY_BYTES)

        yield server, Channel(find)


async def begun(channel: Channel, server: socket.socket, batch: bytes) -> "asyncio.Task[None]":
    """A call to the deaf one, of which nothing but the key is read."""
    task = asyncio.ensure_future(channel.call(batch))
    server.setblocking(False)
    loop = asyncio.get_running_loop()
    connection, _ = await loop.sock_accept(server)
    connection.setblocking(False)
    await loop.sock_recv(connection, KEY_BYTES)
    task.add_done_callback(lambda _: connection.close())
    return task


async def test_close_does_not_wait_for_what_is_unsent() -> None:
    with deaf() as (server, channel):
        calling = await begun(channel, server, BIG)
        async with within(5, "the channel to close"):
            await channel.close()
        with pytest.raises(Disconnected):
            await calling


async def test_a_call_that_was_connecting_when_it_was_closed_leaves_nothing_open() -> None:
    ended = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            await reader.read()
        await gone(writer)
        ended.set()

    server = await asyncio.start_server(serve, HOST, 0)
    asked, found = asyncio.Event(), asyncio.Event()

    async def find() -> Endpoint:
        asked.set()
        await found.wait()
        return Endpoint(HOST, server.sockets[0].getsockname()[1], b"k" * KEY_BYTES)

    channel = Channel(find)
    calls = [asyncio.ensure_future(channel.call(b"a")) for _ in range(2)]
    await asked.wait()
    await channel.close()
    found.set()
    async with within(5, "the calls to end"):
        for call in calls:
            with pytest.raises(Disconnected):
                await call
        await ended.wait()
    asked.clear()
    with pytest.raises(Disconnected):
        await channel.call(b"b")
    assert not asked.is_set()
    server.close()


async def test_a_peer_that_takes_nothing_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channels, "SILENCE_S", 0.2)
    with deaf() as (server, channel):
        calling = await begun(channel, server, BIG)
        async with within(10, "the connection to be cut"):
            with pytest.raises(Disconnected):
                await calling
        await channel.close()


async def test_both_sides_ask_whether_the_other_is_there() -> None:
    async with sides() as side:
        await side.channel.call(b"a")
        port = (await side.find()).port

        async def probing() -> bool:
            return timers(port) == [KEEPALIVE, KEEPALIVE]

        await until(probing, "both ends to have a keepalive timer")


ESTABLISHED, KEEPALIVE = "01", "02"


def timers(port: int) -> list[str]:
    """The timers of the kernel for the ends of the connections to this port."""
    rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    ends = [row for row in rows if row[3] == ESTABLISHED and f"{port:04X}" in (row[1][-4:], row[2][-4:])]
    return [row[5][:2] for row in ends]


async def test_what_waits_for_the_handler_is_bounded_and_nothing_of_it_is_lost() -> None:
    async with sides() as side:
        side.gate.clear()
        reader, writer = await connected(side)
        batches = [bytes([n]) * 300_000 for n in range(100)]
        writer.write((await side.find()).key)
        writer.writelines(part for batch in batches for part in (len(batch).to_bytes(4), batch))
        [serving] = side.inlet._open

        async def at_rest() -> bool:
            return not serving.transport.is_reading()

        await until(at_rest, "it to be read no more")
        assert len(serving._batches) < 10
        side.gate.set()
        assert await reader.readexactly(100) == b"\x01" * 100
        assert side.got == batches
        await gone(writer)


async def test_what_is_unsent_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channels, "UNSENT_BYTES", 2 * len(BIG))
    with deaf() as (server, channel):
        first = await begun(channel, server, BIG)
        for _ in range(5):
            # Given up by whoever called, but not by the connection.
            other = asyncio.ensure_future(channel.call(BIG))
            await asyncio.sleep(0)
            if other.done():
                break
            other.cancel()
        with pytest.raises(Disconnected):
            await other
        with pytest.raises(Disconnected):
            await first
        await channel.close()
