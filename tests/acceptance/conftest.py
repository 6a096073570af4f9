"""One running platform for all acceptance tests, and people who use it."""

from collections.abc import AsyncIterator

import pytest
from system.people import People, Person
from system.running import ALLOWED_ORIGIN, MESSAGE_BURST, Running


@pytest.fixture(scope="session")
async def system() -> AsyncIterator[Running]:
    """The platform, with its default numbers of gateways and shards."""
    async with Running({"CHAT_MESSAGE_BURST": str(MESSAGE_BURST), "ALLOWED_ORIGINS": ALLOWED_ORIGIN}) as running:
        yield running


@pytest.fixture(scope="session")
def people(system: Running) -> People:
    """Makes people with accounts."""
    return People(system)


@pytest.fixture
async def ada(people: People) -> Person:
    """Somebody new."""
    return await people.register()


@pytest.fixture
async def bob(people: People) -> Person:
    """Somebody else who is new."""
    return await people.register()


@pytest.fixture
async def eve(people: People) -> Person:
    """A third person, who belongs to nothing."""
    return await people.register()
