"""WebSocket frames that break the protocol: each closes its own socket, with the code that says why."""

import asyncio
import os
import struct
from contextlib import suppress

import pytest
from system.people import Person
from system.running import Running
from system.waiting import within

from abuse.wire import others_are_served

TEXT, BINARY, CLOSE, PING, CONTINUATION = 1, 2, 8, 9, 0


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True, bits: int = 0, masked: bool = True) -> bytes:
    size = len(payload)
    first = (0x80 if fin else 0) | bits | opcode
    length = bytes([size]) if size < 126 else b"\x7e" + struct.pack("!H", size) if size < 65_536 else b""
    length = length or b"\x7f" + struct.pack("!Q", size)
    if not masked:
        return bytes([first]) + length + payload
    mask = os.urandom(4)
    hidden = bytes(byte ^ mask[place % 4] for place, byte in enumerate(payload))
    return bytes([first, length[0] | 0x80]) + length[1:] + mask + hidden


COMMAND = b'{"type":"ping"}'
BROKEN = {
    "unmasked": (frame(TEXT, COMMAND, masked=False), 1002),
    "reserved bit 1": (frame(TEXT, COMMAND, bits=0x40), 1002),
    "reserved bit 2": (frame(TEXT, COMMAND, bits=0x20), 1002),
    "reserved bit 3": (frame(TEXT, COMMAND, bits=0x10), 1002),
    "reserved opcode": (frame(3, COMMAND), 1002),
    "reserved control opcode": (frame(0xB), 1002),
    "a fragmented ping": (frame(PING, b"a", fin=False), 1002),
    "a long ping": (frame(PING, b"a" * 126), 1002),
    "a continuation of nothing": (frame(CONTINUATION, COMMAND), 1002),
    "a message inside another": (frame(TEXT, b"{", fin=False) + frame(TEXT, b"}"), 1002),
    "a length of 2^63": (b"\x81\xff" + b"\xff" * 8 + b"\0" * 4, 1009),
    "a length beyond the limit": (b"\x81\xff" + struct.pack("!Q", 65_537) + b"\0" * 4, 1009),
    "endless fragments": (frame(TEXT, b"", fin=False) + frame(CONTINUATION, b"", fin=False) * 1100, 1009),
    "fragments that are too much together": (
        frame(TEXT, b"x" * 60_000, fin=False) + frame(CONTINUATION, b"x" * 60_000, fin=False),
        1009,
    ),
    "bad UTF-8": (frame(TEXT, b'{"type":"ping","id":"\xff"}'), 1007),
    "bad UTF-8 in a field that nobody reads": (frame(TEXT, b'{"type":"ping","more":"\xc0\xaf"}'), 1007),
    "a surrogate in UTF-8": (frame(TEXT, b'{"type":"ping","id":"\xed\xa0\x80"}'), 1007),
    "UTF-8 that breaks off": (frame(TEXT, b"\xf0\x9f", fin=False) + frame(CONTINUATION, b"\x8e"), 1007),
}


class Line:
    """A socket of bytes, upgraded and no more."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def open(cls, system: Running, token: str | None) -> "Line":
        reader, writer = await asyncio.open_connection("127.0.0.1", system.port)
        query = f"?token={token}" if token else ""
        writer.write(
            f"GET /ws{query} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
        )
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 "), head
        return cls(reader, writer)

    async def close_code(self) -> int:
        """Read until the server's close frame, and answer it."""
        async with within(10, "the server to close"):
            while True:
                first, second = await self.reader.readexactly(2)
                size = second & 0x7F
                if size == 126:
                    [size] = struct.unpack("!H", await self.reader.readexactly(2))
                payload = await self.reader.readexactly(size)
                if first & 0x0F == CLOSE:
                    return int.from_bytes(payload[:2], "big")

    async def gone(self) -> None:
        self.writer.close()
        with suppress(ConnectionError):
            await self.writer.wait_closed()


@pytest.mark.parametrize("known", [True, False], ids=["known", "unknown"])
@pytest.mark.parametrize("name", BROKEN)
async def test_a_broken_frame_closes_its_own_socket(system: Running, ada: Person, name: str, known: bool) -> None:
    sent, code = BROKEN[name]
    async with await ada.connect() as other:
        line = await Line.open(system, await ada.chat_token() if known else None)
        line.writer.write(sent)
        assert await line.close_code() == code
        # All of it is over: what follows does nothing.
        with suppress(ConnectionError):
            line.writer.write(frame(TEXT, COMMAND) * 10)
        await line.gone()
        await other.call("ping")


async def test_text_of_every_length_of_utf_8_is_text(ada: Person) -> None:
    async with await ada.connect() as socket:
        for text in ("a", "é", "€", "🎸", "\u202e\u0301", "\ufeff", "\U0010ffff"):
            await socket.call("ping", id=text)


async def test_frames_a_byte_at_a_time(system: Running, ada: Person, bob: Person) -> None:
    """Fifty sockets that send a large frame so slowly that it never ends, and go without a goodbye."""
    lines = [await Line.open(system, await ada.chat_token()) for _ in range(50)]
    for piece in (b"\x81", b"\xfe", b"\xff", b"\xff", b"1", b"2", b"3", b"4", *[b"x"] * 30):
        for line in lines:
            line.writer.write(piece)
        await asyncio.sleep(0)
    await others_are_served(bob)
    for line in lines:
        line.writer.transport.abort()
    await others_are_served(ada)


async def test_requests_and_frames_in_one_breath(system: Running, ada: Person) -> None:
    """Frames right behind the upgrade, before it is answered."""
    reader, writer = await asyncio.open_connection("127.0.0.1", system.port)
    upgrade = (
        f"GET /ws?token={await ada.chat_token()} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    writer.write(upgrade.encode() + frame(TEXT, b"\xff"))
    line = Line(reader, writer)
    await reader.readuntil(b"\r\n\r\n")
    # They may be lost with the request; then the next one is read, and nothing before it.
    writer.write(frame(TEXT, COMMAND, masked=False))
    assert await line.close_code() in (1002, 1007)
    await line.gone()
    await others_are_served(ada)
