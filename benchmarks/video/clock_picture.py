"""A clock that programs read: a time as black and white blocks in a picture, large enough to outlive any encoder."""

import zlib
from typing import Any, Final

import numpy as np

BLOCK: Final = 32  # pixels; two of the blocks that video codecs work with
TIME_BITS: Final = 48  # milliseconds since 1970
CHECK_BITS: Final = 16
COLUMNS: Final = 16
ROWS: Final = (TIME_BITS + CHECK_BITS) // COLUMNS
_BLACK, _WHITE, _GREY = 16, 235, 128
_MIDDLE = BLOCK // 2

Luma = np.ndarray[Any, np.dtype[np.uint8]]


def picture(width: int, height: int) -> Luma:
    """A grey one, in the layout of yuv420p: the luma, and below it the chroma."""
    return np.full((height * 3 // 2, width), _GREY, np.uint8)


def draw(luma: Luma, milliseconds: int, number: int) -> None:
    """Into the upper left corner; and below it a bar whose place depends on the number, that something moves."""
    value = milliseconds << CHECK_BITS | _check(milliseconds)
    bits = np.array([value >> place & 1 for place in reversed(range(ROWS * COLUMNS))], np.uint8)
    blocks = bits.reshape(ROWS, COLUMNS) * np.uint8(_WHITE - _BLACK) + np.uint8(_BLACK)
    luma[: ROWS * BLOCK, : COLUMNS * BLOCK] = blocks.repeat(BLOCK, 0).repeat(BLOCK, 1)
    below = luma[(ROWS + 1) * BLOCK : (ROWS + 2) * BLOCK]
    below[:] = _GREY
    at = number * 8 % (luma.shape[1] - BLOCK)
    below[:, at : at + BLOCK] = _WHITE


def read(luma: Luma) -> int | None:
    """The time; None when what is there is none."""
    centres = luma[_MIDDLE : ROWS * BLOCK : BLOCK, _MIDDLE : COLUMNS * BLOCK : BLOCK]
    value = int("".join("1" if bit else "0" for bit in centres.ravel() > _GREY), 2)
    milliseconds, check = value >> CHECK_BITS, value & (1 << CHECK_BITS) - 1
    return milliseconds if check == _check(milliseconds) else None


def _check(milliseconds: int) -> int:
    return zlib.crc32(milliseconds.to_bytes(TIME_BITS // 8, "big")) & (1 << CHECK_BITS) - 1
