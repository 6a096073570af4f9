"""One HTTP request and its whole answer, within bounds.

Imported when it is first needed: httpx takes 0.15 s and 18 MiB.
"""

from collections.abc import Mapping
from typing import NamedTuple

import httpx

from veza.storage.payments.calls import Limits
from veza.storage.payments.interface import OutcomeUnknown, ProviderUnreachable

# A payment is some KiB as Hyperswitch shows it, a page of them some hundred; Stripe's answers are smaller.
LONGEST_ANSWER = 4 * 1024 * 1024

# Nothing of the request goes out before one of these.
NEVER_SENT = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.InvalidURL,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
)


class Answer(NamedTuple):
    """What came back, whatever its status."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Wire:
    """The connections to the provider `name`, kept alive between calls. Follows no redirects, retries nothing."""

    def __init__(
        self, name: str, limits: Limits, *, base_url: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        self._name = name
        self._client = httpx.AsyncClient(
            base_url=base_url,
            # Not compressed: a small answer could not unpack into a large one.
            headers={**(headers or {}), "accept-encoding": "identity"},
            timeout=httpx.Timeout(limits.call_seconds, connect=limits.connect_seconds, pool=limits.connect_seconds),
        )

    async def exchange(
        self,
        verb: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
        content: bytes | str | None = None,
    ) -> Answer:
        """Raises ProviderUnreachable when the request was never sent, OutcomeUnknown when no whole answer came."""
        if self._client.is_closed:
            raise ProviderUnreachable(f"{self._name}: closed.")
        try:
            async with self._client.stream(verb, url, headers=headers, params=query, content=content) as response:
                return Answer(response.status_code, response.headers, await self._whole(response))
        except NEVER_SENT as error:
            raise ProviderUnreachable(f"{self._name}: {type(error).__name__}.") from error
        except (httpx.HTTPError, httpx.StreamError) as error:
            raise OutcomeUnknown(f"{self._name}: {type(error).__name__}.") from error

    async def close(self) -> None:
        await self._client.aclose()

    async def _whole(self, response: httpx.Response) -> bytes:
        body = bytearray()
        async for piece in response.aiter_bytes():
            body += piece
            if len(body) > LONGEST_ANSWER:
                raise OutcomeUnknown(f"{self._name} answered with more than {LONGEST_ANSWER} bytes.")
        return bytes(body)
