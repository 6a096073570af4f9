"""One REST call: credentials, envelope, errors."""

import http.cookiejar
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, Generic, TypeVar
from urllib.parse import quote

import httpx
import msgspec

from veza.client.auth import TokenKeeper, Tokens
from veza.client.errors import ClientError, ConnectionLost, ProtocolError, Unauthenticated, refusal
from veza.client.models import Credentials
from veza.client.wire import field_details

T = TypeVar("T")

# For the answer to an upload, in seconds.
_STORING_S = 60.0


class _Envelope(msgspec.Struct, Generic[T]):
    data: T


class _Refusal(msgspec.Struct):
    error: str
    code: str | None = None
    details: Any = None
    request_id: str | None = None


class Upload(msgspec.Struct, frozen=True):
    """A body in pieces: `pieces` begins anew at each call, because a refused token means sending it again."""

    content_type: str
    size_bytes: int
    pieces: Callable[[], AsyncIterator[bytes]]


class Transport:
    """Speaks JSON with `{base_url}/api/v1`. `timeout` in seconds bounds each phase of a call."""

    def __init__(
        self,
        base_url: str,
        timeout: float,
        tokens: Tokens | None,
        on_tokens: Callable[[Tokens | None], None] | None,
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self._timeout = timeout
        # The refresh token travels in bodies; a cookie beside it would only be a second, older opinion.
        no_cookies = http.cookiejar.CookieJar(http.cookiejar.DefaultCookiePolicy(allowed_domains=[]))
        self._http = httpx.AsyncClient(
            base_url=f"{self.base_url}/api/v1/", timeout=timeout, cookies=no_cookies, follow_redirects=False
        )
        self.keeper = TokenKeeper(self._renew, tokens, on_tokens)

    @property
    def signed_in(self) -> bool:
        return self.keeper.tokens is not None

    async def aclose(self) -> None:
        await self.keeper.aclose()
        await self._http.aclose()

    async def call(
        self,
        method: str,
        path: str,
        result: type[T],
        *,
        body: Mapping[str, Any] | None = None,
        query: Mapping[str, Any] | None = None,
        signed: bool = True,
    ) -> T:
        """Make a call as the signed-in user (`signed`) or as nobody; return `data` as a `result`.

        Body and query members that are None are left out. An expired access token is renewed and the call
        made again, once. Raises a `ClientError`.
        """
        if not signed:
            return self._read(await self._send(method, path, body, query, None), result)
        return self._read(await self._signed(lambda token: self._send(method, path, body, query, token)), result)

    async def upload(self, path: str, upload: Upload, result: type[T]) -> T:
        """POST a body that comes in pieces."""
        headers = {"Content-Type": upload.content_type, "Content-Length": str(upload.size_bytes)}
        # What follows the last piece, such as looking at the content and storing it, takes longer than an answer.
        timeout = httpx.Timeout(self._timeout, read=max(self._timeout, _STORING_S))
        response = await self._signed(
            lambda token: self._request(
                "POST", path, {**headers, **_bearer(token)}, content=upload.pieces(), timeout=timeout
            )
        )
        return self._read(response, result)

    async def open(self, path: str) -> httpx.Response:
        """GET a body to be read with `pieces`, and closed."""
        response = await self._signed(lambda token: self._request("GET", path, _bearer(token), stream=True))
        if not response.is_success:
            try:
                await self._whole(response)
                raise _refused(response)
            finally:
                await response.aclose()
        return response

    async def pieces(self, response: httpx.Response) -> AsyncIterator[bytes]:
        """The body of what `open` returned."""
        try:
            async for piece in response.aiter_bytes():
                yield piece
        except httpx.TransportError as error:
            raise self._lost(error) from error

    async def _whole(self, response: httpx.Response) -> None:
        try:
            await response.aread()
        except httpx.TransportError as error:
            raise self._lost(error) from error

    async def _signed(self, send: Callable[[str], Awaitable[httpx.Response]]) -> httpx.Response:
        """Send as the signed-in user, once more with a renewed token where the first is refused."""
        token = await self.keeper.access()
        response = await send(token)
        if response.status_code == httpx.codes.UNAUTHORIZED:
            await response.aclose()
            response = await send(await self.keeper.renew(token))
        return response

    async def _renew(self, refresh_token: str) -> Credentials:
        body = {"refresh_token": refresh_token}
        try:
            return await self.call("POST", "auth/refresh", Credentials, body=body, signed=False)
        except ClientError as error:
            if error.status in (400, 403):
                raise Unauthenticated(error.message, error.code, status=error.status) from error
            raise

    async def _send(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None,
        query: Mapping[str, Any] | None,
        token: str | None,
    ) -> httpx.Response:
        headers = _bearer(token) if token else {}
        content = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            content = msgspec.json.encode(_given(body))
        return await self._request(method, path, headers, content=content, params=_given(query or {}))

    async def _request(
        self, method: str, path: str, headers: dict[str, str], *, stream: bool = False, **more: Any
    ) -> httpx.Response:
        request = self._http.build_request(method, path, headers=headers, **more)
        try:
            return await self._http.send(request, stream=stream)
        except httpx.TransportError as error:
            raise self._lost(error) from error

    def _lost(self, error: httpx.TransportError) -> ConnectionLost:
        return ConnectionLost(f"{self.base_url} does not answer: {str(error) or type(error).__name__}")

    def _read(self, response: httpx.Response, result: type[T]) -> T:
        if not response.is_success:
            raise _refused(response)
        try:
            return msgspec.json.decode(response.content, type=_Envelope[result]).data  # type: ignore[valid-type]
        except msgspec.MsgspecError as error:
            raise ProtocolError(
                f"{response.request.url.path} answered something unexpected: {error}",
                status=response.status_code,
                request_id=response.headers.get("X-Request-ID"),
            ) from error


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _refused(response: httpx.Response) -> ClientError:
    retry_after = _seconds(response.headers.get("Retry-After"))
    request_id = response.headers.get("X-Request-ID")
    try:
        told = msgspec.json.decode(response.content, type=_Refusal)
    except msgspec.MsgspecError:
        # A proxy in between speaks for itself, not in our envelope.
        return refusal(
            f"The server answered {response.status_code} {response.reason_phrase}.",
            status=response.status_code,
            retry_after=retry_after,
            request_id=request_id,
        )
    return refusal(
        told.error,
        told.code,
        status=response.status_code,
        retry_after=retry_after,
        request_id=told.request_id or request_id,
        details=field_details(told.details),
    )


def _seconds(value: str | None) -> float | None:
    if value is None:
        return None
    try:
        return float(value)
    except ValueError:
        return None  # the other allowed form is a date, which our server does not send


def part(value: str) -> str:
    """An id as a part of a path, whatever it holds: no id leads out of its place."""
    # Nothing, and the dots that mean "here" and "up" in paths, can be no id; "-" is none either.
    return "-" if value in ("", ".", "..") else quote(value, safe="")
