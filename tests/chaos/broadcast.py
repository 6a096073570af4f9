"""A live stream with all that belongs to it: an encoder that reconnects, a player, and people who watch and talk."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Self

from system.encoder import encoding, key_of, stop
from system.people import People, Person
from system.player import Player
from system.running import Running
from system.sockets import Frame, Refused, Socket
from system.waiting import until, within

LIVE = "live/streams"
# Streaming software waits before it connects again; two seconds are usual, and the tests have less time.
RETRY_S = 0.2
PAUSE_S = 0.05
# A gateway gives up on a shard after 10 s.
ANSWER_S = 20.0


class Encoder:
    """ffmpeg, started again whenever it has ended, as streaming software reconnects; from `run` on."""

    def __init__(self, system: Running, key: str) -> None:
        self.starts = 0
        self._system = system
        self._key = key
        self._process: asyncio.subprocess.Process | None = None
        self._returns = asyncio.Event()
        self._returns.set()
        self._stopped = False

    async def run(self) -> None:
        while not self._stopped:
            async with encoding(self._system, self._key, seconds=3600) as self._process:
                self.starts += 1
                await self._process.wait()
            await asyncio.sleep(RETRY_S)
            await self._returns.wait()

    @property
    def process(self) -> asyncio.subprocess.Process:
        assert self._process is not None
        return self._process

    @property
    def connected(self) -> bool:
        """As far as ffmpeg knows."""
        return self._process is not None and self._process.returncode is None

    def stay_away(self) -> None:
        """Once it has lost its connection, until `come_back`."""
        self._returns.clear()

    def come_back(self) -> None:
        self._returns.set()

    async def loses(self, process: asyncio.subprocess.Process, seconds: float = 10.0) -> None:
        """Wait until this one has lost its connection."""
        async with within(seconds, "the encoder to lose its connection"):
            await process.wait()

    async def stop(self) -> None:
        """As a streamer does."""
        self._stopped = True
        self._returns.set()
        await stop(self.process)


class Broadcast:
    """`viewer` is a socket of somebody who watches."""

    def __init__(
        self,
        system: Running,
        streamer: Person,
        stream: dict[str, Any],
        encoder: Encoder,
        player: Player,
        viewer: Socket,
    ) -> None:
        self.streamer, self.stream = streamer, stream
        self.id: str = stream["id"]
        self.encoder, self.player, self.viewer = encoder, player, viewer
        self._system = system

    async def became(self, status: str, seconds: float = 15.0) -> Frame:
        """The news that it has this status."""

        def tells(frame: Frame) -> bool:
            return frame["type"] == "stream_updated" and frame["stream"]["status"] == status

        return await self.viewer.wait(tells, f"the stream to be {status}", seconds)

    async def is_shown(self, status: str, seconds: float = 20.0) -> dict[str, Any]:
        """Wait until it has this status, without a socket; the stream."""

        async def ask() -> dict[str, Any] | None:
            found = await self.shown()
            return found if found["status"] == status else None

        found = await until(ask, f"the stream to be {status}", seconds)
        assert found is not None
        return found

    async def shown(self) -> dict[str, Any]:
        """As everybody sees it."""
        found: dict[str, Any] = await self.streamer.call("GET", f"{LIVE}/{self.id}")
        return found

    async def said(self) -> list[str]:
        """All messages of its chat, in order."""
        query = {"limit": 100, "order": "oldest"}
        page = await self.streamer.call("GET", f"{LIVE}/{self.id}/messages", params=query)
        messages = list(page["messages"])
        while page["has_more"]:
            page = await self.streamer.call(
                "GET", f"{LIVE}/{self.id}/messages", params={**query, "cursor": page["next_cursor"]}
            )
            messages += page["messages"]
        return [each["content"] for each in messages]

    async def ends(self) -> Frame:
        """Its streamer ends it; what its viewers are told."""
        await self.encoder.stop()
        stopped = await self.viewer.event("stream_stopped", stream_id=self.id)
        await self.player.ends()
        return stopped


@asynccontextmanager
async def broadcasting(system: Running, people: People) -> AsyncIterator[Broadcast]:
    """One that plays."""
    streamer, viewer = await people.register(), await people.register()
    stream = await streamer.call("POST", LIVE, json={"title": "Through thick and thin"})
    encoder = Encoder(system, await key_of(streamer))
    async with await viewer.connect() as socket:
        await socket.call("watch_stream", stream_id=stream["id"])
        pushing = asyncio.create_task(encoder.run(), name="encoder")
        try:
            await socket.event("stream_started", 20.0, stream_id=stream["id"])
            async with Player(system, stream) as player:
                await player.goes_on()
                yield Broadcast(system, streamer, stream, encoder, player, socket)
        finally:
            pushing.cancel()
            await asyncio.gather(pushing, return_exceptions=True)


class Talk:
    """Somebody writes one message after the other in a stream's chat, from `async with` on."""

    def __init__(self, socket: Socket, stream_id: str) -> None:
        self.acknowledged: list[str] = []
        self.longest_wait = 0.0  # for an acknowledgement, in seconds
        self._socket = socket
        self._stream_id = stream_id
        self._over = False
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._talk(), name="talk")
        return self

    async def __aexit__(self, *_: object) -> None:
        """With the message that is on its way."""
        assert self._task is not None
        self._over = True
        await self._task

    async def goes_on(self, messages: int = 5, seconds: float = 30.0) -> None:
        """Wait for so many more to be acknowledged."""
        wanted = len(self.acknowledged) + messages

        async def enough() -> bool:
            assert self._task is not None
            if self._task.done():
                self._task.result()
            return len(self.acknowledged) >= wanted

        await until(enough, f"{messages} more messages", seconds)

    async def _talk(self) -> None:
        for number in itertools.count(1):
            await self._say(f"message {number}")
            if self._over:
                return
            await asyncio.sleep(PAUSE_S)

    async def _say(self, content: str) -> None:
        began = time.monotonic()
        while not await self._said(content):
            await asyncio.sleep(RETRY_S)
        self.longest_wait = max(self.longest_wait, time.monotonic() - began)
        self.acknowledged.append(content)

    async def _said(self, content: str) -> bool:
        """As a client does that does not know whether it was: under the same id again."""
        command = await self._socket.command(
            "stream_message", stream_id=self._stream_id, content=content, client_msg_id=content
        )
        try:
            await self._socket.answer(command, ANSWER_S)
        except Refused as refusal:
            if refusal.code != "UNAVAILABLE":
                raise
            return False
        return True
