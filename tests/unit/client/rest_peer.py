"""A few REST routes over plain asyncio, with tokens that expire and rotate as the real ones do."""

import asyncio
import json
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, quote, urlsplit

from python_multipart.multipart import MultipartParser, parse_options_header

Answer = tuple[int, Any]
USER = {"id": "11111111-1111-4111-8111-111111111111", "username": "ada", "email": "ada@example.com"}


class Form:
    """A form with one file."""

    def __init__(self, name: str, mime_type: str, data: bytes) -> None:
        self.name = name
        self.mime_type = mime_type
        self.data = data

    @classmethod
    def parse(cls, content_type: str, raw: bytes) -> Self:
        kept: dict[str, list[bytes]] = {"name": [], "type": [], "data": []}
        field = b""

        def header(data: bytes, start: int, end: int) -> None:
            nonlocal field
            field = data[start:end]

        def value(data: bytes, start: int, end: int) -> None:
            if field == b"Content-Disposition":
                kept["name"].append(parse_options_header(data[start:end])[1][b"filename"])
            else:
                kept["type"].append(data[start:end])

        _, options = parse_options_header(content_type)
        parser = MultipartParser(
            options[b"boundary"],
            {
                "on_header_field": header,
                "on_header_value": value,
                "on_part_data": lambda data, start, end: kept["data"].append(data[start:end]),
            },
        )
        parser.write(raw)
        parser.finalize()
        return cls(kept["name"][0].decode(), kept["type"][0].decode(), b"".join(kept["data"]))


class File:
    """An answer that is no JSON; `cut` sends half of it."""

    def __init__(self, name: str, data: bytes, *, cut: bool = False) -> None:
        self.headers = (
            f"Content-Disposition: attachment; filename=\"plain_\"; filename*=UTF-8''{quote(name)}\r\n"
            "Content-Type: audio/flac\r\n"
        )
        self.data = data
        self.cut = cut


class RestPeer:
    """`routes` maps `METHOD path` to an answer, or to what makes one of (body, query); all want the present token."""

    def __init__(self, expires_in: int = 3600) -> None:
        self.expires_in = expires_in
        self.generation = 0
        self.refreshes = 0
        self.expired = ""
        self.revoked = False
        self.hold_refresh: asyncio.Event | None = None
        self.refresh_began = asyncio.Event()
        self.hold_body: asyncio.Event | None = None
        self.body_began = asyncio.Event()
        self.requests: list[tuple[str, dict[str, str], Any]] = []
        self.routes: dict[str, Answer | Callable[[Any, dict[str, str]], Answer]] = {}
        # Where `/api/v1/ws` is really served, when there is chat too.
        self.socket_port: int | None = None
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connection, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def credentials(self) -> dict[str, Any]:
        self.generation += 1
        return {
            "access_token": f"access-{self.generation}",
            "refresh_token": f"refresh-{self.generation}",
            "expires_in": self.expires_in,
            "user": USER,
        }

    def expire(self) -> None:
        """The access token is not good any more; the refresh token is."""
        self.expired = f"access-{self.generation}"

    async def _answer(self, method: str, path: str, headers: dict[str, str], body: Any) -> Answer:
        route, query = urlsplit(path).path, parse_qs(urlsplit(path).query)
        name = f"{method} {route.removeprefix('/api/v1/')}"
        if name in ("POST auth/login", "POST auth/register"):
            return 201 if "register" in name else 200, ok(self.credentials())
        if name == "POST auth/refresh":
            return await self._refresh(body)
        if name != "GET health" and (
            headers.get("authorization") != f"Bearer access-{self.generation}"
            or self.expired == f"access-{self.generation}"
        ):
            return 401, refused("unauthenticated", "A valid access token is required.")
        handler = self.routes.get(name)
        if handler is None:
            return 404, refused("not_found", "There is no such thing.")
        if not callable(handler):
            return handler
        return handler(body, {key: values[0] for key, values in query.items()})

    async def _refresh(self, body: Any) -> Answer:
        self.refreshes += 1
        self.refresh_began.set()
        if self.revoked or body["refresh_token"] != f"refresh-{self.generation}":
            self.revoked = True  # a token used twice ends the session
            return 401, refused("unauthenticated", "The session has ended.")
        answer = ok(self.credentials())
        if self.hold_refresh is not None:
            await self.hold_refresh.wait()
        return 200, answer

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                first, *lines = head.decode().strip().split("\r\n")
                method, path, _ = first.split(" ")
                headers = {name.lower(): value.strip() for name, _, value in (one.partition(":") for one in lines)}
                if headers.get("upgrade"):
                    await self._tunnel(head, reader, writer)
                    return
                if self.hold_body is not None:
                    self.body_began.set()
                    await self.hold_body.wait()
                raw = await reader.readexactly(int(headers.get("content-length", 0)))
                if headers.get("content-type", "").startswith("multipart/"):
                    body = Form.parse(headers["content-type"], raw)
                else:
                    body = json.loads(raw) if raw else None
                self.requests.append((f"{method} {path}", headers, body))
                status, answer = await self._answer(method, path, headers, body)
                file = answer if isinstance(answer, File) else None
                data = file.data if file else answer if isinstance(answer, bytes) else json.dumps(answer).encode()
                later = "Retry-After: 3\r\n" if status in (429, 503) else ""
                top = (
                    f"HTTP/1.1 {status} Status\r\nContent-Length: {len(data)}\r\nX-Request-ID: req-9\r\n"
                    f"{file.headers if file else ''}"
                    f"Set-Cookie: veza_refresh=secret; Path=/api/v1\r\n{later}\r\n"
                )
                cut = file is not None and file.cut
                writer.write(top.encode() + (data[: len(data) // 2] if cut else data))
                await writer.drain()
                if cut:
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client is done
        finally:
            writer.close()

    async def _tunnel(self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", self.socket_port)
        inner_writer.write(head)
        copies = {
            asyncio.create_task(copy(reader, inner_writer)),
            asyncio.create_task(copy(inner_reader, writer)),
        }
        try:
            await asyncio.wait(copies, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in copies:
                one.cancel()
            await asyncio.wait(copies)
            inner_writer.close()


async def copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    try:
        while data := await source.read(65536):
            target.write(data)
            await target.drain()
    except ConnectionError:
        pass  # one side went; the other is closed next


def ok(data: Any) -> dict[str, Any]:
    return {"success": True, "data": data}


def refused(code: str, message: str, **more: Any) -> dict[str, Any]:
    return {"success": False, "error": message, "code": code, "request_id": "req-1", **more}
