"""Connections that take their time: what they hold, and how they end."""

import asyncio
import itertools
import resource
from collections import Counter
from contextlib import suppress

from system.running import Running
from system.waiting import until

CONNECT_AT_ONCE = 200
# A port is used once for an address: of each of our own we take this many.
PORTS_OF_AN_ADDRESS = 20_000

# What each sends at once, and what it goes on with, a byte at a time.
BODY = b"POST /api/v1/validate HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
SLOW = {
    "nothing": (b"", b""),
    "a request line": (b"GET /api/v1/heal", b""),
    "headers without end": (b"GET /api/v1/health HTTP/1.1\r\nHost: x\r\nX-Slow: ", b"x"),
    "a body": (BODY + b"Content-Length: 60000\r\n\r\n{", b" "),
    "the beginning of a body": (BODY + b"Content-Length: 60000\r\n\r\n{", b""),
    "chunks of a body": (BODY + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
    "an upgrade": (b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nX-Slow: ", b"x"),
}
PAUSE_S = 0.5


class Crowd:
    """Many connections of the kinds of SLOW, one after the other."""

    def __init__(self, system: Running) -> None:
        self._system = system
        self._connections: list[asyncio.Task[str]] = []
        self._numbers = itertools.count()
        self._few = asyncio.Semaphore(CONNECT_AT_ONCE)
        self.open = self.most = 0  # now, and at most at one time
        self.ends: Counter[tuple[str, str]] = Counter()

    async def gather(self, count: int, kinds: tuple[str, ...] = tuple(SLOW)) -> None:
        """Open so many more, and return when all are connected."""
        wanted = self.open + count
        for kind, _ in zip(itertools.cycle(kinds), range(count), strict=False):
            self._connections.append(asyncio.create_task(self._hold(kind), name=kind))

        async def all_open() -> bool:
            return self.open + sum(task.done() for task in self._connections) >= wanted

        await until(all_open, f"{count} connections to be open", 60)

    async def _hold(self, kind: str) -> str:
        first, then = SLOW[kind]
        address = f"127.0.1.{next(self._numbers) // PORTS_OF_AN_ADDRESS + 1}"
        async with self._few:
            reader, writer = await asyncio.open_connection("127.0.0.1", self._system.port, local_addr=(address, 0))
        self.open += 1
        self.most = max(self.most, self.open)
        sending = asyncio.create_task(self._dribble(writer, first, then))
        try:
            answer = await reader.read(65536)
        except ConnectionError:
            answer = b"reset"
        finally:
            self.open -= 1
            sending.cancel()
            writer.close()
        end = answer[9:12].decode() if answer.startswith(b"HTTP/") else answer[:20].decode() or "closed"
        self.ends[kind, end] += 1
        return end

    async def _dribble(self, writer: asyncio.StreamWriter, first: bytes, then: bytes) -> None:
        with suppress(ConnectionError):
            writer.write(first)
            while then:
                await asyncio.sleep(PAUSE_S)
                writer.write(then)
                await writer.drain()

    async def ended(self, seconds: float) -> None:
        """Wait until the server has ended them all."""
        done, waiting = await asyncio.wait(self._connections, timeout=seconds)
        assert not waiting, f"after {seconds:g} s {Counter(task.get_name() for task in waiting)} are still open"
        for task in done:
            task.result()

    async def leave(self) -> None:
        """Close what is open."""
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)


def files_allowed() -> int:
    """How many connections this process may have open, with some left for all else."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 500
