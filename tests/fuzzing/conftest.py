"""A platform of its own: what the fuzzer leaves behind is nobody else's."""

from collections.abc import AsyncIterator

import pytest
from system.people import People
from system.running import ALLOWED_ORIGIN, MESSAGE_BURST, Running


@pytest.fixture(scope="package")
async def system() -> AsyncIterator[Running]:
    async with Running({"CHAT_MESSAGE_BURST": str(MESSAGE_BURST), "ALLOWED_ORIGINS": ALLOWED_ORIGIN}) as running:
        yield running


@pytest.fixture(scope="package")
def people(system: Running) -> People:
    return People(system)
