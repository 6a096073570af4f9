"""HTTP requests at a fixed pace, from one event loop: a client that costs little, and what its answers took."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

LONGEST_S = 30.0
BUFFER = 1 << 20


class Failed(Exception):
    """An answer was not the one wanted."""


class Asker:
    """Kept connections to one port, which take turns: so both gateways, which share it, get their part."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._free: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()

    async def open(self, connections: int) -> None:
        for _ in range(connections):
            self._free.put_nowait(await asyncio.open_connection("127.0.0.1", self._port, limit=BUFFER))

    def close(self) -> None:
        while not self._free.empty():
            self._free.get_nowait()[1].close()

    async def ask(self, method: str, path: str, *, token: str = "", body: Any = None, status: int = 200) -> Any:
        """The `data` of an answer. Raises Failed for another status; waits for a connection when all are in use."""
        content = b"" if body is None else json.dumps(body).encode()
        head = f"{method} /api/v1{path} HTTP/1.1\r\nHost: localhost\r\n"
        head += f"Authorization: Bearer {token}\r\n" if token else ""
        head += f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n" if content else ""
        async with asyncio.timeout(LONGEST_S):
            reader, writer = await self._free.get()
            try:
                writer.write(head.encode() + b"\r\n" + content)
                found, answer = await _read(reader)
            except BaseException:
                writer.close()
                raise
            self._free.put_nowait((reader, writer))
        if found != status:
            raise Failed(f"{method} {path}: {found} {answer[:300]!r}")
        return json.loads(answer)["data"]


@asynccontextmanager
async def asking(port: int, connections: int) -> AsyncIterator[Asker]:
    """So many connections; they close with the block."""
    asker = Asker(port)
    await asker.open(connections)
    try:
        yield asker
    finally:
        asker.close()


async def _read(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
    length = head.partition("\r\ncontent-length:")[2].partition("\r\n")[0]
    if not length:
        raise Failed(f"an answer without a length: {head[:300]}")
    return int(head.split(" ", 2)[1]), await reader.readexactly(int(length))


def percentile(values: Sequence[float], share: float) -> float:
    """Of values in any order."""
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]
