"""A platform for the scenarios, and the runners, each started once."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from cases import Cast
from chromium import Chromium
from network import Network
from node import Node
from pages import Pages
from system.people import People
from system.running import MESSAGE_BURST, Running


@pytest.fixture(scope="package")
def pages() -> Iterator[Pages]:
    with Pages() as served:
        yield served


@pytest.fixture(scope="package")
async def platform(pages: Pages) -> AsyncIterator[Running]:
    async with Running({"CHAT_MESSAGE_BURST": str(MESSAGE_BURST), "ALLOWED_ORIGINS": pages.url}) as running:
        yield running


@pytest.fixture(scope="package")
async def network(platform: Running) -> AsyncIterator[Network]:
    async with Network(platform.port) as way:
        yield way


@pytest.fixture(scope="package")
def people(platform: Running) -> People:
    return People(platform)


@pytest.fixture(scope="package")
async def cast(platform: Running, people: People, network: Network) -> Cast:
    """Makes the people of a scenario, signed in."""

    async def make(scenario: dict[str, Any]) -> dict[str, Any]:
        shaky = scenario.get("shaky", [])
        made = {}
        for name in scenario["people"]:
            person = await people.register()
            made[name] = {
                "id": person.id,
                "username": person.username,
                "email": person.email,
                "url": network.url if name in shaky else platform.url,
                "access_token": person.token,
                "refresh_token": person.refresh_token,
            }
        return made

    return make


@pytest.fixture(scope="package")
async def node() -> AsyncIterator[Node]:
    async with Node() as runner:
        yield runner


@pytest.fixture(scope="package")
async def chromium(pages: Pages, platform: Running) -> AsyncIterator[Chromium]:
    async with Chromium(pages.url, platform.url) as runner:
        yield runner
