from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from chat_peer import USER, Peer
from chat_world import ROOM, World
from rest_peer import RestPeer, ok, refused

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


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with Peer() as peer, RestPeer() as rest:
        rest.socket_port = int(peer.url.rpartition(":")[2])
        room = {"id": ROOM, "type": "group", "name": "Band", "unread_count": 2}

        def history(body: Any, query: dict[str, str]) -> tuple[int, Any]:
            return 200, ok({"messages": peer.logs[ROOM][::-1], "next_cursor": None, "has_more": False})

        rest.routes |= {
            "GET users/me": (200, ok({**USER, "email": "ada@example.com", "role": "user"})),
            "GET chat/token": (200, ok({"token": "t", "expires_in": 300})),
            "GET conversations": (200, ok({"conversations": [room], "total": 1})),
            f"GET conversations/{ROOM}": (200, ok(room)),
            f"GET conversations/{ROOM}/history": history,
            "POST conversations": (409, refused("conflict", "No more rooms.\x1b[2J")),
        }
        yield World(rest, peer, tmp_path)
