"""Every scenario with every SDK, against one running platform."""

from typing import Any

import pytest
import runner
from cases import Cast, scenarios
from chromium import Chromium
from network import Network
from node import Node

every_scenario = pytest.mark.parametrize("scenario", scenarios())


@every_scenario
async def test_python(scenario: dict[str, Any], cast: Cast, network: Network) -> None:
    failure = await runner.run(scenario, await cast(scenario), network.suffer)
    assert failure is None, failure


@every_scenario
async def test_node(scenario: dict[str, Any], cast: Cast, network: Network, node: Node) -> None:
    failure = await node.run(scenario, await cast(scenario), network.suffer)
    assert failure is None, failure


@pytest.mark.debian
@every_scenario
async def test_chromium(scenario: dict[str, Any], cast: Cast, network: Network, chromium: Chromium) -> None:
    failure = await chromium.run(scenario, await cast(scenario), network.suffer)
    assert failure is None, failure
