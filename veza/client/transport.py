"""One REST call: credentials, envelope, errors."""

import http.cookiejar
from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

import httpx
import msgspec

from veza.client.auth import TokenKeeper, Tokens
from veza.client.errors import ClientError, ConnectionLost, ProtocolError, Unauthenticated, refusal
from veza.client.models import Credentials
from veza.client.wire import field_details

T = TypeVar("T")


class _Envelope(msgspec.Struct, Generic[T]):
    data: T


class _Refusal(msgspec.Struct):
    error: str
    code: str | None = None
    details: Any = None
    request_id: str | None = None


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
        # The refresh token travels in bodies; a cookie beside it would only be a second, older opinion.
        no_cookies = http.cookiejar.CookieJar(http.cookiejar.DefaultCookiePolicy(allowed_domains=[]))
        self._http = httpx.AsyncClient(
            base_url=f"{self.base_url}/api/v1/", timeout=timeout, cookies=no_cookies, follow_redirects=False
        )
        self.keeper = TokenKeeper(self._renew, tokens, on_tokens)

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
        token = await self.keeper.access()
        response = await self._send(method, path, body, query, token)
        if response.status_code == httpx.codes.UNAUTHORIZED:
            token = await self.keeper.renew(token)
            response = await self._send(method, path, body, query, token)
        return self._read(response, result)

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
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        content = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            content = msgspec.json.encode(_given(body))
        try:
            return await self._http.request(method, path, content=content, params=_given(query or {}), headers=headers)
        except httpx.TransportError as error:
            reason = str(error) or type(error).__name__
            raise ConnectionLost(f"{self.base_url} does not answer: {reason}") from error

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
