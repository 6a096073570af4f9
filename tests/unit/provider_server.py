"""A small HTTP server in place of a payment provider: it answers as it is told, and can be told to misbehave."""

import asyncio
import contextlib
import json
import socket
from collections.abc import Callable, Iterator
from enum import Enum
from types import TracebackType
from typing import Any, NamedTuple, Self
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec


class Request(NamedTuple):
    """What came, as a whole."""

    verb: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def form(self) -> dict[str, str]:
        return dict(parse_qsl(self.body.decode(), strict_parsing=True))


class Reply(msgspec.Struct, frozen=True):
    """An answer; a body that is not bytes is sent as JSON."""

    body: Any = b""
    status: int = 200
    headers: dict[str, str] = {}

    @property
    def sent(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


class Fault(Enum):
    """What is done with a request in place of answering it."""

    HANG = "never answers"
    CUT = "closes the connection"
    CUT_WITHIN = "closes the connection within the body"
    DRIP = "sends a body of which there is always more"


Answer = Reply | Fault


def in_turn(*answers: Answer) -> Callable[[Request], Answer]:
    """One answer after the other; the last one again and again."""
    left = list(answers)
    return lambda _: left.pop(0) if len(left) > 1 else left[0]


class ProviderServer:
    """`answer` says what to do with a request. One that is `deaf` reads nothing, and so breaks every TLS handshake."""

    def __init__(self, answer: Callable[[Request], Answer] | None = None, *, deaf: Fault | None = None) -> None:
        self.answer = answer or in_turn(Reply())
        self.deaf = deaf
        self.requests: list[Request] = []
        self.connections = 0
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)
        await self._server.wait_closed()

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    @property
    def tls_url(self) -> str:
        """For a client that tries TLS, which is not spoken here: it never comes to send a request."""
        return self.url.replace("http:", "https:")

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            # The client may leave at any time, and the test may end.
            with contextlib.suppress(OSError, EOFError, asyncio.CancelledError):
                if self.deaf is Fault.HANG:
                    await asyncio.Event().wait()
                while self.deaf is None and await self._serve(reader, writer):
                    pass
        finally:
            self._open.discard(task)
            writer.close()
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await writer.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request; whether there may be another on the connection."""
        request = await _read(reader)
        self.requests.append(request)
        answer = self.answer(request)
        match answer:
            case Reply(status=status, headers=headers):
                body = answer.sent
                writer.write(_head(status, {"content-length": str(len(body)), **headers}) + body)
            case Fault.HANG:
                await asyncio.Event().wait()
            case Fault.CUT:
                return False
            case Fault.CUT_WITHIN:
                writer.write(_head(200, {"content-length": "100"}) + b'{"id":')
                await writer.drain()
                return False
            case Fault.DRIP:
                writer.write(_head(200, {"content-length": "1000000"}))
                while True:
                    writer.write(b" ")
                    await writer.drain()
                    await asyncio.sleep(0.01)
        await writer.drain()
        return True


async def _read(reader: asyncio.StreamReader) -> Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").splitlines()
    verb, target, _ = head[0].split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
    parts = urlsplit(target)
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Request(verb, unquote(parts.path), dict(parse_qsl(parts.query)), headers, body)


def _head(status: int, headers: dict[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} Scripted", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode()


@contextlib.contextmanager
def refusing() -> Iterator[str]:
    """The address of a port that is taken and refuses every connection."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"
