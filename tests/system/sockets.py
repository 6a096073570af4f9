"""A raw `veza.v1` socket: it knows JSON and ids, and nothing of what the SDK makes good."""

import asyncio
import itertools
import json
from collections.abc import Callable, Mapping
from typing import Any, Self

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from system.running import Running
from system.waiting import within

Frame = dict[str, Any]
WAIT_S = 10.0


class Refused(Exception):
    """The server answered a command with an error."""

    def __init__(self, code: str, error: Frame) -> None:
        super().__init__(code, error)
        self.code = code
        self.error = error


class Socket:
    """`frames` has everything that came, in order."""

    def __init__(self, connection: ClientConnection) -> None:
        self.frames: list[Frame] = []
        self.connection = connection
        self._ids = itertools.count(1)
        self._came = asyncio.Event()
        self._pump = asyncio.create_task(self._read(), name="socket reader")

    @classmethod
    async def open(
        cls,
        system: Running,
        *,
        token: str | None = None,
        headers: Mapping[str, str] | None = None,
        subprotocols: tuple[str, ...] | None = ("veza.v1",),
        path: str = "/api/v1/ws",
    ) -> Self:
        return cls(await dial(system, token=token, headers=headers, subprotocols=subprotocols, path=path))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        await self.connection.close()
        await self._pump

    async def _read(self) -> None:
        try:
            async for text in self.connection:
                self.frames.append(json.loads(text))
                self._came.set()
        except ConnectionClosed:
            pass
        finally:
            self._came.set()

    # -- out -------------------------------------------------------------------------------------------------

    async def raw(self, message: str | bytes) -> None:
        await self.connection.send(message)

    async def command(self, kind: str, **arguments: Any) -> str:
        """Send a command and do not wait; the id to ask `answer` for."""
        command_id = arguments.setdefault("id", f"c{next(self._ids)}")
        await self.raw(json.dumps({"type": kind, **arguments}))
        return str(command_id)

    async def answer(self, command_id: str, seconds: float = WAIT_S) -> Any:
        """`data` of the reply. Raises Refused."""
        frame = await self.wait(
            lambda f: f.get("id") == command_id and f["type"] in ("reply", "error"),
            f"the answer to {command_id}",
            seconds,
        )
        if frame["type"] == "error":
            raise Refused(frame["error"]["code"], frame["error"])
        return frame["data"]

    async def call(self, kind: str, **arguments: Any) -> Any:
        """Send a command and wait for the `data` of its reply. Raises Refused."""
        return await self.answer(await self.command(kind, **arguments))

    async def send(self, room_id: str, content: str, **arguments: Any) -> Frame:
        found: Frame = await self.call("send_message", room_id=room_id, content=content, **arguments)
        return found

    # -- in --------------------------------------------------------------------------------------------------

    async def wait(self, wanted: Callable[[Frame], bool], what: str, seconds: float = WAIT_S) -> Frame:
        """The first frame that came, or comes, and is `wanted`."""
        seen = 0
        async with within(seconds, f"{what}; what came: {self.frames[-5:]}"):
            while True:
                while seen < len(self.frames):
                    frame = self.frames[seen]
                    seen += 1
                    if wanted(frame):
                        return frame
                if self._pump.done():
                    code = self.connection.close_code
                    raise AssertionError(f"the socket closed with {code} before {what}; it had {self.frames[-5:]}")
                self._came.clear()
                await self._came.wait()

    async def event(self, kind: str, seconds: float = WAIT_S, **fields: Any) -> Frame:
        """The first event of a kind with these fields."""
        return await self.wait(
            lambda f: f["type"] == kind and all(f.get(name) == value for name, value in fields.items()),
            f"the event {kind} {fields}",
            seconds,
        )

    async def until_closed(self, seconds: float = WAIT_S) -> int | None:
        """The close code, once the server has closed the socket."""
        async with within(seconds, f"the server to close the socket; what came: {self.frames[-5:]}"):
            await asyncio.wait([self._pump])
        return self.connection.close_code

    def events(self, room_id: str) -> list[Frame]:
        """The durable events of a room that came live, in the order in which they came."""
        return [frame for frame in self.frames if frame.get("room_id") == room_id and "seq" in frame]

    def seqs(self, room_id: str) -> list[int]:
        return [event["seq"] for event in self.events(room_id)]

    async def through(self, room_id: str, seq: int, seconds: float = WAIT_S) -> list[Frame]:
        """Wait for the event `seq` of a room; all of the room that came."""
        await self.wait(
            lambda f: f.get("room_id") == room_id and f.get("seq") == seq, f"event {seq} of {room_id}", seconds
        )
        return self.events(room_id)

    async def quiet(self) -> None:
        """Everything sent to this socket before now has come: a ping is answered behind it."""
        await self.call("ping")


async def dial(
    system: Running,
    *,
    token: str | None = None,
    headers: Mapping[str, str] | None = None,
    subprotocols: tuple[str, ...] | None = ("veza.v1",),
    path: str = "/api/v1/ws",
) -> ClientConnection:
    """A connection nobody reads yet. Raises `websockets`' InvalidStatus when the upgrade is refused."""
    query = f"?token={token}" if token is not None else ""
    return await connect(
        f"ws://127.0.0.1:{system.port}{path}{query}",
        subprotocols=None if subprotocols is None else [Subprotocol(name) for name in subprotocols],
        additional_headers=headers,
        compression=None,
        ping_interval=None,
        proxy=None,
        open_timeout=WAIT_S,
    )
