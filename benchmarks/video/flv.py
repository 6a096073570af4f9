"""FLV, which RTMP carries without its framing (Adobe's Flash Video File Format 10.1, annex E)."""

from collections.abc import Iterator
from typing import Final, NamedTuple

AUDIO: Final = 8
VIDEO: Final = 9
SCRIPT: Final = 18

_HEADER_BYTES = 9
_SIZE_BYTES = 4  # of the size of the tag before, which follows each tag and the header
_TAG_BYTES = 11
_SEQUENCE_HEADER = 0  # AVCPacketType and AACPacketType: the configuration of the codec


class Tag(NamedTuple):
    kind: int
    timestamp: int  # in milliseconds
    body: bytes

    @property
    def configures(self) -> bool:
        """Whether it says how what follows is to be decoded; only of H.264 and AAC."""
        return self.kind != SCRIPT and self.body[1] == _SEQUENCE_HEADER


class Reader:
    """Tags of a file that comes in pieces."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._skip = _HEADER_BYTES + _SIZE_BYTES

    def feed(self, data: bytes) -> Iterator[Tag]:
        self._data += data
        if self._skip and len(self._data) >= self._skip:
            del self._data[: self._skip]
            self._skip = 0
        while not self._skip and len(self._data) >= _TAG_BYTES:
            size = int.from_bytes(self._data[1:4], "big")
            end = _TAG_BYTES + size
            if len(self._data) < end + _SIZE_BYTES:
                return
            # The highest eight bits of the time come last.
            timestamp = self._data[7] << 24 | int.from_bytes(self._data[4:7], "big")
            yield Tag(self._data[0] & 0x1F, timestamp, bytes(self._data[_TAG_BYTES:end]))
            del self._data[: end + _SIZE_BYTES]
