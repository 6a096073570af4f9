"""Files of messages: up and down in pieces, never whole in memory unless asked for."""

import asyncio
import mimetypes
import os
import tempfile
import uuid
from collections.abc import AsyncIterator, Callable
from email.message import Message as Headers
from email.utils import collapse_rfc2231_value
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import httpx

from veza.client.errors import InvalidArgument
from veza.client.models import Attachment
from veza.client.transport import Transport, Upload, part

_PIECE = 256 * 1024
_Pieces = Callable[[], AsyncIterator[bytes]]


class AttachmentCalls:
    """`veza.attachments`. A file belongs to the room it is uploaded to, and its members may read it."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def upload(
        self,
        room_id: str,
        source: bytes | str | PathLike[str],
        name: str | None = None,
        mime_type: str | None = None,
    ) -> Attachment:
        """Upload the file at a path, or bytes; pass the result to `send`.

        `name` is by default the file's, `mime_type` by the name; the server looks at the content, too. One that is
        not sent with a message is removed after a while. Raises `OSError` for a file that cannot be read,
        `InvalidArgument` for one that is empty, too large or of a type that is not taken.
        """
        given = name or (Path(source).name if not isinstance(source, bytes) else "file")
        kind = mime_type or mimetypes.guess_type(given)[0] or "application/octet-stream"
        if isinstance(source, bytes):
            upload = _multipart(given, kind, len(source), lambda: _slices(source))
            return await self._transport.upload(f"conversations/{part(room_id)}/attachments", upload, Attachment)
        with await asyncio.to_thread(open, source, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            upload = _multipart(given, kind, size, lambda: _pieces(file, size))
            return await self._transport.upload(f"conversations/{part(room_id)}/attachments", upload, Attachment)

    def download(self, room_id: str, attachment: Attachment | str) -> "Download":
        """`async with veza.attachments.download(room_id, id) as file`. See `Download`."""
        attachment_id = attachment if isinstance(attachment, str) else attachment.id
        return Download(self._transport, f"conversations/{part(room_id)}/attachments/{part(attachment_id)}")


class Download:
    """An attachment being read, once: iterate over its pieces, `read` it whole, or `save` it.

    Entering raises `NotFound` and the like; reading raises `ConnectionLost` when it is cut short.
    """

    def __init__(self, transport: Transport, path: str) -> None:
        self._transport = transport
        self._path = path
        self._response: httpx.Response | None = None

    async def __aenter__(self) -> Self:
        self._response = await self._transport.open(self._path)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._opened().aclose()

    @property
    def name(self) -> str:
        """The file's name as it was uploaded; a name, never a path."""
        given = _file_name(self._opened().headers.get("Content-Disposition", ""))
        return os.path.basename(given.replace("\\", "/").replace("\0", "")).strip(". ") or "file"

    @property
    def mime_type(self) -> str:
        return str(self._opened().headers.get("Content-Type", "application/octet-stream"))

    @property
    def size_bytes(self) -> int | None:
        """None when the server does not say."""
        given = self._opened().headers.get("Content-Length", "")
        return int(given) if given.isdigit() else None

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for piece in self._transport.pieces(self._opened()):
            yield piece

    async def read(self) -> bytes:
        """The whole content."""
        return b"".join([piece async for piece in self])

    async def save(self, path: str | PathLike[str]) -> Path:
        """Write the content to a file, in place of one that is there; half a file is never seen."""
        target = Path(path)
        part = await asyncio.to_thread(_part_of, target)
        try:
            with part:
                async for piece in self:
                    await asyncio.to_thread(part.write, piece)
            await asyncio.to_thread(os.replace, part.name, target)
        except BaseException:
            await asyncio.shield(asyncio.to_thread(_remove, part.name))
            raise
        return target

    def _opened(self) -> httpx.Response:
        if self._response is None:
            raise RuntimeError("use it as `async with`")
        return self._response


def _multipart(name: str, kind: str, size: int, pieces: _Pieces) -> Upload:
    """One file as `multipart/form-data`, field `file`."""
    boundary = uuid.uuid4().hex
    quoted = name.replace("\\", "_").replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
    head = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{quoted}"\r\n'
        f"Content-Type: {kind}\r\n\r\n"
    ).encode()
    tail = f"\r\n--{boundary}--\r\n".encode()

    async def body() -> AsyncIterator[bytes]:
        yield head
        async for piece in pieces():
            yield piece
        yield tail

    return Upload(f"multipart/form-data; boundary={boundary}", len(head) + size + len(tail), body)


async def _slices(content: bytes) -> AsyncIterator[bytes]:
    for begin in range(0, len(content), _PIECE):
        yield content[begin : begin + _PIECE]


async def _pieces(file: IO[bytes], size: int) -> AsyncIterator[bytes]:
    """The first `size` bytes, read beside the event loop."""
    await asyncio.to_thread(file.seek, 0)
    left = size
    while left:
        piece = await asyncio.to_thread(file.read, min(_PIECE, left))
        if not piece:
            raise InvalidArgument("The file became shorter while it was uploaded.", "file_changed")
        left -= len(piece)
        yield piece


def _file_name(disposition: str) -> str:
    """The name in a `Content-Disposition`: the one for those who read UTF-8, where there are two."""
    headers = Headers()
    headers["Content-Disposition"] = disposition
    names = [value for name, value in headers.get_params([], "Content-Disposition") if name == "filename"]
    return next((collapse_rfc2231_value(name) for name in sorted(names, key=lambda name: isinstance(name, str))), "")


def _part_of(target: Path) -> IO[bytes]:
    return tempfile.NamedTemporaryFile("wb", dir=target.parent, prefix=f".{target.name}.", delete=False)


def _remove(path: str) -> None:
    Path(path).unlink(missing_ok=True)
