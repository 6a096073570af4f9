"""The frames that were written together, as a client's library hands them on."""

from collections.abc import Iterator
from typing import Any

import msgspec

from veza.realtime.frames import Opcode


def read_frames(data: bytes) -> Iterator[dict[str, Any]]:
    """JSON frames as they are; a close frame as `{"type": "closed", "code"}`."""
    start, end = 0, len(data)
    while start < end:
        size, offset = data[start + 1], 2
        if size == 126:
            size, offset = int.from_bytes(data[start + 2 : start + 4], "big"), 4
        elif size == 127:
            size, offset = int.from_bytes(data[start + 2 : start + 10], "big"), 10
        payload = data[start + offset : start + offset + size]
        if data[start] & 0x0F == Opcode.CLOSE:
            yield {"type": "closed", "code": int.from_bytes(payload[:2], "big")}
        else:
            yield msgspec.json.decode(payload)
        start += offset + size
