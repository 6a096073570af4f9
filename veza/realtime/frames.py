"""WebSocket frames (RFC 6455) without I/O: the server's half, no extensions.

Ours because it is on the path of every message: a socket costs one small object here instead of a task and two
queues, and a frame that was encoded once is written to a thousand sockets as it is.
"""

import base64
import enum
import hashlib
from collections.abc import Iterator

from websockets.speedups import apply_mask

MAX_MESSAGE_BYTES = 65_536
# Empty fragments add nothing to a message's size, yet each costs the time of a frame.
MAX_FRAGMENTS = 1024
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, section 1.3


class Opcode(enum.IntEnum):
    CONTINUATION = 0x0
    TEXT = 0x1
    BINARY = 0x2
    CLOSE = 0x8
    PING = 0x9
    PONG = 0xA


class CloseCode(enum.IntEnum):
    NORMAL = 1000
    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    NO_STATUS = 1005
    NOT_TEXT = 1007
    TOO_BIG = 1009
    INTERNAL = 1011
    AUTH_TIMEOUT = 4001
    REVOKED = 4003
    SLOW_CONSUMER = 4008
    ABUSE = 4029


class FrameError(Exception):
    """The peer broke the protocol; the connection must close with `code`."""

    def __init__(self, code: CloseCode, reason: str) -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason


def accept_key(key: str) -> str:
    """`Sec-WebSocket-Accept` for a client's `Sec-WebSocket-Key` (RFC 6455, 4.2.2)."""
    digest = hashlib.sha1(key.encode() + _GUID, usedforsecurity=False).digest()
    return base64.b64encode(digest).decode()


def encode(payload: bytes, opcode: Opcode = Opcode.TEXT) -> bytes:
    """One unmasked, unfragmented frame."""
    size = len(payload)
    first = 0x80 | opcode
    if size < 126:
        return bytes((first, size)) + payload
    if size < 65_536:
        return bytes((first, 126)) + size.to_bytes(2, "big") + payload
    return bytes((first, 127)) + size.to_bytes(8, "big") + payload


def payload_of(frame: bytes) -> bytes:
    """The payload of a frame made by `encode`."""
    length = frame[1]
    return frame[2:] if length < 126 else frame[4:] if length == 126 else frame[10:]


def encode_close(code: CloseCode, reason: str = "") -> bytes:
    # Cut between characters: a reason is UTF-8, and a control frame has at most 125 bytes.
    text = reason.encode()[:120].decode(errors="ignore")
    return encode(int(code).to_bytes(2, "big") + text.encode(), Opcode.CLOSE)


def check_text(payload: bytes) -> None:
    """Raises FrameError when the payload of a text message is not UTF-8 (RFC 6455, 8.1)."""
    try:
        payload.decode()
    except UnicodeDecodeError:
        raise FrameError(CloseCode.NOT_TEXT, "text that is not UTF-8") from None


class FrameReader:
    """Turns bytes of a client into whole messages. Idle, it holds nothing but two Nones.

    `feed` yields `(opcode, payload)`; fragments are joined, control frames come out between them. It raises
    FrameError on the first violation, after everything before it was yielded.
    """

    __slots__ = ("_buffer", "_fragments", "_partial", "_partial_opcode")

    def __init__(self) -> None:
        self._buffer: bytes | None = None
        self._partial: bytearray | None = None  # set between the first and the last fragment of a message
        self._partial_opcode = Opcode.TEXT
        self._fragments = 0

    def feed(self, data: bytes) -> Iterator[tuple[Opcode, bytes]]:
        if self._buffer is not None:
            data = self._buffer + data
            self._buffer = None
        start, end = 0, len(data)
        while end - start >= 2:
            head, second = data[start], data[start + 1]
            size = _check_header(head, second)
            offset = start + 2
            if size == 126:
                if end - offset < 2:
                    break
                size = (data[offset] << 8) | data[offset + 1]
                offset += 2
            elif size == 127:
                if end - offset < 8:
                    break
                size = int.from_bytes(data[offset : offset + 8], "big")
                offset += 8
            if size > MAX_MESSAGE_BYTES:
                raise FrameError(CloseCode.TOO_BIG, "message too big")
            stop = offset + 4 + size
            if end < stop:
                break
            payload = apply_mask(data[offset + 4 : stop], data[offset : offset + 4])
            start = stop
            message = self._assemble(head, payload)
            if message is not None:
                # A consumer may stop here for good (a close): what follows is then dropped with the reader.
                yield message
        if start < end:
            self._buffer = data[start:] if start else data

    def _assemble(self, head: int, payload: bytes) -> tuple[Opcode, bytes] | None:
        opcode = Opcode(head & 0x0F)
        final = head & 0x80
        if opcode >= Opcode.CLOSE:
            return opcode, payload
        if opcode is not Opcode.CONTINUATION:
            if self._partial is not None:
                raise FrameError(CloseCode.PROTOCOL_ERROR, "a new message inside another")
            if final:
                return opcode, payload
            self._partial, self._partial_opcode, self._fragments = bytearray(payload), opcode, 1
            return None
        if self._partial is None:
            raise FrameError(CloseCode.PROTOCOL_ERROR, "a continuation of nothing")
        self._partial += payload
        self._fragments += 1
        if len(self._partial) > MAX_MESSAGE_BYTES or self._fragments > MAX_FRAGMENTS:
            raise FrameError(CloseCode.TOO_BIG, "message too big")
        if not final:
            return None
        whole, self._partial = bytes(self._partial), None
        return self._partial_opcode, whole


_OPCODES = frozenset(Opcode)


def _check_header(head: int, second: int) -> int:
    """The 7-bit length, when the first two bytes are legal from a client."""
    opcode = head & 0x0F
    if head & 0x70 or opcode not in _OPCODES:
        raise FrameError(CloseCode.PROTOCOL_ERROR, "reserved bits or opcode")
    if not second & 0x80:
        raise FrameError(CloseCode.PROTOCOL_ERROR, "a client's frames are masked")
    size = second & 0x7F
    if opcode >= Opcode.CLOSE and (size > 125 or not head & 0x80):
        raise FrameError(CloseCode.PROTOCOL_ERROR, "a control frame is short and whole")
    return size
