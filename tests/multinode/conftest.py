"""One platform on three nodes for all tests here. Each leaves it as it found it."""

from collections.abc import AsyncIterator

import pytest
from fleet import NODES, PER_ADDRESS, Fleet
from system.people import People
from traffic import Traffic


@pytest.fixture(scope="module")
async def fleet() -> AsyncIterator[Fleet]:
    """A shard and a gateway on each of three nodes, and no limit on how fast people write."""
    settings = {
        "VEZA_ROOM_SHARDS": "1",
        "VEZA_GATEWAYS": "1",
        "CHAT_MESSAGES_PER_MINUTE": "1000000",
        "CHAT_MESSAGE_BURST": "1000000",
        "RATE_LIMIT_PER_IP": str(PER_ADDRESS),
    }
    async with Fleet(settings) as running:
        await running.settles(*NODES)
        yield running


@pytest.fixture(scope="module")
def crowd(fleet: Fleet) -> People:
    """Makes people with accounts."""
    return People(fleet)


@pytest.fixture
async def traffic(crowd: People) -> AsyncIterator[Traffic]:
    """Traffic that flows."""
    async with Traffic(crowd) as flowing:
        await flowing.flows()
        yield flowing
