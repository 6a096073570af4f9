"""Bytes that no client library would send, and what came back."""

import asyncio
import re
from contextlib import suppress

from system.people import Person
from system.running import Running
from system.waiting import within

_HEAD = re.compile(rb"HTTP/1\.1 (\d{3}) [^\r\n]*\r\n((?:[^\r\n]+\r\n)*)\r\n")


class Answer:
    """One answer, as it stands on the wire."""

    def __init__(self, status: int, head: bytes, body: bytes) -> None:
        self.status = status
        self.headers = [
            (name.strip().lower(), value.strip())
            for name, _, value in (line.partition(b":") for line in head.split(b"\r\n") if line)
        ]
        self.body = body

    def header(self, name: str) -> str | None:
        return next((value.decode("latin-1") for key, value in self.headers if key == name.encode()), None)

    def __repr__(self) -> str:
        return f"<{self.status} {self.headers} {self.body[:300]!r}>"


def answers_in(data: bytes) -> list[Answer]:
    """All answers of a connection. Fails where the bytes are no sequence of whole answers."""
    found: list[Answer] = []
    while data:
        head = _HEAD.match(data)
        assert head, f"no answer begins with {data[:300]!r}"
        answer = Answer(int(head[1]), head[2], b"")
        size = int(answer.header("content-length") or 0)
        answer.body = data[head.end() : head.end() + size]
        assert len(answer.body) == size, f"cut off: {answer}"
        data = data[head.end() + size :]
        found.append(answer)
    return found


def head(method: str, target: bytes | str, *lines: bytes | str) -> bytes:
    """The head of a request, which asks for the connection to be closed."""
    parts = [f"{method} ", target, " HTTP/1.1\r\nHost: veza.example\r\nConnection: close\r\n"]
    for line in lines:
        parts += [line, "\r\n"]
    return b"".join(part.encode() if isinstance(part, str) else part for part in (*parts, "\r\n"))


async def exchange(system: Running, sent: bytes, *, seconds: float = 15) -> list[Answer]:
    """Send bytes, and read until the server closes."""
    async with within(seconds, f"the server to answer and close after {sent[:200]!r}"):
        reader, writer = await asyncio.open_connection("127.0.0.1", system.port)
        try:
            # It may have answered and closed before it has all.
            with suppress(ConnectionError):
                writer.write(sent)
                await writer.drain()
            return answers_in(await reader.read())
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()


async def ask(system: Running, sent: bytes) -> Answer:
    """The same, where there is one answer."""
    [answer] = await exchange(system, sent)
    return answer


async def first_answer(system: Running, sent: bytes) -> Answer:
    """The answer to who may not have sent all, while the server still listens."""
    line = Line(system)
    try:
        return await line.ask(sent)
    finally:
        await line.close()


class Line:
    """A connection that is kept for one request after the other, each as bytes."""

    def __init__(self, system: Running) -> None:
        self._system = system
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, sent: bytes) -> Answer:
        async with within(15, f"an answer to {sent[:300]!r}"):
            if self._streams is None:
                self._streams = await asyncio.open_connection("127.0.0.1", self._system.port)
            reader, writer = self._streams
            writer.write(sent)
            got = await reader.readuntil(b"\r\n\r\n")
            [answer] = answers_in(got + await reader.readexactly(size_in(got)))
            if answer.header("connection") == "close":
                await self.close()
            return answer

    async def close(self) -> None:
        if self._streams is not None:
            writer = self._streams[1]
            self._streams = None
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()


def size_in(head: bytes) -> int:
    found = re.search(rb"(?i)\r\ncontent-length: (\d+)\r\n", head)
    assert found, head
    return int(found[1])


async def others_are_served(person: Person) -> None:
    """Reads and writes, REST and sockets, at both gateways' shards, each well below a client's time-out."""
    async with within(10, "others to be served"):
        room_id = await person.room()
        async with await person.connect() as socket:
            await socket.call("join_room", room_id=room_id)
            written = await person.post(room_id, "still here")
            await socket.through(room_id, written["seq"])
