"""Uploads: from the stream of a request to an object in the store, without ever holding more than a part of it.

    @resource.post("/things", status=201, upload=File)
    async def upload(ctx: Context) -> Thing:
        \"""Upload a thing.\"""
        async with ctx.services.uploads.received(ctx, "things", LIMITS) as upload:
            await things.add(ctx.services.pool, …)      # claims `upload.object_key`

Whatever goes wrong, inside the block too, leaves no object behind.
"""

import codecs
import hashlib
import logging
import unicodedata
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING

import filetype
import msgspec

from veza.errors import InvalidArgument, TooMuchUnsent, Unavailable
from veza.http.errors import PayloadTooLarge, UnsupportedMediaType
from veza.http.file_kinds import MIB, FileKind, kind_of
from veza.http.multipart import FormReader, Part
from veza.ids import new_id
from veza.realtime.rate_window import Policy
from veza.storage import loose_objects
from veza.storage.database import FAILURES
from veza.storage.objects import ObjectStore, ObjectWriter

if TYPE_CHECKING:
    from veza.http.context import Context
    from veza.http.request import Request

log = logging.getLogger(__name__)

# Each holds up to two parts of an object in memory.
UPLOADS_AT_ONCE = 16
# Of every route that takes a file, together.
UPLOADS = Policy("uploads", 120, 60, per="user")
# Whatever of a form is not the file: boundaries, heads of parts, other fields.
FORM_BYTES = 64 * 1024
# Where a type is told by.
HEAD_BYTES = 8192
NAME_CHARS = 255


# Which kind a file of a media type is, None for one that is not taken.
Kind = Callable[[str], FileKind | None]


class File(msgspec.Struct, frozen=True):
    """The fields of a form beside its `file`: none."""


class Upload(msgspec.Struct, frozen=True):
    """A file that is in the store. `mime_type` is told by its content; `fields` are the form's others, as text."""

    name: str
    mime_type: str
    size_bytes: int
    sha256: bytes
    object_key: str
    fields: dict[str, str]


class Uploads:
    """What one gateway takes in: so many at once."""

    def __init__(self) -> None:
        self._under_way = 0

    @asynccontextmanager
    async def received(
        self,
        ctx: "Context",
        area: str,
        limits: Mapping[FileKind, int],
        *,
        left: int | None = None,
        kind: Kind = kind_of,
    ) -> AsyncIterator[Upload]:
        """The file of the request's form, stored under a new key in `area`. The block gives it an owner.

        `limits` are in bytes; a file whose `kind` has none is refused. `left` is how many bytes the person has left;
        the block has the last word, for others may be on their way.

        Raises InvalidArgument, UnsupportedMediaType, PayloadTooLarge, TooMuchUnsent, RequestTimedOut,
        Unavailable.
        """
        store = ctx.services.objects
        if store is None:
            raise Unavailable
        if self._under_way >= UPLOADS_AT_ONCE:
            raise Unavailable("Too many uploads at once.")
        self._under_way += 1
        receiver = _Receiver(ctx, store, f"{area}/{new_id()}", limits, left=left, kind=kind)
        try:
            await receiver.receive(ctx.request)
            yield receiver.upload()
        except BaseException:
            if receiver.noted:
                # By a task of its own: this one may be cancelled already, its client gone.
                ctx.services.work.start(_discard(ctx, store, receiver.key), "discard upload")
            raise
        finally:
            self._under_way -= 1


async def _discard(ctx: "Context", store: ObjectStore, key: str) -> None:
    try:
        await loose_objects.discard(ctx.services.pool, store, key)
    except FAILURES as error:
        log.warning("upload left to the sweep", extra={"reason": type(error).__name__})


