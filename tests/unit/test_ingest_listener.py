"""Encoders and others connect to the RTMP server: who may publish does, and nobody costs more than a bound."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from uuid import UUID, uuid4

import pytest
from system.publisher import HANDSHAKE, RUBBISH, Peer
from system.waiting import until, within

from veza.actors.ingest.listener import Feed, Limits, Line, Listener
from veza.actors.tasks import TaskSet
from veza.errors import Banned, StreamNotFound, VezaError
from veza.realtime.rtmp import amf
from veza.realtime.rtmp.events import Media, Metadata
from veza.realtime.rtmp.messages import Message, MessageType

HOST = "127.0.0.1"


@dataclass
class Kept:
    """A feed that keeps what it is told."""

    line: Line | None = None
    payloads: list[bytes] = field(default_factory=list)
    described: list[Metadata] = field(default_factory=list)
    ends: list[bool] = field(default_factory=list)
    full: bool = False
    drops_at: bytes | None = None

    def opened(self, line: Line) -> None:
        assert self.line is None
        self.line = line

    def media(self, event: Media) -> None:
        assert not self.ends
        self.payloads.append(event.payload)
        if event.payload == self.drops_at:
            assert self.line is not None
            self.line.drop("on purpose")

    def metadata(self, event: Metadata) -> None:
        assert not self.ends
        self.described.append(event)

    def ended(self, clean: bool) -> None:
        self.ends.append(clean)


@dataclass
class Reception:
    """A desk that knows one key. `gate` holds it back."""

    gate: asyncio.Event = field(default_factory=asyncio.Event)
    asked: list[tuple[str, UUID]] = field(default_factory=list)
    feeds: list[Kept] = field(default_factory=list)
    error: Exception | None = None

    async def admit(self, key: str, source_id: UUID) -> Feed:
        self.asked.append((key, source_id))
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        if key != "key":
            raise StreamNotFound
        self.feeds.append(Kept())
        return self.feeds[-1]


@asynccontextmanager
async def listening(limits: Limits | None = None) -> AsyncIterator[tuple[Listener, Reception]]:
    desk = Reception()
    desk.gate.set()
    tasks = TaskSet("test")
    listener = Listener(desk, tasks, limits=limits)
    await listener.start(HOST, 0)
    try:
        yield listener, desk
    finally:
        async with within(5, "the listener to close"):
            await listener.close()
        assert listener.connections == listener.sources == 0
        await tasks.close()


@asynccontextmanager
async def connected(listener: Listener) -> AsyncIterator[Peer]:
    peer = Peer(*await asyncio.open_connection(HOST, listener.port))
    try:
        yield peer
    finally:
        await peer.gone()


async def test_a_publisher_from_its_first_byte_to_its_last() -> None:
    async with listening() as (listener, desk), connected(listener) as peer:
        await peer.publish("key?x=1")
        assert [key for key, _ in desk.asked] == ["key"]
        assert listener.connections == listener.sources == 1
        peer.say(4, MessageType.DATA, amf.encode("@setDataFrame", "onMetaData", {"width": 640.0}))
        peer.say(4, MessageType.VIDEO, b"picture")
        peer.say(4, MessageType.AUDIO, b"sound")
        peer.command("deleteStream", 4, None, 1)
        assert await peer.status() == "NetStream.Unpublish.Success"
        await peer.closed()
        (feed,) = desk.feeds
        assert feed.payloads == [b"picture", b"sound"]
        assert feed.described == [Metadata({"width": 640.0})]
        assert feed.ends == [True]
        assert listener.sources == 0


async def test_a_publisher_that_goes_without_a_word() -> None:
    async with listening() as (listener, desk), connected(listener) as peer:
        await peer.publish()
        await peer.gone()
        await until(lambda: answer(desk.feeds[0].ends), "the end")
        assert desk.feeds[0].ends == [False]
        assert listener.sources == 0


async def answer(value: object) -> object:
    return value


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (None, "NetStream.Publish.BadName"),  # an unknown key
        (Banned(), "NetStream.Publish.Denied"),
        (VezaError(), "NetStream.Publish.BadName"),
    ],
)
async def test_who_may_not_publish_is_told(error: Exception | None, code: str) -> None:
    async with listening() as (listener, desk), connected(listener) as peer:
        desk.error = error
        await peer.ask("other")
        assert await peer.status() == code
        await peer.closed()
        assert desk.feeds == []
        await until(lambda: answer(not listener.connections), "the connection to be forgotten")


async def test_a_desk_that_fails_refuses(caplog: pytest.LogCaptureFixture) -> None:
    async with listening() as (listener, desk), connected(listener) as peer:
        desk.error = ValueError("on purpose")
        await peer.ask("secret")
        assert await peer.status() == "NetStream.Publish.BadName"
        assert "admission failed" in caplog.text
        assert "secret" not in caplog.text


async def test_another_application_is_refused_unasked() -> None:
    async with listening() as (listener, desk), connected(listener) as peer:
        await peer.ask(app="vod")
        assert await peer.status() == "NetStream.Publish.BadName"
        await peer.closed()
        assert desk.asked == []


async def test_a_publisher_that_goes_while_it_is_admitted() -> None:
    async with listening() as (listener, desk):
        desk.gate.clear()
        async with connected(listener) as peer:
            await peer.ask()
            await until(lambda: answer(desk.asked), "the desk to be asked")
            assert listener.sources == 0
        await until(lambda: answer(not listener.connections), "the connection to be lost")
        desk.gate.set()
        await until(lambda: answer(desk.feeds and desk.feeds[0].ends), "the end")
        assert desk.feeds[0].ends == [False]
        assert desk.feeds[0].line is None


async def test_a_source_is_cut() -> None:
    async with listening() as (listener, desk), connected(listener) as peer:
        await peer.publish()
        ((_, source_id),) = desk.asked
        assert not listener.cut(uuid4(), "nobody")
        assert listener.cut(source_id, "on purpose")
        assert desk.feeds[0].ends == [False]
        assert not listener.cut(source_id, "again")
        await peer.closed()
        assert desk.feeds[0].ends == [False]


async def test_a_source_is_cut_before_it_is_admitted() -> None:
    async with listening() as (listener, desk), connected(listener) as peer:
        desk.gate.clear()
        await peer.ask()
        await until(lambda: answer(desk.asked), "the desk to be asked")
        assert listener.cut(desk.asked[0][1], "on purpose")
        desk.gate.set()
        await peer.closed()
        await until(lambda: answer(desk.feeds and desk.feeds[0].ends), "the end")


async def test_a_feed_drops_its_line() -> None:
    async with listening() as (listener, desk), connected(listener) as peer:
        await peer.publish()
        desk.feeds[0].drops_at = b"b"
        peer.writer.writelines(peer.chunks.write(4, Message(MessageType.VIDEO, 1, 0, name)) for name in (b"a", b"b"))
        peer.say(4, MessageType.VIDEO, b"c")
        await peer.closed()
        assert desk.feeds[0].payloads == [b"a", b"b"]
        assert desk.feeds[0].ends == [False]


async def test_a_full_feed_is_not_read_for() -> None:
    async with listening(Limits(silent_s=0.2, sweep_s=0.02)) as (listener, desk), connected(listener) as peer:
        await peer.publish()
        (feed,) = desk.feeds
        feed.full = True
        piece = bytes(65_536)
        peer.say(4, MessageType.VIDEO, piece)
        await until(lambda: answer(feed.payloads), "the first picture")
        had = len(feed.payloads)
        # More than the kernel takes for a peer that does not read: it has to wait.
        for _ in range(256):
            peer.say(4, MessageType.VIDEO, piece)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(peer.writer.drain(), 0.5)
        assert len(feed.payloads) == had
        assert feed.ends == []  # it is not silent: it is not heard
        feed.full = False
        assert feed.line is not None
        feed.line.resume()
        await until(lambda: answer(len(feed.payloads) == 257), "all pictures")


async def test_who_does_not_publish_is_closed() -> None:
    async with listening(Limits(unpublished_s=0.1, sweep_s=0.02)) as (listener, desk):
        desk.gate.clear()
        async with connected(listener) as silent, connected(listener) as half, connected(listener) as waits:
            half.writer.write(HANDSHAKE[:700])
            await waits.ask()
            await asyncio.gather(silent.closed(), half.closed(), waits.closed())
        assert listener.connections == 0


async def test_a_silent_source_is_closed() -> None:
    async with listening(Limits(silent_s=0.2, sweep_s=0.02)) as (listener, desk), connected(listener) as peer:
        await peer.publish()
        await peer.closed()
        assert desk.feeds[0].ends == [False]


async def test_who_does_not_let_go_is_closed() -> None:
    """It is refused, and reads nothing of it."""
    async with listening(Limits(closing_s=0.1, sweep_s=0.02)) as (listener, _), connected(listener) as peer:
        await peer.ask("other")
        await until(lambda: answer(not listener.connections), "the connection to be lost")


@pytest.mark.parametrize("kind", RUBBISH)
async def test_rubbish_is_closed(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    async with listening() as (listener, desk), connected(listener) as peer:
        peer.writer.write(RUBBISH[kind])
        await peer.closed()
        assert desk.asked == []
        await until(lambda: answer(not listener.connections), "the connection to be forgotten")
    assert "broke the protocol" in caplog.text


async def test_a_source_that_breaks_the_protocol_ends() -> None:
    async with listening() as (listener, desk), connected(listener) as peer:
        await peer.publish()
        peer.say(4, MessageType.VIDEO, b"good")
        peer.say(4, MessageType.AGGREGATE, b"bad")
        await peer.closed()
        assert desk.feeds[0].payloads == [b"good"]
        assert desk.feeds[0].ends == [False]


async def test_who_reads_no_answers_is_closed(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    async with listening() as (listener, desk), connected(listener) as peer:
        await peer.publish()
        peer.writer.transport.pause_reading()  # type: ignore[attr-defined]  # what asyncio's type leaves out
        ping = peer.chunks.write(2, Message(MessageType.USER_CONTROL, 0, 0, b"\x00\x06\x00\x00\x00\x00"))
        (feed,) = desk.feeds
        # Few enough at once for one round of answers, but without end.
        while not feed.ends:
            peer.writer.write(ping * 100)
            with contextlib.suppress(ConnectionError):
                await peer.writer.drain()
            await asyncio.sleep(0)
        assert feed.ends == [False]
    assert "publisher cut" in caplog.text or "broke the protocol" in caplog.text


async def test_one_address_has_few_idle_connections() -> None:
    async with listening() as (listener, desk), contextlib.AsyncExitStack() as stack:
        # Those that publish do not count.
        publisher = await stack.enter_async_context(connected(listener))
        await publisher.publish()
        peers = [await stack.enter_async_context(connected(listener)) for _ in range(500)]
        reads = [asyncio.create_task(peer.closed(60)) for peer in peers]
        await until(lambda: answer(sum(read.done() for read in reads) >= 500 - 64), "those too many to be closed")
        assert listener.connections == 65
        assert listener.sources == 1
        for peer in peers:
            await peer.gone()
        await asyncio.gather(*reads)
        await until(lambda: answer(listener.connections == 1), "them to be forgotten")
        late = await stack.enter_async_context(connected(listener))
        await late.publish()
        assert len(desk.feeds) == 2


async def test_there_are_so_many_connections_in_all() -> None:
    async with listening(Limits(connections=2)) as (listener, _), contextlib.AsyncExitStack() as stack:
        for _ in range(2):
            await (await stack.enter_async_context(connected(listener))).publish()
        third = await stack.enter_async_context(connected(listener))
        await third.closed()
        assert listener.connections == 2


async def test_closing_ends_all() -> None:
    async with listening() as (listener, desk), connected(listener) as peer, connected(listener) as idle:
        await peer.publish()
        await listener.close()
        assert desk.feeds[0].ends == [False]
        await asyncio.gather(peer.closed(), idle.closed())
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(HOST, listener.port)
