"""Hypothesis profiles: `default` for every run, `thorough` (HYPOTHESIS_PROFILE) to look for rare stories. And one
running platform for all tests of the whole, with people who use it.
"""

import os
from collections.abc import AsyncIterator

import pytest
from hypothesis import HealthCheck, settings
from system.people import People, Person
from system.running import ALLOWED_ORIGIN, MESSAGE_BURST, Running

settings.register_profile(
    "default",
    deadline=None,
    max_examples=100,
    stateful_step_count=50,
    derandomize="CI" in os.environ,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("thorough", settings.get_profile("default"), max_examples=3000, stateful_step_count=150)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


@pytest.fixture(scope="session")
async def system() -> AsyncIterator[Running]:
    """The platform, with its default numbers of gateways and shards."""
    environment = {
        "CHAT_MESSAGE_BURST": str(MESSAGE_BURST),
        "ALLOWED_ORIGINS": ALLOWED_ORIGIN,
        # All eight tries of a transfer take some three seconds.
        "TRANSFER_RETRY_BASE_SECONDS": "0.025",
    }
    async with Running(environment) as running:
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
