"""The live streams of a chat: watched on each connection, and fed with what arrives."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from veza.client.backoff import Backoff
from veza.client.errors import ClientError, CommandTimeout, ConnectionLost, RateLimited
from veza.client.jobs import Jobs
from veza.client.streams import WatchedStream

if TYPE_CHECKING:
    from veza.client.socket import Chat


class WatchedStreams:
    """See `Chat` for the arguments."""

    def __init__(self, chat: "Chat", jobs: Jobs, *, buffer: int, patience: float, chance: Callable[[], float]) -> None:
        self._chat = chat
        self._jobs = jobs
        self._buffer = buffer
        self._patience = patience
        self._chance = chance
        self._streams: dict[str, WatchedStream] = {}
        self._syncs: dict[str, asyncio.Task[None]] = {}

    async def watch(self, stream_id: str, last_seq: int | None) -> WatchedStream:
        """See `Chat.watch`."""
        stream = self._streams.get(stream_id)
        ours = stream is None or not stream.open
        if stream is None or not stream.open:
            self._chat.require_open()
            stream = WatchedStream(self._chat, stream_id, last_seq, self._buffer)
            self._streams[stream_id] = stream
            self._sync(stream)
        elif last_seq is not None:
            raise ValueError("the stream is watched already: unwatch it before beginning at another place")
        try:
            async with asyncio.timeout(self._patience):
                await stream.answered()
        except TimeoutError as error:
            raise CommandTimeout("The stream did not answer in time.") from error
        finally:
            if ours and not stream.settled:
                self.forget(stream)  # timed out, refused or cancelled: nobody has it
        if not stream.open:
            self._chat.require_open()
        return stream

    def forget(self, stream: WatchedStream) -> bool:
        """Let go of a stream; False when that was done before."""
        stream.end()
        if self._streams.get(stream.id) is not stream:
            return False
        del self._streams[stream.id]
        sync = self._syncs.pop(stream.id, None)
        if sync is not None:
            sync.cancel()
        return True

    def resume(self) -> None:
        """There is a connection: every open stream is watched on it."""
        self._syncs.clear()  # they ended with the connection before
        self._streams = {stream_id: stream for stream_id, stream in self._streams.items() if stream.open}
        for stream in self._streams.values():
            self._sync(stream)

    def suspend(self) -> None:
        """The connection is gone."""
        for stream in self._streams.values():
            stream.suspend()

    def end(self, error: ClientError | None) -> None:
        """There will be no connection any more."""
        for stream in self._streams.values():
            stream.end(error)

    def take(self, stream_id: str, kind: str, data: bytes) -> bool:
        """An event of a stream that arrived; False when nobody watches it here."""
        stream = self._streams.get(stream_id)
        if stream is None or not stream.open:
            return False
        stream.take(kind, data)
        return True

    def _sync(self, stream: WatchedStream) -> None:
        if self._chat.connected:
            self._syncs[stream.id] = self._jobs.start(self._watch(stream), f"veza-watch-{stream.id}")

    async def _watch(self, stream: WatchedStream) -> None:
        backoff = Backoff(self._chance, base=0.1)
        while stream.open and not stream.live:
            try:
                await self._chat.request("watch_stream", {"stream_id": stream.id}, on_reply=stream.take_answer)
            except ConnectionLost:
                return  # the next connection watches anew
            except ClientError as error:
                # Who begins is told at once that there are too many; who was there before waits for their place.
                if error.retryable and (stream.settled or not isinstance(error, RateLimited)):
                    await asyncio.sleep(max(error.retry_after or 0, backoff.next()))
                else:
                    stream.end(error)
