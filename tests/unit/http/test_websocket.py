"""The WebSocket on its transport: turns, backlogs, pings."""

import asyncio
import socket

from gateway_parts import Receiver, until, web_socket
from websockets.frames import Frame, Opcode

from veza.errors import RateLimited
from veza.http import limits, websocket
from veza.realtime import frames


async def count_turns(receiver: Receiver) -> None:
    while True:
        receiver.turn += 1
        await asyncio.sleep(0)


async def read_some(peer: socket.socket, size: int) -> int:
    """Read `size` bytes, or all there are."""
    got = 0
    while got < size:
        try:
            got += len(await asyncio.wait_for(asyncio.get_running_loop().sock_recv(peer, 65536), 0.3))
        except TimeoutError:
            break
    return got


async def test_a_flood_gets_a_share_of_each_turn_and_keeps_its_order() -> None:
    receiver = Receiver()
    async with web_socket(receiver) as (_, peer):
        sent = [str(number).encode() for number in range(5000)]
        turns = asyncio.create_task(count_turns(receiver))
        data = b"".join(Frame(Opcode.TEXT, text).serialize(mask=True) for text in sent)
        await asyncio.get_running_loop().sock_sendall(peer, data)
        await until(lambda: len(receiver.came) == len(sent))
        turns.cancel()
        assert [payload for _, payload in receiver.came] == sent
        by_turn = [turn for turn, _ in receiver.came]
        assert max(by_turn.count(turn) for turn in set(by_turn)) <= websocket.TURN_FRAMES


async def test_a_close_within_a_flood_still_ends_the_connection() -> None:
    receiver = Receiver()
    async with web_socket(receiver) as (ours, peer):
        loop = asyncio.get_running_loop()
        flood = Frame(Opcode.TEXT, b"x").serialize(mask=True) * 200
        await loop.sock_sendall(peer, flood)
        await until(lambda: receiver.came)
        ours.close(frames.CloseCode.ABUSE)
        assert await loop.sock_recv(peer, 100) == frames.encode_close(frames.CloseCode.ABUSE)
        # Read and dropped: a reset here would lose the code.
        await loop.sock_sendall(peer, flood * 1000)
        peer.shutdown(socket.SHUT_WR)
        assert await loop.sock_recv(peer, 100) == b""


async def test_who_takes_some_of_a_backlog_is_not_overdue() -> None:
    receiver = Receiver()
    async with web_socket(receiver) as (ours, peer):
        now = asyncio.get_running_loop().time
        ours.send(bytes(900_000))
        await until(lambda: receiver.lags)
        assert not ours.overdue(now() + 5)
        assert ours.overdue(now() + websocket.BACKLOG_S + 1)
        assert await read_some(peer, 500_000) >= 500_000
        assert ours.lagging_since is not None
        assert not ours.overdue(now() + websocket.BACKLOG_S + 1), "it took half of it"
        assert ours.overdue(now() + 3 * websocket.BACKLOG_S), "and then nothing more"


async def test_a_ping_adds_nothing_to_a_backlog() -> None:
    receiver = Receiver()
    async with web_socket(receiver) as (ours, _):
        ours.send(bytes(websocket.BACKLOG_BYTES * 2))
        await until(lambda: receiver.lags)
        ours.ping()
        assert not ours.closing
        assert ours.alive
        ours.send(b"more")
        assert ours.closing


async def test_waiting_until_the_peer_has_caught_up() -> None:
    receiver = Receiver()
    async with web_socket(receiver) as (ours, peer):
        await ours.caught_up()
        ours.send(bytes(900_000))
        await until(lambda: receiver.lags)
        waits = asyncio.create_task(ours.caught_up())
        assert not (await asyncio.wait([waits], timeout=0.1))[0]
        await read_some(peer, 900_000)
        await asyncio.wait_for(waits, 5)
        assert ours.lagging_since is None
        ours.send(bytes(900_000))
        waits = asyncio.create_task(ours.caught_up())
        ours.close(frames.CloseCode.NORMAL)
        await asyncio.wait_for(waits, 5)


async def test_reads_of_a_socket_take_turns() -> None:
    turns = limits.ReadTurns()
    free = asyncio.Event()
    began: list[int] = []

    async def read(number: int) -> None:
        async with turns.turn():
            began.append(number)
            await free.wait()

    count = limits.READS_AT_ONCE + limits.READS_WAITING + 3
    tasks = [asyncio.create_task(read(number)) for number in range(count)]
    await until(lambda: len([task for task in tasks if task.done()]) == 3)
    assert began == list(range(limits.READS_AT_ONCE))
    free.set()
    ended = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(error) for error in ended if error is not None] == [RateLimited] * 3
    assert began == list(range(count - 3))
