"""Whether data of a person may go to others: their choice, and what their browser asks."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from gateways import Gateway, serving
from people import registered

from veza.http.context import Context
from veza.http.privacy import may_share
from veza.http.routing import Auth, Resource
from veza.http.services import Services

GPC = {"Sec-GPC": "1"}


@pytest.fixture
async def sharing(gateway: Gateway, pool: Any) -> AsyncIterator[Gateway]:
    """A gateway with a route that tells it."""
    resource = Resource("sharing", "What is shared.")

    @resource.get("/sharing", auth=Auth.OPTIONAL)
    async def sharing(ctx: Context) -> bool:
        """Tell whether data of the caller may go to others."""
        return await may_share(ctx)

    known = gateway.services
    services = Services(settings=known.settings, pool=pool, authenticator=known.authenticator)
    async with serving(services, resource) as found:
        yield found


async def test_a_choice_and_a_signal_are_both_honoured(sharing: Gateway) -> None:
    token = (await registered(sharing))["access_token"]

    async def shared(token: str | None, headers: dict[str, str] | None = None) -> object:
        answer = await sharing.call("GET", "/sharing", token=token, headers=headers or {})
        return answer.json()["data"]

    assert [await shared(None), await shared(token)] == [True, True]
    assert [await shared(None, GPC), await shared(token, GPC)] == [False, False]
    body = {"do_not_sell": True}
    await sharing.call("POST", "/users/me/privacy/opt-out", token=token, json=body)
    assert [await shared(None), await shared(token)] == [True, False]


async def test_the_account_shows_what_holds_for_the_request(sharing: Gateway) -> None:
    token = (await registered(sharing))["access_token"]
    for method, path, body in (
        ("GET", "/users/me", None),
        ("PUT", "/users/me", {"bio": "Harpist"}),
        ("POST", "/users/me/creator", None),
    ):
        for headers, shown in ((GPC, True), ({}, False)):
            answer = await sharing.call(method, path, token=token, json=body, headers=headers)
            assert answer.json()["data"]["do_not_sell"] is shown, (method, path)
