"""The shell of a shard: what it does about its connection to PostgreSQL."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from veza.actors import shard as shells
from veza.actors.room_shard import RoomShard
from veza.config import load_settings


class Connection:
    """As much of one as a shard without rooms needs."""

    def __init__(self) -> None:
        self.closed = False

    def is_closed(self) -> bool:
        return self.closed

    def terminate(self) -> None:
        self.closed = True

    async def fetch(self, *_: Any) -> list[Any]:
        return []


async def test_a_connection_that_closes_while_idle_is_replaced_before_it_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Connection] = []

    async def connect(_url: str, **_: Any) -> Connection:
        made.append(Connection())
        return made[-1]

    monkeypatch.setattr(shells, "open_connection", connect)
    monkeypatch.setattr(shells, "setup_logging", lambda *_: None)
    nowhere = f"postgres://veza@/veza?host={tmp_path}"
    shard = RoomShard(
        "shard",
        load_settings({"VEZA_DATA_DIR": str(tmp_path), "DATABASE_URL": nowhere, "APP_ENV": "development"}, dotenv=None),
    )
    await shard.start()
    try:
        assert (await shard.ping())["storing"]
        made[0].closed = True
        assert not (await shard.ping())["storing"]
        async with asyncio.timeout(10):
            while len(made) == 1:
                await asyncio.sleep(0.01)
        assert (await shard.ping())["storing"]
    finally:
        await shard.drain()
    assert all(connection.closed for connection in made)
