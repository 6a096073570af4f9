"""A platform of its own for the tests that damage it. Each leaves it whole."""

from collections.abc import AsyncIterator

import pytest
from system.people import People
from system.running import Running


@pytest.fixture(scope="session")
async def victim() -> AsyncIterator[Running]:
    """The platform, without a limit on how fast people write, or ask again from the one address they share."""
    unlimited = {
        "CHAT_MESSAGES_PER_MINUTE": "1000000",
        "CHAT_MESSAGE_BURST": "1000000",
        "RATE_LIMIT_PER_IP": "100000",
        "RATE_LIMIT_GLOBAL": "100000",
    }
    async with Running(unlimited) as running:
        yield running


@pytest.fixture(scope="session")
def crowd(victim: Running) -> People:
    """Makes people with accounts on it."""
    return People(victim)
