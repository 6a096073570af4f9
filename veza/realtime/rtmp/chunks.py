"""The chunk stream (RTMP 1.0, 5.3): messages cut into chunks, so that a long one does not hold up the others.

Each message of a chunk stream says only what differs from the one before it: format 0 says everything, 1 leaves out
the message stream, 2 also length and type, 3 says nothing and is also what continues a message.
"""

import io
from collections.abc import Iterator

from veza.realtime.rtmp.errors import RtmpError
from veza.realtime.rtmp.messages import Message, MessageType

DEFAULT_CHUNK_BYTES = 128
# A message has at most this many bytes, so a larger chunk size means the same (5.4.1).
MAX_CHUNK_BYTES = 0xFF_FFFF
MAX_MESSAGE_BYTES = 8 << 20
MAX_UNFINISHED_BYTES = 16 << 20
# Commands and data are AMF, which is decoded to many small objects.
MAX_AMF_BYTES = 65_536
MAX_CONTROL_BYTES = 64
# A publisher uses four or five. The bound is on all that were ever used, and so also on unfinished messages.
MAX_CHUNK_STREAMS = 64
# A chunk that carries next to nothing costs as much time as any. The least that an encoder sends is silence, of four
# bytes or more with its header; the surplus is for what is short at the beginning.
MIN_CHUNK_BYTES = 4
SURPLUS_CHUNKS = 10_000
# What publishers expect before they have said a window of their own; it is what servers usually announce.
DEFAULT_WINDOW_BYTES = 2_500_000

_MAX_HEADER_BYTES = 3 + 11 + 4
_HEADER_BYTES = (11, 7, 3, 0)
_EXTENDED = 0xFF_FFFF
_MASK = 0xFFFF_FFFF
_AMF = frozenset((MessageType.COMMAND, MessageType.COMMAND_AMF3, MessageType.DATA, MessageType.DATA_AMF3))
_LAST_CONTROL = MessageType.PEER_BANDWIDTH
_FOR_CHUNKS = frozenset((MessageType.SET_CHUNK_SIZE, MessageType.ABORT, MessageType.WINDOW_SIZE))


class _Incoming:
    """What is known of a chunk stream: the last header, and a message that is under way."""

    __slots__ = ("delta", "extended", "have", "length", "partial", "stream_id", "timestamp", "type", "underway")

    def __init__(self) -> None:
        self.timestamp = self.delta = self.length = self.type = self.stream_id = self.have = 0
        self.extended = False
        self.underway = False  # a chunk of the message has begun, and it is not whole
        # Memory, not I/O: it becomes `bytes` without another copy.
        self.partial: io.BytesIO | None = None


