"""A form with a file in it (multipart/form-data, RFC 7578), read as it arrives: bytes in, parts and their data out."""

from email.message import Message
from typing import TYPE_CHECKING

import msgspec
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from veza.errors import InvalidArgument
from veza.http.errors import UnsupportedMediaType

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks


class Part(msgspec.Struct, frozen=True):
    """The head of a part. `file_name` is what the client says, unchecked."""

    name: str
    file_name: str | None


class FormReader:
    """`feed` it the body; `complete` once the form's end was seen.

    Raises UnsupportedMediaType when the body is no such form.
    """

    def __init__(self, content_type: str | None) -> None:
        kind, options = parse_options_header(content_type)
        if kind != b"multipart/form-data":
            raise UnsupportedMediaType("Send the file as multipart/form-data.")
        self.complete = False
        self._events: list[Part | bytes] = []
        self._header = b"", b""
        self._headers: dict[bytes, bytes] = {}
        callbacks: MultipartCallbacks = {
            "on_part_begin": self._begin,
            "on_header_field": self._name,
            "on_header_value": self._value,
            "on_header_end": self._header_end,
            "on_headers_finished": self._head,
            "on_part_data": self._data,
            "on_end": self._end,
        }
        try:
            self._parser = MultipartParser(options.get(b"boundary", b""), callbacks)
        except FormParserError as error:
            raise InvalidArgument("The form's boundary is too long.") from error
        if not options.get(b"boundary"):
            raise InvalidArgument("The form has no boundary.")

    def feed(self, data: bytes) -> list[Part | bytes]:
        """What this piece of the body holds, in order: heads of parts, and data of the part begun last.

        Raises InvalidArgument for what is no form.
        """
        self._events = []
        try:
            self._parser.write(data)
        except FormParserError as error:
            raise InvalidArgument("The form is malformed.") from error
        return self._events

    def _begin(self) -> None:
        self._headers = {}

    def _name(self, data: bytes, start: int, end: int) -> None:
        name, value = self._header
        self._header = name + data[start:end], value

    def _value(self, data: bytes, start: int, end: int) -> None:
        name, value = self._header
        self._header = name, value + data[start:end]

    def _header_end(self) -> None:
        name, value = self._header
        self._headers[name.lower()] = value
        self._header = b"", b""

    def _head(self) -> None:
        disposition = self._headers.get(b"content-disposition", b"").decode("latin-1")
        kind, options = parse_options_header(disposition)
        if kind != b"form-data" or b"name" not in options:
            raise InvalidArgument("A part of the form has no name.")
        name = options[b"name"].decode(errors="replace")
        self._events.append(Part(name, _file_name(disposition, options)))

    def _data(self, data: bytes, start: int, end: int) -> None:
        self._events.append(data[start:end])

    def _end(self) -> None:
        self.complete = True


def _file_name(disposition: str, options: dict[bytes, bytes]) -> str | None:
    if b"filename" in options:
        return options[b"filename"].decode(errors="replace")
    if "filename*" not in disposition:
        return None
    # RFC 7578 forbids this form, and some clients send it.
    message = Message()
    message["Content-Disposition"] = disposition
    return message.get_filename()
