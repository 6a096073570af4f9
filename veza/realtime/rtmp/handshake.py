"""The simple handshake (RTMP 1.0, 5.2), the server's half."""

from veza.realtime.rtmp.errors import RtmpError

VERSION = 3
PACKET_BYTES = 1536
RANDOM_BYTES = PACKET_BYTES - 8
_WITH_C1 = 1 + PACKET_BYTES
_WITH_C2 = _WITH_C1 + PACKET_BYTES


class Handshake:
    """Answers C0 and C1 with S0, S1 and S2, then waits for C2.

    Whether C2 repeats S1 is not checked: it proves nothing, and some encoders send something else. A version in S1
    would announce the handshake with digests, so that is zero.
    """

    __slots__ = ("_answered", "_buffer", "_random", "done")

    def __init__(self, random: bytes) -> None:
        if len(random) != RANDOM_BYTES:
            raise ValueError(f"the handshake needs {RANDOM_BYTES} random bytes")
        self._random = random
        self._buffer = bytearray()
        self._answered = False
        self.done = False

    def receive(self, data: bytes) -> tuple[bytes, bytes]:
        """What to send, and what came after the handshake. RtmpError if the first byte is no version of ours."""
        missing = _WITH_C2 - len(self._buffer)
        self._buffer += data[:missing]
        if self._buffer and self._buffer[0] != VERSION:
            raise RtmpError(f"RTMP version {self._buffer[0]} is not spoken")
        reply = b""
        if not self._answered and len(self._buffer) >= _WITH_C1:
            self._answered = True
            # S2 repeats C1, including its second time, for there is no clock here.
            reply = b"".join((bytes((VERSION,)), bytes(8), self._random, self._buffer[1:_WITH_C1]))
        if len(self._buffer) < _WITH_C2:
            return reply, b""
        self.done = True
        self._buffer.clear()
        return reply, data[missing:]
