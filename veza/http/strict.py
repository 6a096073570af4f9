"""HTTP/1.1 where Sanic is lenient. What a proxy before us could read otherwise is refused: else the two might disagree
about where a request ends, and one could be smuggled inside another (RFC 9112, 11.2).
"""

import re
from typing import Any

from sanic.exceptions import BadRequest
from sanic.http.http1 import Http

# A line of a head that is no header: a name is a token, with the colon right behind it (RFC 9112, 5.1).
_NO_HEADER = re.compile(rb"\r\n(?![!#$%&'*+.^_`|~0-9A-Za-z-]+:)")
_SIZES = {10: re.compile(r"[ \t]*[0-9]+[ \t]*"), 16: re.compile(r"[ \t]*[0-9A-Fa-f]+[ \t]*")}


def check_head(head: bytes) -> None:
    """Raises BadRequest for folded lines, bare CR or LF, NUL, and names that are none."""
    lines = head.count(b"\r\n")
    if head.count(b"\n") != lines or head.count(b"\r") != lines or b"\0" in head or _NO_HEADER.search(head):
        raise BadRequest


class StrictHttp(Http):
    """Sanic's connection, with sizes in digits only and a line's end behind each chunk."""

    @staticmethod
    def _safe_int(value: str, base: int = 10) -> int:
        """The size of a body or a chunk. Raises ValueError."""
        if not _SIZES[base].fullmatch(value):
            raise ValueError
        return int(value, base)

    async def read(self) -> bytes | None:
        chunked: Any = self.request_body
        if chunked == "chunked" and not self.request_bytes_left:
            # What Sanic takes for the line's end behind the head, or the last chunk, without a look.
            while len(self.recv_buffer) < 2:
                await self._receive_more()
            if self.recv_buffer[:2] != b"\r\n":
                self.keep_alive = False
                raise BadRequest
        return await super().read()

    def create_empty_request(self) -> None:
        """What errors are answered with that come before there is a request."""
        try:
            super().create_empty_request()
        except BadRequest:
            # Its address was the error.
            self.url = "*"
            super().create_empty_request()
