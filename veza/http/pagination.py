"""Opaque cursors: base64url of a JSON struct, read back with its types checked."""

import base64
import binascii
from typing import TypeVar

import msgspec

from veza.errors import InvalidArgument

S = TypeVar("S", bound=msgspec.Struct)


def encode_cursor(position: msgspec.Struct) -> str:
    """The cursor that stands for `position`, a struct of what the next page starts after."""
    return base64.urlsafe_b64encode(msgspec.json.encode(position)).decode().rstrip("=")


def decode_cursor(cursor: str, kind: type[S]) -> S:
    """The position of a cursor. Raises InvalidArgument for one that we did not make."""
    try:
        raw = base64.b64decode(cursor.rstrip("=") + "=" * (-len(cursor.rstrip("=")) % 4), altchars=b"-_", validate=True)
        return msgspec.json.decode(raw, type=kind)
    except (binascii.Error, ValueError, msgspec.DecodeError):
        raise InvalidArgument("The cursor is not one of ours.", details=(("cursor", "is malformed"),)) from None
