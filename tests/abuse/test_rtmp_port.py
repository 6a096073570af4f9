"""Who misuses the port of the encoders: closed within its bounds, at no cost to those who use it."""

import asyncio
import os
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import psutil
import pytest
from system.encoder import encoding, key_of, stop
from system.people import People, Person
from system.player import Player
from system.publisher import HANDSHAKE, RUBBISH, Peer
from system.running import Running
from system.waiting import until, within

IDLE = 500
# The listener lets so many of one address wait, and each for so long; the machine is busy.
IDLE_EACH = 64
UNPUBLISHED_S = 10
LATE_S = 5
# Each of these keeps less than a hundred kilobytes while it is there.
GROWTH_BYTES = 24 << 20
BYTE_S = 0.1


class Show:
    """Somebody's stream, and what plays it."""

    def __init__(self, encoder: asyncio.subprocess.Process, player: Player) -> None:
        self.encoder, self.player = encoder, player

    async def goes_on(self) -> None:
        await self.player.goes_on(2)
        assert self.encoder.returncode is None
        assert self.player.discontinuity == 0


async def on_air(person: Person) -> dict[str, Any]:
    stream: dict[str, Any] = await person.call("POST", "live/streams", json={"title": "Undisturbed"})
    return stream


async def became_live(person: Person, stream: dict[str, Any]) -> None:
    async def ask() -> bool:
        return bool((await person.call("GET", f"live/streams/{stream['id']}"))["is_live"])

    await until(ask, "the stream to be live", 15)


@pytest.fixture(scope="module")
async def show(system: Running, people: People) -> AsyncIterator[Show]:
    """On the air while all of this happens, with an Ingest that is no larger than before in the end."""
    person = await people.register()
    stream = await on_air(person)
    async with encoding(system, await key_of(person)) as encoder:
        await became_live(person, stream)
        async with Player(system, stream) as player:
            await player.goes_on()
            [ingest] = await system.living("Ingest", 1)
            before = ingest.memory_info().rss
            yield Show(encoder, player)
            grown = ingest.memory_info().rss - before
            print(f"the Ingest grew by {grown / 2**20:.1f} MiB")  # noqa: T201
            assert grown < GROWTH_BYTES, f"it grew by {grown >> 20} MiB"
            await stop(encoder)
            await player.ends()


def connections(ingest: psutil.Process, system: Running) -> int:
    """To the port of the encoders."""
    found = [each for each in ingest.net_connections() if each.status == psutil.CONN_ESTABLISHED]
    return sum(each.laddr.port == system.rtmp_port for each in found)


@asynccontextmanager
async def connected(system: Running, address: str = "127.0.0.1") -> AsyncIterator[Peer]:
    peer = Peer(*await asyncio.open_connection("127.0.0.1", system.rtmp_port, local_addr=(address, 0)))
    try:
        yield peer
    finally:
        await peer.gone()


async def test_rubbish_is_closed_at_once(system: Running, show: Show) -> None:
    async def send(data: bytes) -> None:
        async with connected(system) as peer:
            # More of it than it takes for the answer.
            with suppress(ConnectionError):
                peer.writer.write(data + os.urandom(1 << 20))
                await peer.writer.drain()
            await peer.closed(LATE_S)

    await asyncio.gather(*(send(data) for data in (*RUBBISH.values(), os.urandom(4000)) for _ in range(4)))
    await show.goes_on()


async def test_who_does_not_publish_is_closed_in_time(system: Running, show: Show) -> None:
    """Idle ones of one address and of many, half a handshake, one that comes byte by byte, and nothing after one."""
    [ingest] = await system.living("Ingest", 1)
    closed = {"crowd": 0, "others": 0}

    async def idle(address: str, kind: str) -> None:
        with suppress(ConnectionError):
            async with connected(system, address) as peer:
                await peer.closed(UNPUBLISHED_S + LATE_S)
        closed[kind] += 1

    async def sends(*pieces: bytes) -> None:
        async with connected(system) as peer:
            closing = asyncio.create_task(peer.closed(UNPUBLISHED_S + LATE_S))
            for piece in pieces:
                with suppress(ConnectionError):
                    peer.writer.write(piece)
                    await peer.writer.drain()
                await asyncio.wait([closing], timeout=BYTE_S)
                if closing.done():
                    break
            await closing

    async def cut_back() -> bool:
        return closed["crowd"] >= IDLE - IDLE_EACH

    slow = [HANDSHAKE[place : place + 1] for place in range(len(HANDSHAKE))]
    async with within(UNPUBLISHED_S + 2 * LATE_S, "all to be closed"), asyncio.TaskGroup() as together:
        for number in range(IDLE):
            together.create_task(idle("127.0.2.1", "crowd"))
            together.create_task(idle(f"127.0.3.{number % 16 + 1}", "others"))
        for pieces in ([HANDSHAKE[:700]], slow, [HANDSHAKE]):
            together.create_task(sends(*pieces))
        await until(cut_back, "the crowd of one address to be cut back", LATE_S)
        assert closed["others"] == 0
        assert connections(ingest, system) > IDLE
        await show.goes_on()
    assert closed == {"crowd": IDLE, "others": IDLE}
    await show.goes_on()


async def test_keys_are_not_found_by_trying(system: Running, show: Show) -> None:
    async def tries(count: int) -> None:
        for _ in range(count):
            async with connected(system) as peer:
                await peer.ask(f"live_{secrets.token_hex(16)}")
                assert await peer.status() in ("NetStream.Publish.BadName", "NetStream.Publish.Denied")
                await peer.closed(LATE_S)

    async with within(30, "all keys to be refused"):
        await asyncio.gather(*(tries(50) for _ in range(8)))
    await show.goes_on()


async def test_another_encoder_is_taken(system: Running, show: Show, bob: Person) -> None:
    stream = await on_air(bob)
    async with encoding(system, await key_of(bob)) as encoder:
        await became_live(bob, stream)
        async with Player(system, stream) as player:
            await player.goes_on()
            await stop(encoder)
            await player.ends()
    await show.goes_on()


async def test_nothing_is_left_of_them(system: Running, show: Show) -> None:
    [ingest] = await system.living("Ingest", 1)

    async def only_the_encoder() -> bool:
        return connections(ingest, system) == 1

    await until(only_the_encoder, "only the encoder to be connected", LATE_S)
    await show.goes_on()