class ChunkReader:
    """Turns bytes of a peer into whole messages.

    `feed` yields them in the order in which they end. Chunk sizes, aborted messages and the peer's window are dealt
    with here. It raises RtmpError on the first violation, after everything before it was yielded, and is then of no
    more use. What it keeps is bounded by `max_unfinished`, whatever lengths a peer claims.
    """

    __slots__ = (
        "_acknowledged",
        "_chunks",
        "_current",
        "_head",
        "_left",
        "_streams",
        "chunk_size",
        "max_message",
        "max_unfinished",
        "received",
        "unfinished",
        "window",
    )

    def __init__(self, max_message: int = MAX_MESSAGE_BYTES, max_unfinished: int = MAX_UNFINISHED_BYTES) -> None:
        self.max_message = max_message
        self.max_unfinished = max_unfinished
        self.chunk_size = DEFAULT_CHUNK_BYTES
        self.window = DEFAULT_WINDOW_BYTES
        self.received = 0
        self.unfinished = 0
        self._acknowledged = 0
        self._chunks = 0
        self._streams: dict[int, _Incoming] = {}
        self._head = b""  # the beginning of a header
        self._current: _Incoming | None = None  # whose chunk is under way
        self._left = 0  # of that chunk

    def feed(self, data: bytes) -> Iterator[Message]:
        self.received += len(data)
        start, end = 0, len(data)
        if self._head:
            head = self._head + data[: _MAX_HEADER_BYTES - len(self._head)]
            after = self._read_header(head, 0)
            if after < 0:
                self._head = head
                return
            start = after - len(self._head)
            self._head = b""
        view = memoryview(data)
        while True:
            current = self._current
            if current is None:
                if start == end:
                    return
                after = self._read_header(data, start)
                if after < 0:
                    self._head = data[start:]
                    return
                start = after
                continue
            size = min(self._left, end - start)
            stop = start + size
            if current.have + size == current.length:
                if current.partial is None:
                    payload = data[start:stop]
                else:
                    current.partial.write(view[start:stop])
                    payload = current.partial.getvalue()
                start = stop
                self._current = None
                self._forget(current)
                if not self._control(current.type, payload):
                    yield Message(current.type, current.stream_id, current.timestamp, payload)
                continue
            if size:
                self._keep(current, view[start:stop])
            start = stop
            self._left -= size
            if self._left:
                return
            self._current = None

    def acknowledgement(self) -> int | None:
        """The sequence number to acknowledge, when a window of the peer's has come since the last (5.4.3)."""
        if self.received - self._acknowledged < self.window:
            return None
        self._acknowledged = self.received
        return self.received & _MASK

    def _keep(self, stream: _Incoming, part: memoryview) -> None:
        self.unfinished += len(part)
        if self.unfinished > self.max_unfinished:
            raise RtmpError("too many bytes in unfinished messages")
        if stream.partial is None:
            stream.partial = io.BytesIO()
        stream.partial.write(part)
        stream.have += len(part)

    def _forget(self, stream: _Incoming) -> None:
        self.unfinished -= stream.have
        stream.have = 0
        stream.partial = None
        stream.underway = False

    def _read_header(self, data: bytes, start: int) -> int:
        """Where the header at `start` ends, once `_current` and `_left` say what follows; -1 if it is not whole."""
        end = len(data)
        form = data[start] >> 6
        csid = data[start] & 0x3F
        start += 1
        if csid < 2:  # 5.3.1.1: the id is in one or two more bytes
            more = csid + 1
            if end - start < more:
                return -1
            csid = 64 + int.from_bytes(data[start : start + more], "little")
            start += more
        stream = self._streams.get(csid)
        if stream is None and form > 1:
            raise RtmpError("a chunk refers to a header that never came")
        stop = start + _HEADER_BYTES[form]
        if stop > end:
            return -1
        if form == 3:
            extended = stream is not None and stream.extended
            value = 0
        else:
            value = int.from_bytes(data[start : start + 3], "big")
            extended = value == _EXTENDED
        if extended:  # 5.3.1.3, and also before what a format 3 brings
            if stop + 4 > end:
                return -1
            value = int.from_bytes(data[stop : stop + 4], "big")
            stop += 4
        if stream is None:
            # librtmp begins a chunk stream with format 1 when it has nothing but zero to leave out.
            stream = self._begin_stream(csid)
        if not stream.underway:
            self._begin_message(stream, form, value, data[start : start + 11], extended=extended)
        elif form != 3:
            raise RtmpError("a new message inside another")
        self._chunks += 1
        if self._chunks > SURPLUS_CHUNKS and (self._chunks - SURPLUS_CHUNKS) * MIN_CHUNK_BYTES > self.received:
            raise RtmpError("too many chunks for what they carry")
        self._current = stream
        self._left = min(self.chunk_size, stream.length - stream.have)
        return stop

    def _begin_stream(self, csid: int) -> _Incoming:
        if len(self._streams) >= MAX_CHUNK_STREAMS:
            raise RtmpError("too many chunk streams")
        stream = self._streams[csid] = _Incoming()
        return stream

    def _begin_message(self, stream: _Incoming, form: int, value: int, header: bytes, *, extended: bool) -> None:
        if form < 2:
            length, kind = int.from_bytes(header[3:6], "big"), header[6]
            if length > self._most(kind):
                raise RtmpError(f"a message of {length} bytes and type {kind} is too long")
            stream.length, stream.type = length, kind
        if form < 3:
            stream.delta = value
            stream.extended = extended
        if form == 0:
            # A format 3 that follows takes this timestamp for its delta (5.3.1.2.4).
            stream.timestamp = value
            stream.stream_id = int.from_bytes(header[7:11], "little")
        else:
            stream.timestamp = (stream.timestamp + stream.delta) & _MASK
        stream.underway = True

    def _most(self, kind: int) -> int:
        if kind in _AMF:
            return min(MAX_AMF_BYTES, self.max_message)
        return MAX_CONTROL_BYTES if kind <= _LAST_CONTROL else self.max_message

    def _control(self, kind: int, payload: bytes) -> bool:
        """Does what a message tells the chunk stream to do (5.4); False if it is for others."""
        if kind not in _FOR_CHUNKS:
            return False
        if len(payload) != 4:
            raise RtmpError("a control message has the wrong length")
        value = int.from_bytes(payload, "big")
        if kind == MessageType.SET_CHUNK_SIZE:
            if not 1 <= value <= 0x7FFF_FFFF:
                raise RtmpError("a chunk size must be from 1 to 2147483647")
            self.chunk_size = min(value, MAX_CHUNK_BYTES)
        elif kind == MessageType.ABORT:
            stream = self._streams.get(value)
            if stream is not None:
                self._forget(stream)
        elif value:
            self.window = value
        return True


