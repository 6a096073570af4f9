"""A market for the tests of money."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from market import Market, open_market


@pytest.fixture(scope="module")
async def market(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Market]:
    """On the module's database."""
    directory: Path = tmp_path_factory.mktemp("market")
    async with open_market(database_url, directory) as opened:
        yield opened
