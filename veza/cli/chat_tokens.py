"""Sign-ins that `veza chat --remember` keeps between runs, readable by their owner only."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import msgspec

from veza.client import Tokens
from veza.errors import StartupError


class Remembered(msgspec.Struct, frozen=True):
    email: str
    tokens: Tokens


class TokenFile:
    """One sign-in a server. A refresh token is good once, so one process at a time may use the file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def get(self, url: str) -> Remembered | None:
        return self._read().get(url)

    def put(self, url: str, email: str, tokens: Tokens | None) -> None:
        """Keep the newest pair; None forgets it."""
        known = self._read()
        if tokens is None:
            known.pop(url, None)
        else:
            known[url] = Remembered(email, tokens)
        fresh = self._path.with_suffix(".new")
        try:
            descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(msgspec.json.encode(known))
            fresh.replace(self._path)
        except OSError as error:
            raise StartupError(f"The sign-in cannot be kept in {self._path}: {error.strerror}.") from error

    def _read(self) -> dict[str, Remembered]:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=dict[str, Remembered])
        except FileNotFoundError:
            return {}
        except (OSError, msgspec.MsgspecError) as error:
            raise StartupError(f"{self._path} cannot be read ({error}); remove it and sign in again.") from error


@contextmanager
def token_file() -> Iterator[TokenFile | None]:
    """The user's file, ours until the end of the block; None while another `veza chat` uses it."""
    folder = Path(click.get_app_dir("veza"))
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(folder / "chat.lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise StartupError(f"The folder {folder} cannot be used: {error.strerror}.") from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
        else:
            yield TokenFile(folder / "chat.json")
    finally:
        os.close(lock)
