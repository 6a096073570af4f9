"""The sample application of the tests of the HTTP facade."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from http_harness import make_services, served
from http_samples import sample_resource

from veza.http.api import system
from veza.http.services import Services


@pytest.fixture
def services(tmp_path: Path) -> Services:
    return make_services(tmp_path)


@pytest.fixture
async def client(services: Services) -> AsyncIterator[httpx.AsyncClient]:
    async with served(services, [system.resource, sample_resource]) as found:
        yield found