class _Receiver:
    """Takes the form apart while it comes."""

    def __init__(
        self,
        ctx: "Context",
        store: ObjectStore,
        key: str,
        limits: Mapping[FileKind, int],
        *,
        left: int | None,
        kind: Kind,
    ) -> None:
        self.key = key
        self.noted = False  # whether there may be something to take back
        self._pool = ctx.services.pool
        self._store = store
        self._limits = limits
        self._kind = kind
        self._limit = max(limits.values())
        self._left = left
        self._declared = 0  # what the request says it has, at least, of the file
        self._part: Part | None = None
        self._file: Part | None = None
        self._fields: dict[str, bytes] = {}
        self._rest = 0  # bytes of the form that are not the file's
        self._head = b""  # the file's first bytes, until its type is known
        self._mime_type = ""
        self._size = 0
        self._hash = hashlib.sha256()
        self._writer: ObjectWriter | None = None

    async def receive(self, request: "Request") -> None:
        """Read the form to its end; then the object is there."""
        if not request.has_body:
            raise InvalidArgument("The request needs a form with a file.", (("file", "is required"),))
        form = FormReader(request.header("content-type"))
        self._declared = int(request.header("content-length") or 0) - FORM_BYTES
        async with aclosing(request.pieces(self._limit + FORM_BYTES)) as pieces:
            async for piece in pieces:
                await self._read(form, piece)
        if not form.complete:
            raise InvalidArgument("The body ends before its form does.")
        if self._file is None or not self._size:
            raise InvalidArgument("A file is required.", (("file", "is required"),))
        writer = self._writer or await self._open()
        await writer.finish()

    async def _read(self, form: FormReader, piece: bytes) -> None:
        self._rest += len(piece)
        for event in form.feed(piece):
            if isinstance(event, Part):
                self._begin(event)
            elif self._part is self._file:
                self._rest -= len(event)
                await self._take(event)
            elif self._part is not None:
                self._fields[self._part.name] += event
        if self._rest > FORM_BYTES:
            raise PayloadTooLarge("The form has too much beside its file.")

    def upload(self) -> Upload:
        fields = {name: _text(name, value) for name, value in self._fields.items()}
        name = clean_name(self._file.file_name if self._file else None)
        return Upload(name, self._mime_type, self._size, self._hash.digest(), self.key, fields)

    def _begin(self, part: Part) -> None:
        self._part = part
        if part.name in self._fields or (part.name == "file" and self._file is not None):
            raise InvalidArgument(details=((part.name, "is given twice"),))
        if part.name == "file":
            self._file = part
        else:
            self._fields[part.name] = b""

    async def _take(self, data: bytes) -> None:
        """More of the file."""
        self._size += len(data)
        self._check_size()
        self._hash.update(data)
        if self._writer is not None:
            await self._writer.write(data)
            return
        self._head += data
        if len(self._head) >= HEAD_BYTES:
            await self._open()

    async def _open(self) -> ObjectWriter:
        """Begin to write: the type can be told now."""
        self._mime_type = type_of(self._head)
        limit = self._limits.get(found) if (found := self._kind(self._mime_type)) else None
        if limit is None:
            raise UnsupportedMediaType(f"A file of the type {self._mime_type} is not taken here.")
        self._limit = limit
        self._check_size()
        self.noted = True
        await loose_objects.note(self._pool, self.key)
        self._writer = self._store.writer(self.key, self._mime_type)
        await self._writer.write(self._head)
        self._head = b""
        return self._writer

    def _check_size(self) -> None:
        size = max(self._size, self._declared)
        if size > self._limit:
            raise PayloadTooLarge(f"A file of this kind has at most {self._limit // MIB} MiB.")
        if self._left is not None and size > self._left:
            raise TooMuchUnsent


def _text(name: str, value: bytes) -> str:
    try:
        text = value.decode()
    except UnicodeDecodeError:
        raise InvalidArgument(details=((name, "is no text"),)) from None
    if "\0" in text:
        raise InvalidArgument("Text must not contain NUL characters.")
    return text


def type_of(head: bytes) -> str:
    """The media type of a file by its first bytes."""
    found = filetype.guess_mime(head)
    if found is not None:
        return str(found)
    try:
        # The last character of a long one may be cut.
        text = codecs.getincrementaldecoder("utf-8")().decode(head[:HEAD_BYTES], final=len(head) <= HEAD_BYTES)
    except UnicodeDecodeError:
        return "application/octet-stream"
    plain = all(char.isprintable() or char.isspace() or unicodedata.category(char) == "Cf" for char in text)
    return "text/plain" if plain else "application/octet-stream"


def clean_name(given: str | None) -> str:
    """A file's name as it is kept: no path, nothing that a screen does not show, at most 255 characters."""
    name = unicodedata.normalize("NFC", given or "").replace("\\", "/").rpartition("/")[2]
    name = "".join(char for char in name if char.isprintable()).strip()
    if name.strip(".") == "":
        return "file"
    if len(name) > NAME_CHARS:
        stem, dot, ending = name.rpartition(".")
        if dot and len(ending) < 20:
            return f"{stem[: NAME_CHARS - len(ending) - 1]}.{ending}"
        return name[:NAME_CHARS]
    return name
