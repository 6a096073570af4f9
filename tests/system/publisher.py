"""An encoder by hand: what it sends are bytes of the test's choice."""

import asyncio
import contextlib

from system.waiting import within
from veza.actors.ingest.listener import APP
from veza.realtime.rtmp import amf
from veza.realtime.rtmp.chunks import ChunkReader, ChunkWriter
from veza.realtime.rtmp.handshake import PACKET_BYTES
from veza.realtime.rtmp.messages import Message, MessageType

HANDSHAKE = b"\x03" + bytes(8) + bytes(PACKET_BYTES - 8) + bytes(PACKET_BYTES)
ANSWER_BYTES = 1 + 2 * PACKET_BYTES
RUBBISH = {
    "HTTP": b"GET / HTTP/1.1\r\n\r\n",
    "TLS": b"\x16\x03\x01" + bytes(400),
    # It goes on with a message that never began.
    "noise": HANDSHAKE + bytes(range(255, 0, -1)) * 16,
    # A chunk that claims 4 GiB, as far as three bytes of length and four of time can.
    "a chunk of 4 GiB": HANDSHAKE + b"\x03\xff\xff\xff\xff\xff\xff\x14\x01\x00\x00\x00\xff\xff\xff\xff",
    # A chunk size of 2 GiB, and a message that would fill it.
    "a chunk size of 2 GiB": HANDSHAKE
    + b"\x02\x00\x00\x00\x00\x00\x04\x01\x00\x00\x00\x00\x7f\xff\xff\xff"
    + b"\x03\x00\x00\x00\xff\xff\xff\x09\x01\x00\x00\x00",
}


class Peer:
    """On a real socket."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.chunks = ChunkWriter()
        self._read = ChunkReader()

    def command(self, *values: amf.Value, stream: int = 0) -> None:
        self.say(3, MessageType.COMMAND, amf.encode(*values), stream=stream)

    def say(self, csid: int, kind: int, payload: bytes, *, stream: int = 1, at: int = 0) -> None:
        self.writer.write(self.chunks.write(csid, Message(kind, stream, at, payload)))

    async def ask(self, key: str = "key", app: str = APP) -> None:
        self.writer.write(HANDSHAKE)
        await self.reader.readexactly(ANSWER_BYTES)
        self.command("connect", 1, {"app": app})
        self.writer.write(self.chunks.set_chunk_size(65_536))
        self.command("createStream", 2, None)
        self.command("publish", 3, None, key, "live", stream=1)

    async def status(self) -> str:
        """The code of the next `onStatus`."""
        async with within(5, "an answer"):
            while data := await self.reader.read(65_536):
                for message in self._read.feed(data):
                    values = amf.decode(message.payload) if message.type == MessageType.COMMAND else []
                    if values and values[0] == "onStatus" and isinstance(values[-1], dict):
                        return str(values[-1]["code"])
        raise AssertionError("closed without an answer")

    async def publish(self, key: str = "key") -> None:
        await self.ask(key)
        assert await self.status() == "NetStream.Publish.Start"

    async def closed(self, seconds: float = 5) -> None:
        async with within(seconds, "the connection to be closed"):
            with contextlib.suppress(ConnectionError):
                while await self.reader.read(65_536):
                    pass

    async def gone(self) -> None:
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()
