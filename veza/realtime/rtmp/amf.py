"""AMF0, in which commands and metadata are written (Adobe's AMF 0 specification, section 2).

Commands of type 17 are called AMF3, and are AMF0 after one byte; values that are themselves AMF3 are refused, and so
are references, with which a few bytes could stand for very many values.
"""

import struct
from collections.abc import Callable
from typing import Final, TypeAlias

import msgspec
from msgspec import UNSET, UnsetType

from veza.realtime.rtmp.errors import RtmpError

MAX_BYTES = 65_536
# ffmpeg's metadata of several tracks is four deep.
MAX_DEPTH = 16
# The largest metadata have a hundred or so; each costs an object.
MAX_VALUES = 4096

_NUMBER, _BOOLEAN, _STRING, _OBJECT, _NULL, _UNDEFINED = 0, 1, 2, 3, 5, 6
_ECMA_ARRAY, _OBJECT_END, _STRICT_ARRAY, _DATE, _LONG_STRING = 8, 9, 10, 11, 12


class Date(msgspec.Struct, frozen=True):
    """Milliseconds since 1970. The zone is reserved, and zero."""

    milliseconds: float
    zone: int = 0


# `undefined` is UNSET.
Value: TypeAlias = "bool | float | str | Date | UnsetType | list[Value] | dict[str, Value] | None"


class EcmaArray(dict[str, Value]):
    """An object that is written as an array with names, which is what metadata usually is."""


class Decoder:
    """Reads one value after another. RtmpError if what comes is no AMF0, too deep, or too much."""

    __slots__ = ("_data", "_position", "_values")

    def __init__(self, data: bytes) -> None:
        if len(data) > MAX_BYTES:
            raise RtmpError("too much AMF")
        self._data = data
        self._position = 0
        self._values = 0

    @property
    def more(self) -> bool:
        return self._position < len(self._data)

    def value(self, depth: int = 0) -> Value:
        self._values += 1
        if depth > MAX_DEPTH or self._values > MAX_VALUES:
            raise RtmpError("AMF values too deep or too many")
        marker = self._take(1)[0]
        read = _READERS.get(marker)
        if read is None:
            raise RtmpError(f"AMF type {marker} is not taken")
        return read(self, depth)

    def _number(self, _depth: int) -> Value:
        found: float = struct.unpack(">d", self._take(8))[0]
        return found

    def _boolean(self, _depth: int) -> Value:
        return self._take(1) != b"\0"

    def _string(self, _depth: int) -> Value:
        return self._text(2)

    def _long_string(self, _depth: int) -> Value:
        return self._text(4)

    def _null(self, _depth: int) -> Value:
        return None

    def _undefined(self, _depth: int) -> Value:
        return UNSET

    def _date(self, _depth: int) -> Value:
        milliseconds, zone = struct.unpack(">dh", self._take(10))
        return Date(milliseconds, zone)

    def _object(self, depth: int) -> Value:
        found: dict[str, Value] = {}
        self._pairs(found, depth)
        return found

    def _ecma_array(self, depth: int) -> Value:
        self._take(4)  # the count is a hint (2.10)
        found = EcmaArray()
        self._pairs(found, depth, may_lack_end=True)
        return found

    def _strict_array(self, depth: int) -> Value:
        count = int.from_bytes(self._take(4), "big")
        if count > len(self._data) - self._position:
            raise RtmpError("AMF that ends early")
        return [self.value(depth + 1) for _ in range(count)]

    def _pairs(self, found: dict[str, Value], depth: int, *, may_lack_end: bool = False) -> None:
        # Some encoders end an array with the message instead.
        while self.more or not may_lack_end:
            name = self._text(2)
            if not name and self._data[self._position : self._position + 1] == bytes((_OBJECT_END,)):
                self._position += 1
                return
            found[name] = self.value(depth + 1)

    def _take(self, size: int) -> bytes:
        start = self._position
        self._position += size
        if self._position > len(self._data):
            raise RtmpError("AMF that ends early")
        return self._data[start : self._position]

    def _text(self, size: int) -> str:
        # Encoders copy titles and names from files in any encoding: that is no reason to lose a stream.
        return self._take(int.from_bytes(self._take(size), "big")).decode(errors="replace")


_READERS: Final[dict[int, Callable[[Decoder, int], Value]]] = {
    _NUMBER: Decoder._number,
    _BOOLEAN: Decoder._boolean,
    _STRING: Decoder._string,
    _OBJECT: Decoder._object,
    _NULL: Decoder._null,
    _UNDEFINED: Decoder._undefined,
    _ECMA_ARRAY: Decoder._ecma_array,
    _STRICT_ARRAY: Decoder._strict_array,
    _DATE: Decoder._date,
    _LONG_STRING: Decoder._long_string,
}


def decode(data: bytes) -> list[Value]:
    """All the values of a message."""
    decoder = Decoder(data)
    found: list[Value] = []
    while decoder.more:
        found.append(decoder.value())
    return found


def encode(*values: Value) -> bytes:
    parts: list[bytes] = []
    for value in values:
        _encode(parts, value)
    return b"".join(parts)


def _encode(parts: list[bytes], value: Value) -> None:
    match value:
        case None:
            parts.append(bytes((_NULL,)))
        case UnsetType():
            parts.append(bytes((_UNDEFINED,)))
        case bool():
            parts.append(bytes((_BOOLEAN, value)))
        case int() | float():
            parts.append(struct.pack(">Bd", _NUMBER, value))
        case str():
            _encode_string(parts, value)
        case Date():
            parts.append(struct.pack(">Bdh", _DATE, value.milliseconds, value.zone))
        case list():
            parts.append(struct.pack(">BI", _STRICT_ARRAY, len(value)))
            for inner in value:
                _encode(parts, inner)
        case dict():
            is_array = isinstance(value, EcmaArray)
            parts.append(struct.pack(">BI", _ECMA_ARRAY, len(value)) if is_array else bytes((_OBJECT,)))
            for name, inner in value.items():
                parts.append(_sized(name.encode(errors="replace"), 2))
                _encode(parts, inner)
            parts.append(bytes((0, 0, _OBJECT_END)))


def _encode_string(parts: list[bytes], value: str) -> None:
    text = value.encode(errors="replace")
    short = len(text) < 65_536
    parts.append(bytes((_STRING if short else _LONG_STRING,)) + _sized(text, 2 if short else 4))


def _sized(text: bytes, size: int) -> bytes:
    if len(text) >> 8 * size:
        raise RtmpError("a name too long for AMF")
    return len(text).to_bytes(size, "big") + text
