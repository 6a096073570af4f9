"""A gateway that serves attachments from a real object store, people, and a room."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import msgspec
import pytest
from attaching import Someone, kept, nothing_new, sweep
from gateways import SECRET, Gateway, StartGateway, serving
from people import registered

from veza.http.api import attachments as api
from veza.http.auth import Authenticator
from veza.http.services import Services
from veza.http.tokens import Tokens
from veza.realtime.room import RoomType
from veza.storage import rooms
from veza.storage.embedded import Objects
from veza.storage.objects import ObjectStore, open_objects


@pytest.fixture(scope="module")
async def desk(start_gateway: StartGateway, pool: Any, objects: Objects) -> AsyncIterator[Gateway]:
    """A gateway that serves attachments."""
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
        async with serving(services, api.resource) as gateway:
            yield gateway
        await services.work.finish(5)


@pytest.fixture(scope="module")
def store(desk: Gateway) -> ObjectStore:
    """The bucket."""
    assert desk.services.objects is not None
    return desk.services.objects


@pytest.fixture
async def ada(desk: Gateway) -> Someone:
    return Someone(desk, await registered(desk))


@pytest.fixture
async def bob(desk: Gateway) -> Someone:
    return Someone(desk, await registered(desk))


@pytest.fixture
async def eve(desk: Gateway) -> Someone:
    return Someone(desk, await registered(desk))


@pytest.fixture
async def room(pool: Any, ada: Someone, bob: Someone) -> UUID:
    """A room of Ada and Bob."""
    return (await rooms.create(pool, ada.id, RoomType.GROUP, "A room", [bob.id]))[0]


@pytest.fixture
async def tidy(pool: Any, store: ObjectStore) -> None:
    """Nothing is loose when the test begins."""
    await sweep(pool, store)
    assert await pool.fetchval("SELECT count(*) FROM loose_objects") == 0


@pytest.fixture
async def nothing_left(pool: Any, store: ObjectStore) -> AsyncIterator[None]:
    """Whatever the test does, nothing is kept of it."""
    before, rows = await kept(store), await pool.fetchval("SELECT count(*) FROM attachments")
    yield
    await nothing_new(pool, store, before, rows)
