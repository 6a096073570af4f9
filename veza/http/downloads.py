"""Downloads: from an object in the store to the stream of a response, whole or in part."""

import re
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING
from urllib.parse import quote

import msgspec
from sanic.response import HTTPResponse

from veza.errors import Unavailable
from veza.http.errors import RangeNotSatisfiable

if TYPE_CHECKING:
    from veza.http.context import Context

# It may be taken from view at any moment: nobody keeps it but who asked, and they ask whether it still is.
_PRIVATE = "private, no-cache"
# What anybody may see may be seen a little longer, and by way of caches.
_PUBLIC = "public, max-age=300"

_RANGE = re.compile(r"bytes\s*=\s*(\d{0,19})\s*-\s*(\d{0,19})", re.IGNORECASE | re.ASCII)


class Download(msgspec.Struct, frozen=True):
    """An object to send. `sha256` is of its content, and so its ETag."""

    object_key: str
    name: str
    mime_type: str
    size_bytes: int
    sha256: bytes


async def send(ctx: "Context", download: Download, *, shown: bool = False, public: bool = False) -> HTTPResponse:
    """Send an object to be saved as a file, the part that a Range asks for, or only word that it has not changed.

    `shown` is for what a page shows in place, and safe there; `public` for what anybody may see.

    Raises RangeNotSatisfiable and Unavailable.
    """
    request = ctx.request
    etag = f'"{download.sha256.hex()}"'
    headers = {
        "ETag": etag,
        "Cache-Control": _PUBLIC if public else _PRIVATE,
        "Accept-Ranges": "bytes",
    }
    if _matches(request.header("if-none-match"), etag):
        return HTTPResponse(status=304, headers=headers)
    size = download.size_bytes
    wanted = request.header("range") if request.header("if-range") in (None, etag) else None
    found = read_range(wanted, size)
    first, last = found or (0, size - 1)
    if found:
        headers["Content-Range"] = f"bytes {first}-{last}/{size}"
    headers["Content-Length"] = str(last - first + 1)
    headers["Content-Disposition"] = "inline" if shown else disposition(download.name)
    kind = download.mime_type
    response = HTTPResponse(
        status=206 if found else 200,
        headers=headers,
        content_type=f"{kind}; charset=utf-8" if kind.startswith("text/") else kind,
    )
    if request.method == "HEAD":
        return response
    if ctx.services.objects is None:
        raise Unavailable
    async with AsyncExitStack() as stack:
        # Before the first byte of the answer, while there can still be another.
        pieces = await stack.enter_async_context(ctx.services.objects.read(download.object_key, first, last))
        await request.respond(response)
        async for piece in pieces:
            await response.send(piece)
    return response


def read_range(header: str | None, size: int) -> tuple[int, int] | None:
    """The first and last byte that a Range asks for; None for the whole, also where it asks for what we do not do.

    Raises RangeNotSatisfiable.
    """
    asked = _RANGE.fullmatch(header.strip()) if header else None
    if asked is None or not (asked[1] or asked[2]):
        return None
    if not asked[1]:
        if not int(asked[2]):
            raise RangeNotSatisfiable(size=size)
        return max(0, size - int(asked[2])), size - 1
    first, last = int(asked[1]), min(int(asked[2] or size - 1), size - 1)
    if first >= size:
        raise RangeNotSatisfiable(size=size)
    # A range that ends before it begins is none.
    return None if asked[2] and int(asked[2]) < first else (first, last)


def disposition(name: str) -> str:
    """Content-Disposition of a file to be saved: its name for all (RFC 6266), and in ASCII for old clients."""
    plain = "".join(char if char.isascii() and char not in '"\\%' else "_" for char in name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


def _matches(header: str | None, etag: str) -> bool:
    if header is None:
        return False
    known = [candidate.strip().removeprefix("W/") for candidate in header.split(",")]
    return etag in known or "*" in known
