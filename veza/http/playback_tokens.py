"""Tokens for the pictures of private streams. They stand in the path, so that the relative addresses in playlists
keep them: `/live/hls/<playback_id>~<token>/index.m3u8`.
"""

import base64
import binascii
import functools
import hmac

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

# Longer than most concerts; who watches on asks for another.
VALID_SECONDS = 6 * 3600
# What no playback id and no base64url has in it.
SEPARATOR = "~"

_EXPIRY_BYTES = 8
# 128 bits: nobody guesses as many, and addresses stay short.
_MAC_BYTES = 16
# 24 bytes are 32 characters of base64 with nothing to spare: a token has one spelling.
_CHARS = 32


class PlaybackTokens:
    """Signs and verifies, by a key that is derived from the platform's own secret."""

    __slots__ = ("_key",)

    def __init__(self, jwt_secret: str) -> None:
        derive = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"veza playback tokens")
        self._key = derive.derive(jwt_secret.encode())

    def sign(self, playback_id: str, expires_at: int) -> str:
        """A token for one stream's pictures until `expires_at`, in Unix seconds."""
        expiry = expires_at.to_bytes(_EXPIRY_BYTES)
        return base64.urlsafe_b64encode(expiry + self._mac(playback_id, expiry)).decode()

    def verify(self, playback_id: str, token: str, now: float) -> bool:
        """Whether it was signed for this stream and is still good at `now`, in Unix seconds."""
        if len(token) != _CHARS:
            return False
        try:
            raw = base64.b64decode(token, altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            return False
        expiry, mac = raw[:_EXPIRY_BYTES], raw[_EXPIRY_BYTES:]
        # The signature first, in constant time: of a forged token nothing else is looked at.
        return hmac.compare_digest(mac, self._mac(playback_id, expiry)) and now < int.from_bytes(expiry)

    def _mac(self, playback_id: str, expiry: bytes) -> bytes:
        return hmac.digest(self._key, playback_id.encode() + expiry, "sha256")[:_MAC_BYTES]


@functools.lru_cache(maxsize=4)
def tokens_of(jwt_secret: str) -> PlaybackTokens:
    """Those of a secret. Deriving the key takes longer than all else that a small file costs."""
    return PlaybackTokens(jwt_secret)


def split(address: str) -> tuple[str, str | None]:
    """The playback id and the token of a path's segment, None where there is none."""
    playback_id, separator, token = address.partition(SEPARATOR)
    return playback_id, token if separator else None


def join(playback_id: str, token: str) -> str:
    return f"{playback_id}{SEPARATOR}{token}"
