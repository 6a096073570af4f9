"""While all of these tests run, some hundred slow clients hang on."""

from collections.abc import AsyncIterator

import pytest
from system.running import Running

from abuse.crowd import Crowd


@pytest.fixture(scope="package", autouse=True)
async def slow_clients(system: Running) -> AsyncIterator[Crowd]:
    """Of each kind a few dozen, from the first test on."""
    crowd = Crowd(system)
    await crowd.gather(300)
    try:
        yield crowd
    finally:
        await crowd.leave()
