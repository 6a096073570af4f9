"""Commands on files: sending and saving them."""

import asyncio
import itertools
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from veza.cli.chat_messages import numbered, split_number
from veza.cli.chat_text import harmless, note, size
from veza.client import Attachment, ClientError

if TYPE_CHECKING:
    from veza.cli.chat_session import ChatSession, Run


class FileCommands:
    def __init__(self, session: "ChatSession") -> None:
        self._session = session
        self.table: dict[str, Run] = {"/attach": self._attach, "/save": self._save}

    async def _attach(self, rest: str) -> None:
        given, text = first_word(rest)
        if not given:
            raise ClientError("Usage: /attach FILE [TEXT]")
        path = local(given)
        room = self._session.opened()
        try:
            file = await room.upload_attachment(path)
        except OSError as error:
            raise ClientError(f"{harmless(given)} cannot be read: {error.strerror}.") from error
        # A message has words; without others, the file's name tells what it is.
        stored = await room.send(text or path.name, attachments=[file])
        await self._session.settle(stored.seq)

    async def _save(self, rest: str) -> None:
        seq, given = split_number(rest)
        if seq is None:
            raise ClientError("Usage: /save N [FOLDER]")
        message = await numbered(self._session, seq)
        if not message.attachments:
            raise ClientError(f"#{seq} has no files.")
        folder = local(first_word(given)[0] or ".")
        for attachment in message.attachments:
            await self._save_one(attachment, folder)

    async def _save_one(self, attachment: Attachment, folder: Path) -> None:
        async with self._session.opened().download_attachment(attachment) as file:
            try:
                saved = await file.save(await asyncio.to_thread(free_path, folder, file.name))
            except OSError as error:
                raise ClientError(f"Not saved in {harmless(str(folder))}: {error.strerror}.") from error
        self._session.show(note(f"saved {harmless(str(saved))} ({size(attachment.size_bytes)})"))


def first_word(text: str) -> tuple[str, str]:
    """The first word, which may be quoted, and the rest. Raises `ClientError` for a quote without an end."""
    text = text.strip()
    if not text.startswith(("'", '"')):
        word, _, rest = text.partition(" ")
        return word, rest.strip()
    end = text.find(text[0], 1)
    if end < 0:
        raise ClientError("A quote has no end.")
    return "".join(shlex.split(text[: end + 1])), text[end + 1 :].strip()


def local(text: str) -> Path:
    """A path as it is typed. Raises `ClientError` for the home of somebody who has none here."""
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise ClientError(f"{harmless(text)} is nowhere: {error}") from error


def free_path(folder: Path, name: str) -> Path:
    """A path in the folder that is not taken: nothing is overwritten by what others named."""
    for number in itertools.count(1):
        path = folder / (name if number == 1 else f"{Path(name).stem} ({number}){Path(name).suffix}")
        if not path.exists():
            return path
    raise AssertionError("numbers do not end")
