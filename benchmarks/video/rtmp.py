"""A publisher's side of RTMP, as OBS speaks it: chunks of 4,096 bytes, and one write for each frame."""

import asyncio
import os
from typing import Any, Final
from urllib.parse import urlsplit

from benchmarks.video.flv import AUDIO, SCRIPT, VIDEO, Tag
from veza.realtime.rtmp import amf
from veza.realtime.rtmp.chunks import ChunkReader, ChunkWriter
from veza.realtime.rtmp.messages import Message, MessageType

CHUNK_BYTES = 4096
# Chunk streams; each kind of media has its own, so that times are told as differences within it.
CALLS: Final = 3
CSID: Final = {AUDIO: 4, VIDEO: 6, SCRIPT: 5}
_VERSION = b"\3"
_RANDOM_BYTES = 1528
_SIDE_BYTES = 1536
_CONNECT, _RELEASE, _ANNOUNCE, _CREATE, _PUBLISH = 1, 2, 3, 4, 5  # transactions
_PATIENCE_S = 20.0


class Publisher(asyncio.Protocol):
    """One connection that publishes. Made by `publish`."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.host, self.port = parts.hostname or "127.0.0.1", parts.port or 1935
        self._app, _, self._name = parts.path.strip("/").partition("/")
        self._url = url.removesuffix(f"/{self._name}")
        self._writer, self._reader = ChunkWriter(), ChunkReader()
        self._greeting = bytearray()
        self._shaken = False
        self._transport: Any = None
        self.stream_id = 0
        self.lost = False
        self.published: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def write(self, chunks: bytes) -> None:
        self._transport.write(chunks)

    def send(self, tag: Tag) -> None:
        """A tag of FLV, at its time."""
        body = amf.encode("@setDataFrame") + tag.body if tag.kind == SCRIPT else tag.body
        self.write(self._writer.write(CSID[tag.kind], Message(tag.kind, self.stream_id, tag.timestamp, body)))

    @property
    def unsent(self) -> int:
        """Bytes that the server has not taken yet."""
        found: int = self._transport.get_write_buffer_size()
        return found

    async def end(self) -> None:
        """As an encoder does that is told to stop."""
        if not self.lost:
            self._call(0, "FCUnpublish", _PUBLISH + 1, None, self._name)
            self._call(0, "deleteStream", _PUBLISH + 2, None, self.stream_id)
            self._transport.close()
        while not self.lost:
            await asyncio.sleep(0.01)

    # What the transport calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self.write(_VERSION + bytes(8) + os.urandom(_RANDOM_BYTES))

    def data_received(self, data: bytes) -> None:
        if not self._shaken:
            self._greeting += data
            if len(self._greeting) < 1 + 2 * _SIDE_BYTES:
                return
            self._shaken = True
            self.write(bytes(self._greeting[1 : 1 + _SIDE_BYTES]))
            data = bytes(self._greeting[1 + 2 * _SIDE_BYTES :])
            properties: dict[str, amf.Value] = {"app": self._app, "type": "nonprivate", "tcUrl": self._url}
            self._call(0, "connect", _CONNECT, {**properties, "flashVer": "FMLE/3.0 (compatible; bench)"})
        for message in self._reader.feed(data):
            if message.type == MessageType.COMMAND and not self.published.done():
                self._answered(amf.decode(message.payload))

    def connection_lost(self, error: Exception | None) -> None:
        self.lost = True
        if not self.published.done():
            self.published.set_exception(ConnectionError(f"{self._url}: closed before it was published: {error}"))

    def _answered(self, values: list[amf.Value]) -> None:
        match values:
            case ["_result", float(number), *_] if number == _CONNECT:
                self.write(self._writer.set_chunk_size(CHUNK_BYTES))
                self._call(0, "releaseStream", _RELEASE, None, self._name)
                self._call(0, "FCPublish", _ANNOUNCE, None, self._name)
                self._call(0, "createStream", _CREATE, None)
            case ["_result", float(number), _, float(stream_id), *_] if number == _CREATE:
                self.stream_id = int(stream_id)
                self._call(self.stream_id, "publish", _PUBLISH, None, self._name, "live")
            case ["onStatus", _, _, {"code": "NetStream.Publish.Start"}, *_]:
                self.published.set_result(None)
            case ["onStatus", _, _, {"level": "error", "description": why}, *_]:
                self.published.set_exception(ConnectionError(f"{self._url}: {why}"))

    def _call(self, stream_id: int, *values: amf.Value) -> None:
        self.write(self._writer.write(CALLS, Message(MessageType.COMMAND, stream_id, 0, amf.encode(*values))))


async def publish(url: str) -> Publisher:
    """Raises OSError when nobody listens, when the server refuses, and when it stays silent."""
    publisher = Publisher(url)
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(_PATIENCE_S):
        await loop.create_connection(lambda: publisher, publisher.host, publisher.port)
        await publisher.published
    return publisher


def following(tag: Tag, delta: int) -> bytes:
    """The chunks of a tag so many milliseconds after the last of its kind: they are the same each time it is sent."""
    csid, body = CSID[tag.kind], tag.body
    # Type 1 (RTMP 1.0, 5.3.1.2.2) leaves out the message stream; the rest of a message is of type 3.
    head = bytes((1 << 6 | csid,)) + delta.to_bytes(3, "big") + len(body).to_bytes(3, "big") + bytes((tag.kind,))
    again = bytes((3 << 6 | csid,))
    return head + again.join(body[start : start + CHUNK_BYTES] for start in range(0, len(body), CHUNK_BYTES))
