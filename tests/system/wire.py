"""HTTP/1.1 as bytes: many requests at once on one connection, faster than a client library sends one."""

import asyncio
from collections.abc import Mapping
from types import TracebackType
from typing import NamedTuple, Self

from system.waiting import within

ANSWER_S = 20.0


class Answer(NamedTuple):
    """`headers` by their names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def window(self) -> str:
        """The second in which the window of its limit ends."""
        return self.headers["x-ratelimit-reset"]


class Wire:
    """One connection. Use with `async with`."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def __aenter__(self) -> Self:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        return self

    async def __aexit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._writer.close()

    @property
    def local_port(self) -> int:
        """Its number at this end, by which a server's process can be found."""
        return int(self._writer.get_extra_info("sockname")[1])

    async def ask(
        self,
        path: str,
        count: int = 1,
        *,
        address: str | None = None,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
    ) -> list[Answer]:
        """Send the same request so often, all at once, as a proxy that has it from `address`. Returns the answers."""
        lines = {"Host": "test", **({"X-Forwarded-For": address} if address else {}), **(headers or {})}
        if body:
            lines |= {"Content-Type": "application/json", "Content-Length": str(len(body))}
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        self._writer.write((f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + body) * count)
        async with within(ANSWER_S, f"{count} answers"):
            return [await self._answer(method) for _ in range(count)]

    async def _answer(self, method: str) -> Answer:
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        pairs = (line.partition(": ") for line in head[1:] if line)
        headers = {name.lower(): value for name, _, value in pairs}
        length = 0 if method == "HEAD" else int(headers.get("content-length", 0))
        return Answer(int(head[0].split(" ")[1]), headers, await self._reader.readexactly(length))
