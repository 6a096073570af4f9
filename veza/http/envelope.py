"""The one shape of every JSON answer, and the response object that carries it.

`{"success":true,"data":…}`, or `{"success":false,"error":"<sentence>","code":"<word>","details"?,"request_id"}`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Generic, Literal, TypeVar

import msgspec
from sanic.response import HTTPResponse

T = TypeVar("T")

_encoder = msgspec.json.Encoder()


class Cookie(msgspec.Struct, frozen=True):
    """One `Set-Cookie`. A `max_age` of 0 removes the cookie; `secure` is what the caller's settings say."""

    name: str
    value: str
    max_age: int
    path: str = "/"
    secure: bool = True
    http_only: bool = True
    same_site: Literal["Lax", "Strict", "None"] = "Lax"


class Reply(Generic[T]):
    """What a handler returns when it says more than the data. `status` None means the route's own."""

    __slots__ = ("cookies", "data", "headers", "status")

    def __init__(
        self,
        data: T,
        status: int | None = None,
        headers: Mapping[str, str] | None = None,
        cookies: Sequence[Cookie] = (),
    ) -> None:
        self.data = data
        self.status = status
        self.headers = headers
        self.cookies = cookies


class FieldError(msgspec.Struct, frozen=True):
    """One field of the request and what is wrong with it."""

    field: str
    message: str


class ErrorBody(msgspec.Struct, frozen=True, kw_only=True):
    """The envelope of a failure. `code` is stable, `error` is a sentence for a person."""

    success: Literal[False] = False
    error: str
    code: str
    request_id: str
    details: list[FieldError] | msgspec.UnsetType = msgspec.UNSET


class JsonResponse(HTTPResponse):
    """A JSON body whose constant headers are one block of bytes, set by the edge just before it is sent.

    Formatting a dozen headers one by one costs more than a typical handler.
    """

    __slots__ = ("block",)

    def __init__(self, body: bytes, status: int = 200) -> None:
        super().__init__(body, status)
        self.block = b"application/json"

    @property
    def processed_headers(self) -> Iterator[tuple[bytes, bytes]]:
        # The block is "application/json\r\nname: value\r\n…": the value of the first header and all that follow.
        yield b"content-type", self.block
        clean = self._sanitize_header_value
        for name, value in self.headers.items():
            yield clean(name).encode("ascii"), clean(str(value)).encode()


def success(data: object, status: int = 200) -> JsonResponse:
    """The envelope around `data`. Datetimes must be aware and UTC: they are written with `Z`."""
    return JsonResponse(b'{"success":true,"data":%b}' % _encoder.encode(data), status)


def bare(data: object, status: int = 200) -> JsonResponse:
    """The data as it is, for the few answers that have no envelope."""
    return JsonResponse(_encoder.encode(data), status)


def failure(body: ErrorBody, status: int) -> JsonResponse:
    return JsonResponse(_encoder.encode(body), status)


def reply(result: Reply[Any], status: int, answer: Callable[[object, int], JsonResponse] = success) -> JsonResponse:
    """What a Reply says, by `answer`; `status` is used where it names none."""
    response = answer(result.data, result.status or status)
    for name, value in (result.headers or {}).items():
        response.headers[name] = value
    for cookie in result.cookies:
        response.add_cookie(
            cookie.name,
            cookie.value,
            path=cookie.path,
            secure=cookie.secure,
            max_age=cookie.max_age,
            httponly=cookie.http_only,
            samesite=cookie.same_site,
        )
    return response
