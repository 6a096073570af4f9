"""Ids that grow with time, so that an index on them is written at its end (UUID version 7, RFC 9562, 5.7)."""

import os
import time
from uuid import UUID


def new_id() -> UUID:
    """A UUIDv7: 48 bits of Unix milliseconds, then 74 random ones."""
    value = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(os.urandom(10), "big")
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return UUID(int=value)


_DIGITS = "0123456789abcdefghjkmnpqrstvwxyz"


def base32(value: UUID) -> str:
    """An id in 26 characters, for those who take no more than 30 (https://www.crockford.com/base32.html)."""
    return "".join(_DIGITS[value.int >> shift & 31] for shift in range(125, -1, -5))
