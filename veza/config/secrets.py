"""Development secrets: random, made once, kept in the data directory for its owner's eyes only."""

import os
import secrets
import tempfile
from pathlib import Path

import msgspec

from veza.errors import ConfigError

SECRETS_FILE = "secrets.json"


class Secrets(msgspec.Struct, frozen=True, kw_only=True):
    """What development needs and nobody should have to invent."""

    jwt_secret: str
    redis_password: str
    aws_access_key_id: str
    aws_secret_access_key: str
    hyperswitch_webhook_secret: str


def load_secrets(data_dir: Path, *, keep: bool = True) -> Secrets:
    """The data directory's secrets; made at random when there are none, and written (0600) when `keep`."""
    path = data_dir / SECRETS_FILE
    try:
        if (found := _read_secrets(path)) is not None:
            return found
        made = Secrets(
            jwt_secret=secrets.token_urlsafe(48),
            redis_password=secrets.token_urlsafe(32),
            aws_access_key_id="VEZA" + secrets.token_hex(8).upper(),
            aws_secret_access_key=secrets.token_urlsafe(32),
            hyperswitch_webhook_secret=secrets.token_hex(32),
        )
        return _write_secrets(path, made) if keep else made
    except OSError as error:
        raise ConfigError(f"VEZA_DATA_DIR {data_dir} cannot be used: {error.strerror or error} ({path}).") from error


def _read_secrets(path: Path) -> Secrets | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Secrets)
    except FileNotFoundError:
        return None
    except msgspec.MsgspecError as error:
        raise ConfigError(
            f"{path} is damaged; restore it, or remove it to sign everyone out and start with new secrets."
        ) from error


def _write_secrets(path: Path, made: Secrets) -> Secrets:
    """Written whole or not at all; of two processes that start together, the first one's stand."""
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".secrets-")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(msgspec.json.encode(made))
            stream.flush()
            os.fsync(stream.fileno())
        os.link(temporary, path)
    except FileExistsError:
        return _read_secrets(path) or made
    finally:
        os.unlink(temporary)
    return made
