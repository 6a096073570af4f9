from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from chat_peer import Peer

from veza.client import Chat


@pytest.fixture
async def peer() -> AsyncIterator[Peer]:
    async with Peer() as running:
        yield running


@pytest.fixture
def chat_with(peer: Peer) -> Callable[..., Chat]:
    """A chat to the peer, with a fresh token for each connection and hardly any backoff."""
    issued = 0

    async def token() -> str:
        nonlocal issued
        issued += 1
        return f"token-{issued}"

    def make(**options: Any) -> Chat:
        return Chat(peer.url, token, **{"chance": lambda: 0.01, **options})

    return make
