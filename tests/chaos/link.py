"""A connection that comes back: no more than the protocol promises, and no SDK."""

import asyncio
import itertools
import json
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
from system.people import Person
from system.sockets import Frame, dial
from system.waiting import within
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import InvalidHandshake, WebSocketException

RETRY_S = 0.1
# A gateway gives up on a shard after 10 s: within that every command is answered.
ANSWER_S = 20.0
# A start of everything, on a busy machine.
CONNECT_S = 90.0


class Lost(Exception):
    """The connection ended, or the server said to try again: whether the command was carried out is not known."""


class Link:
    """`on_frame` gets what is no answer; `on_open` is told of each new connection."""

    def __init__(
        self,
        person: Person,
        on_frame: Callable[[Frame], None] = lambda _: None,
        on_open: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._person = person
        self._on_frame = on_frame
        self._on_open = on_open
        self._connection: ClientConnection | None = None
        self._up = asyncio.Event()
        self._ids = itertools.count(1)
        self._waiting: dict[str, tuple[asyncio.Future[Any], Callable[[Any], None]]] = {}

    async def run(self) -> None:
        """Stay connected until cancelled."""
        opening: asyncio.Task[None] | None = None
        while True:
            self._connection = await self._connect()
            self._up.set()
            try:
                if self._on_open is not None:
                    opening = asyncio.create_task(self._open(self._on_open), name="on open")
                async for text in self._connection:
                    self._take(json.loads(text))
            except WebSocketException:
                pass  # cut: that is what these tests are about
            finally:
                self._up.clear()
                for future, _ in self._waiting.values():
                    if not future.done():
                        future.set_exception(Lost())
                self._waiting.clear()
                await self._connection.close()
                if opening is not None:
                    await opening

    async def _open(self, on_open: Callable[[], Awaitable[None]]) -> None:
        try:
            await on_open()
        except Lost:
            await self.cut()

    async def cut(self) -> None:
        """Close the connection; another is made."""
        if self._connection is not None:
            await self._connection.close()

    async def _connect(self) -> ClientConnection:
        async with within(CONNECT_S, f"{self._person.username} to get a connection"):
            while True:
                try:
                    answer = await self._person.ask("GET", "chat/token")
                    if answer.status_code == 200:
                        return await dial(self._person.system, token=answer.json()["data"]["token"])
                    assert answer.status_code == 503, answer.text
                except (httpx.TransportError, OSError, InvalidHandshake, EOFError):
                    pass  # nobody there (yet)
                await asyncio.sleep(RETRY_S)

    def _take(self, frame: Frame) -> None:
        if frame["type"] not in ("reply", "error"):
            self._on_frame(frame)
            return
        assert frame["id"] is not None, f"an error without a command: {frame}"
        future, on_reply = self._waiting.pop(frame["id"])
        if frame["type"] == "reply":
            # Here and not by whoever waits: later frames must find it done.
            on_reply(frame["data"])
            future.set_result(frame["data"])
        elif frame["error"]["code"] == "UNAVAILABLE":
            future.set_exception(Lost())
        else:
            future.set_exception(AssertionError(f"refused: {frame}"))

    async def call(self, kind: str, on_reply: Callable[[Any], None] = lambda _: None, **arguments: Any) -> Any:
        """`data` of the reply. Raises Lost."""
        async with within(CONNECT_S, "a connection"):
            await self._up.wait()
        connection = self._connection
        assert connection is not None
        command_id = f"c{next(self._ids)}"
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting[command_id] = future, on_reply
        try:
            await connection.send(json.dumps({"type": kind, "id": command_id, **arguments}))
        except WebSocketException:
            self._waiting.pop(command_id, None)
            future.cancel()
            raise Lost from None
        async with within(ANSWER_S, f"an answer to {kind}"):
            return await future