class _Outgoing:
    __slots__ = ("delta", "length", "stream_id", "timestamp", "type")

    def __init__(self, message: Message) -> None:
        self.stream_id = message.stream_id
        self.timestamp = self.delta = message.timestamp
        self.length, self.type = len(message.payload), message.type


class ChunkWriter:
    """Cuts messages into chunks, with the shortest headers that say what is needed."""

    __slots__ = ("_last", "chunk_size")

    def __init__(self) -> None:
        self.chunk_size = DEFAULT_CHUNK_BYTES
        self._last: dict[int, _Outgoing] = {}

    def set_chunk_size(self, size: int) -> bytes:
        """The message that announces it; what is written next has it."""
        announced = self.write(2, Message(MessageType.SET_CHUNK_SIZE, 0, 0, size.to_bytes(4, "big")))
        self.chunk_size = size
        return announced

    def write(self, csid: int, message: Message) -> bytes:
        return b"".join(self.chunks(csid, message))

    def chunks(self, csid: int, message: Message) -> Iterator[bytes]:
        """One chunk at a time: those of other chunk streams may come between."""
        form, header, value = self._begin(csid, message)
        extended = value.to_bytes(4, "big") if value >= _EXTENDED else b""
        payload = memoryview(message.payload)
        done = self.chunk_size
        yield b"".join((_basic_header(form, csid), header, extended, payload[:done]))
        again = _basic_header(3, csid) + extended
        while done < len(payload):
            size = self.chunk_size
            yield b"".join((again, payload[done : done + size]))
            done += size

    def _begin(self, csid: int, message: Message) -> tuple[int, bytes, int]:
        """The format, the header without its extended timestamp, and the value of that."""
        last = self._last.get(csid)
        length, kind = len(message.payload), message.type
        delta = 0 if last is None else (message.timestamp - last.timestamp) & _MASK
        if last is None or last.stream_id != message.stream_id or delta > 0x7FFF_FFFF:
            self._last[csid] = _Outgoing(message)
            form, value = 0, message.timestamp
        else:
            form, value = 3, delta
            if (last.length, last.type) != (length, kind):
                form = 1
            elif last.delta != delta:
                form = 2
            last.timestamp, last.delta, last.length, last.type = message.timestamp, delta, length, kind
        header = min(value, _EXTENDED).to_bytes(3, "big") + length.to_bytes(3, "big") + bytes((kind,))
        return form, (header + message.stream_id.to_bytes(4, "little"))[: _HEADER_BYTES[form]], value


def _basic_header(form: int, csid: int) -> bytes:
    """The format and the chunk stream's id, in as few bytes as it needs (5.3.1.1)."""
    if csid < 64:
        return bytes((form << 6 | csid,))
    if csid < 320:
        return bytes((form << 6, csid - 64))
    return bytes((form << 6 | 1,)) + (csid - 64).to_bytes(2, "little")
