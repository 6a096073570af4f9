"""Keys with which a source publishes: one a user. Stored are a keyed hash, which finds it, and itself, sealed."""

import hmac
import re
import secrets as chance
import string
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from veza.storage.database import Connection

PREFIX = "live_"
_CHARS = 32
_ALPHABET = string.ascii_letters + string.digits
_FORM = re.compile(f"{PREFIX}[A-Za-z0-9]{{{_CHARS}}}")
# What AES-GCM takes; random, for a user seals few keys.
_NONCE_BYTES = 12


class StreamSecrets:
    """Hashes and seals keys, by secrets that are derived from the platform's own."""

    __slots__ = ("_hashing", "_sealing")

    def __init__(self, jwt_secret: str) -> None:
        self._hashing = _derived(jwt_secret, b"veza stream keys: hash")
        self._sealing = AESGCM(_derived(jwt_secret, b"veza stream keys: seal"))

    def hash(self, key: str) -> bytes:
        return hmac.digest(self._hashing, key.encode(), "sha256")

    def seal(self, key: str, user_id: UUID) -> bytes:
        nonce = chance.token_bytes(_NONCE_BYTES)
        return nonce + self._sealing.encrypt(nonce, key.encode(), user_id.bytes)

    def open(self, sealed: bytes, user_id: UUID) -> str | None:
        """None for what was not sealed by these secrets for this user."""
        try:
            return self._sealing.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], user_id.bytes).decode()
        except (InvalidTag, ValueError):
            return None


def _derived(secret: str, purpose: bytes) -> bytes:
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=purpose).derive(secret.encode())


def make_key() -> str:
    return PREFIX + "".join(chance.choice(_ALPHABET) for _ in range(_CHARS))


async def key_of(connection: Connection, secrets: StreamSecrets, user_id: UUID) -> str:
    """A user's key, made when there is none that can be opened: another secret made it, and nobody can use it."""
    while True:
        row = await connection.fetchrow("SELECT key_hash, key_sealed FROM stream_keys WHERE user_id = $1", user_id)
        if row is not None and (found := secrets.open(row["key_sealed"], user_id)) is not None:
            return found
        key = make_key()
        # Of two at once one stores its key; the other finds it.
        stored = await connection.fetchval(
            """
            INSERT INTO stream_keys (user_id, key_hash, key_sealed) VALUES ($1, $2, $3)
            ON CONFLICT (user_id) DO UPDATE
            SET key_hash = excluded.key_hash, key_sealed = excluded.key_sealed, created_at = now()
            WHERE stream_keys.key_hash = $4
            RETURNING true
            """,
            user_id,
            secrets.hash(key),
            secrets.seal(key, user_id),
            row and row["key_hash"],
        )
        if stored:
            return key


async def regenerate(connection: Connection, secrets: StreamSecrets, user_id: UUID) -> str:
    """Another key for a user; the one before is good no more."""
    key = make_key()
    await connection.execute(
        """
        INSERT INTO stream_keys (user_id, key_hash, key_sealed) VALUES ($1, $2, $3)
        ON CONFLICT (user_id) DO UPDATE
        SET key_hash = excluded.key_hash, key_sealed = excluded.key_sealed, created_at = now()
        """,
        user_id,
        secrets.hash(key),
        secrets.seal(key, user_id),
    )
    return key


async def user_of_key(connection: Connection, secrets: StreamSecrets, key: str) -> UUID | None:
    """Whose key it is; None for one that is unknown, or whose owner is banned or gone."""
    if _FORM.fullmatch(key) is None:
        return None
    found: UUID | None = await connection.fetchval(
        """
        SELECT k.user_id FROM stream_keys k
        JOIN users u ON u.id = k.user_id AND u.banned_at IS NULL AND u.deleted_at IS NULL
        WHERE k.key_hash = $1
        """,
        secrets.hash(key),
    )
    return found


async def hash_of(connection: Connection, user_id: UUID) -> bytes | None:
    """The hash of the key with which a user may publish now; None for one who may not."""
    found: bytes | None = await connection.fetchval(
        """
        SELECT k.key_hash FROM stream_keys k
        JOIN users u ON u.id = k.user_id AND u.banned_at IS NULL AND u.deleted_at IS NULL
        WHERE k.user_id = $1
        """,
        user_id,
    )
    return found
