"""Stripe's library, on our own connections.

Imported when it is first needed: the library takes 0.2 s and 27 MiB.
"""

import logging
from collections.abc import Mapping

import stripe

from veza.storage.payments.calls import Limits
from veza.storage.payments.wire import Wire


class WireClient(stripe.HTTPClient):
    """Carries the library's requests. Its own client for httpx reads answers of any length, and hands over bodies in a
    way that httpx will not take for long.
    """

    name = "httpx"

    def __init__(self, limits: Limits) -> None:
        super().__init__()
        self._wire = Wire("Stripe", limits)

    async def request_async(
        self, method: str, url: str, headers: Mapping[str, str], post_data: str | None = None
    ) -> tuple[bytes, int, Mapping[str, str]]:
        answer = await self._wire.exchange(method.upper(), url, headers=headers, content=post_data)
        return answer.body, answer.status, answer.headers

    async def close_async(self) -> None:
        await self._wire.close()


def make_client(secret_key: str, api_base: str, limits: Limits) -> tuple[stripe.StripeClient, WireClient]:
    """Takes 0.06 s, for the certificates are read."""
    # It would write an id of this machine into the home directory, and send it.
    stripe.enable_telemetry = False
    # It logs what requests and answers say.
    logging.getLogger("stripe").setLevel(logging.WARNING)
    http = WireClient(limits)
    client = stripe.StripeClient(
        secret_key,
        base_addresses={"api": api_base} if api_base else None,
        # Its own retries send again what may have arrived.
        max_network_retries=0,
        http_client=http,
    )
    return client, http
