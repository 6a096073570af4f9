"""Reading what a request holds: JSON body, query, path. Every fault becomes InvalidArgument with the field's name.

Text that PostgreSQL cannot store (NUL, lone surrogates) is refused here, wherever it stands, so that it never
becomes a database error.
"""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any, get_origin
from urllib.parse import parse_qsl, unquote_to_bytes

import msgspec

from veza.errors import InvalidArgument, NotFound
from veza.http.errors import UnsupportedMediaType

MAX_DEPTH = 64
MAX_QUERY_FIELDS = 100

_JSON_TYPE = re.compile(r"application/(?:[\w.+-]+\+)?json\s*(?:;\s*charset=\"?utf-8\"?\s*)?", re.IGNORECASE)
_ESCAPED_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
_NUMBER = re.compile(r"\s*[+-]?[\d.]+(?:[eE][+-]?\d+)?\s*")
# The closing quote is optional so that the match never fails: a failing one would be tried again at each quote.
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_AT = re.compile(r" - at `(?:key in )?\$(?P<path>.*)`$")
_MISSING = re.compile(r"missing required field `(?P<name>[^`]+)`")


def body_reader(kind: Any) -> Callable[[bytes, str | None], Any]:
    """A function from (raw body, content type) to `kind`."""
    decoder = msgspec.json.Decoder(kind)

    def read(raw: bytes, content_type: str | None) -> Any:
        if raw and not (content_type and _JSON_TYPE.fullmatch(content_type.strip())):
            raise UnsupportedMediaType
        if not raw:
            if content_type and not _JSON_TYPE.fullmatch(content_type.strip()):
                raise UnsupportedMediaType
            raise InvalidArgument("The request needs a JSON body.")
        try:
            check_text(raw)
            return decoder.decode(raw)
        except msgspec.ValidationError as error:
            raise field_error(error) from None
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise InvalidArgument("The body is not valid JSON.") from None
        except RecursionError:
            raise InvalidArgument("The body is nested too deeply.") from None

    return read


def check_text(raw: bytes) -> None:
    """Look at the parts of a JSON text that a typed decoder skips: text no database takes, and depth.

    Raises InvalidArgument, msgspec.DecodeError or UnicodeDecodeError.
    """
    if not raw.isascii():
        raw.decode()
    if raw.count(b"[") + raw.count(b"{") > MAX_DEPTH and _deeper_than(raw, MAX_DEPTH):
        raise InvalidArgument(f"The body is nested deeper than {MAX_DEPTH} levels.")
    if b"\\u" in raw:
        # A whole decode finds lone surrogates in fields that the typed one would skip.
        msgspec.json.decode(raw)
        if _ESCAPED_NUL.search(raw):
            raise InvalidArgument("Text must not contain NUL characters.")


def _deeper_than(raw: bytes, limit: int) -> bool:
    brackets = _STRING.sub(b"", raw).translate(None, _NOT_BRACKETS)
    # Each round takes the innermost pairs away: what is left after `limit` rounds is deeper (or not JSON).
    for _ in range(limit):
        shorter = brackets.replace(b"[]", b"").replace(b"{}", b"")
        if len(shorter) == len(brackets):
            break
        brackets = shorter
    return len(brackets) > 0


def query_reader(kind: Any) -> Callable[[list[tuple[str, str]]], Any]:
    """A function from the query's pairs to the struct `kind`. Fields that are lists take every value."""
    many = frozenset(
        field.encode_name for field in msgspec.structs.fields(kind) if _is_list(msgspec.inspect.type_info(field.type))
    )
    known = frozenset(field.encode_name for field in msgspec.structs.fields(kind))
    times = frozenset(
        field.encode_name for field in msgspec.structs.fields(kind) if holds_time(msgspec.inspect.type_info(field.type))
    )

    def read(pairs: list[tuple[str, str]]) -> Any:
        values: dict[str, Any] = {}
        for name, value in pairs:
            if name in many:
                values.setdefault(name, []).append(value)
            elif name in values:
                raise InvalidArgument(details=((name, "is given twice"),))
            elif name in times and _NUMBER.fullmatch(value):
                # For seconds since 1970, which no schema announces, reading would take it.
                raise InvalidArgument(details=((name, "must be a time as RFC 3339 writes it"),))
            elif name in known:
                values[name] = value
        try:
            return msgspec.convert(values, kind, strict=False)
        except msgspec.ValidationError as error:
            raise field_error(error) from None

    return read


def utc(field: str, moment: datetime | None) -> datetime | None:
    """The same moment in UTC. Raises InvalidArgument for one that is beyond the calendar there."""
    try:
        return None if moment is None else moment.astimezone(UTC)
    except OverflowError:
        raise InvalidArgument(details=((field, "is out of range"),)) from None


def holds_time(info: msgspec.inspect.Type) -> bool:
    """Whether a value of this type is a time, or may be one."""
    if isinstance(info, msgspec.inspect.Metadata):
        return holds_time(info.type)
    if isinstance(info, msgspec.inspect.UnionType):
        return any(holds_time(member) for member in info.types)
    return isinstance(info, msgspec.inspect.DateTimeType)


def _is_list(info: msgspec.inspect.Type) -> bool:
    if isinstance(info, msgspec.inspect.UnionType):
        return any(_is_list(member) for member in info.types)
    return isinstance(info, msgspec.inspect.CollectionType)


def parse_query(raw: bytes) -> list[tuple[str, str]]:
    """The pairs of a query string, decoded. Raises InvalidArgument for what is no text."""
    try:
        pairs = parse_qsl(raw.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=MAX_QUERY_FIELDS)
    except ValueError:
        raise InvalidArgument("The query is not valid text, or has too many fields.") from None
    for name, value in pairs:
        if "\0" in name or "\0" in value:
            raise InvalidArgument("Text must not contain NUL characters.")
    return pairs


def read_segment(raw: str, kind: Any) -> Any:
    """A path parameter. What is no `kind` names nothing: NotFound. What is no text, or no name that something could be
    given, is InvalidArgument.
    """
    if "%" in raw:
        try:
            raw = unquote_to_bytes(raw).decode()
        except UnicodeDecodeError:
            raise InvalidArgument("The path is not valid text.") from None
        if "\0" in raw:
            raise InvalidArgument("Text must not contain NUL characters.")
    if kind is str:
        return raw
    try:
        return msgspec.convert(raw, kind, strict=False)
    except msgspec.ValidationError as error:
        if get_origin(kind) is Annotated:
            # No id but a name to be given, and one against the rules.
            raise InvalidArgument(f"The path is not valid: {error}.") from None
        raise NotFound from None


def field_error(error: msgspec.ValidationError) -> InvalidArgument:
    """InvalidArgument that names the field, from msgspec's sentence."""
    text = str(error)
    at = _AT.search(text)
    field = at["path"].lstrip(".") if at else ""
    sentence = text[: at.start()] if at else text
    missing = _MISSING.search(sentence)
    if missing:
        field = f"{field}.{missing['name']}" if field else missing["name"]
        sentence = "is required"
    message = f"{field}: {sentence}" if field else sentence
    return InvalidArgument(message, details=((field or "body", sentence),))
