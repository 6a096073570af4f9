"""A gateway that serves the catalogue with a real object store, and people."""

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
import selling
from gateways import SECRET, Gateway, StartGateway, serving
from people import registered
from selling import Someone

from veza.http.api import product_files, products, reports, reviews
from veza.http.auth import Authenticator
from veza.http.services import Services
from veza.http.tokens import Tokens
from veza.storage.embedded import Objects
from veza.storage.objects import ObjectStore, open_objects


@pytest.fixture(scope="module")
async def shop(start_gateway: StartGateway, pool: Any, objects: Objects) -> AsyncIterator[Gateway]:
    """A gateway that serves the catalogue."""
    settings = msgspec.structs.replace(
        (await start_gateway()).services.settings,
        s3_endpoint_url=objects.url,
        aws_access_key_id="key",
        aws_secret_access_key="secret-of-tests",
    )
    authenticator = Authenticator(pool, Tokens(SECRET), fresh=lambda: True)
    services = Services(settings=settings, pool=pool, authenticator=authenticator)
    async with open_objects(settings) as store:
        await store.ensure_bucket()
        services.objects = store
        resources = (products.resource, product_files.resource, reviews.resource, reports.resource)
        async with serving(services, *resources) as gateway:
            yield gateway
        await services.work.finish(5)


@pytest.fixture(scope="module")
def store(shop: Gateway) -> ObjectStore:
    """The bucket."""
    assert shop.services.objects is not None
    return shop.services.objects


@pytest.fixture(scope="module")
async def ada(shop: Gateway) -> Someone:
    """She sells."""
    return await selling.seller(shop)


@pytest.fixture(scope="module")
async def bob(shop: Gateway) -> Someone:
    """He sells too."""
    return await selling.seller(shop)


@pytest.fixture(scope="module")
async def eve(shop: Gateway) -> Someone:
    """She only buys."""
    return Someone(shop, await registered(shop))
