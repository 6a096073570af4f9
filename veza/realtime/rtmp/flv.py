"""The FLV file format, around the tag bodies that RTMP carries too (Adobe Flash Video File Format Specification 10.1,
Annex E).

A file is a header, and tags; the length of each tag follows it, for players that seek backwards.
"""

from typing import Final

from veza.realtime.rtmp.chunks import MAX_MESSAGE_BYTES
from veza.realtime.rtmp.errors import RtmpError
from veza.realtime.rtmp.events import Media, MediaKind
from veza.realtime.rtmp.messages import MessageType

# The length of a body has 24 bits (E.4.1).
MAX_BODY_BYTES: Final = 0xFF_FFFF

_SIGNATURE = b"FLV\x01"
_HAS_AUDIO, _HAS_VIDEO = 4, 1
_HEADER_BYTES, _TAG_BYTES, _SIZE_BYTES = 9, 11, 4
_TYPES: Final = {
    MediaKind.AUDIO: MessageType.AUDIO,
    MediaKind.VIDEO: MessageType.VIDEO,
    MediaKind.SCRIPT: MessageType.DATA,
}
_KINDS: Final[dict[int, MediaKind]] = {number: kind for kind, number in _TYPES.items()}
# Of a tag's first byte: reserved bits, and whether the body is encrypted (E.4.1).
_NOT_TYPE = 0xE0


def header(*, audio: bool = True, video: bool = True) -> bytes:
    """What a file begins with (E.2), up to its first tag. Readers wait for what it promises."""
    flags = _HAS_AUDIO * audio | _HAS_VIDEO * video
    return _SIGNATURE + bytes((flags,)) + _HEADER_BYTES.to_bytes(4, "big") + bytes(_SIZE_BYTES)


def tag(media: Media) -> bytes:
    """A tag (E.4.1) with its length behind it. Timestamps are milliseconds, of which the lower 32 bits are written.

    RtmpError if the body is longer than MAX_BODY_BYTES.
    """
    size = len(media.payload)
    if size > MAX_BODY_BYTES:
        raise RtmpError("a tag is too long")
    at = media.timestamp_ms
    return b"".join(
        (
            bytes((_TYPES[media.kind],)),
            size.to_bytes(3, "big"),
            (at & 0xFF_FFFF).to_bytes(3, "big"),
            bytes((at >> 24 & 0xFF, 0, 0, 0)),  # the upper byte, and the stream's number, which is always 0
            media.payload,
            (_TAG_BYTES + size).to_bytes(_SIZE_BYTES, "big"),
        )
    )


class Reader:
    """Turns the bytes of a file, in pieces of any size, into media in the order of the file.

    Timestamps are as they are written: milliseconds of 32 bits. Metadata is script data as any other. RtmpError for
    what is no FLV, is encrypted, or has a body longer than `max_body`, which bounds what is kept; tags before it in the
    same piece are lost, and the reader is of no more use.
    """

    __slots__ = ("_begun", "_data", "_failed", "_max_body")

    def __init__(self, max_body: int = MAX_MESSAGE_BYTES) -> None:
        self._max_body = max_body
        self._data = bytearray()
        self._begun = False
        self._failed: str | None = None

    def feed(self, data: bytes) -> list[Media]:
        """What is whole with `data`."""
        if self._failed is not None:
            raise RtmpError(self._failed)
        self._data += data
        try:
            return self._take()
        except RtmpError as error:
            self._failed = error.reason
            self._data.clear()
            raise

    def _take(self) -> list[Media]:
        found: list[Media] = []
        at = 0
        if not self._begun:
            at = self._read_header()
            if not at:
                return found
        # Copied, so that what comes out is `bytes`, and removed from the buffer once for all tags.
        while len(self._data) - at >= _TAG_BYTES:
            size = self._body_size(at)
            body = at + _TAG_BYTES
            end = body + size + _SIZE_BYTES
            if len(self._data) < end:
                break
            found.append(self._media(at, body, size))
            at = end
        del self._data[:at]
        return found

    def _read_header(self) -> int:
        """Where the first tag begins; 0 while more is needed to say so."""
        data = self._data
        if not _SIGNATURE.startswith(data[:4]):
            raise RtmpError("this is no FLV")
        if len(data) < _HEADER_BYTES + _SIZE_BYTES:
            return 0
        # A longer header, or a length before the first tag, is for versions that never came.
        if int.from_bytes(data[5:_HEADER_BYTES], "big") != _HEADER_BYTES or any(data[_HEADER_BYTES:13]):
            raise RtmpError("an FLV header of a kind that is not known")
        self._begun = True
        return _HEADER_BYTES + _SIZE_BYTES

    def _body_size(self, at: int) -> int:
        first = self._data[at]
        if first & _NOT_TYPE or first not in _KINDS:
            raise RtmpError(f"FLV tags of type {first} are not taken")
        size = int.from_bytes(self._data[at + 1 : at + 4], "big")
        if size > self._max_body:
            raise RtmpError("a tag is too long")
        return size

    def _media(self, at: int, body: int, size: int) -> Media:
        data = self._data
        if int.from_bytes(data[body + size : body + size + _SIZE_BYTES], "big") != _TAG_BYTES + size:
            raise RtmpError("a tag that has another length behind it")
        timestamp = data[at + 7] << 24 | int.from_bytes(data[at + 4 : at + 7], "big")
        return Media(_KINDS[data[at]], timestamp, bytes(data[body : body + size]))
