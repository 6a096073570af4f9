"""Who is told what of whom, when a shard takes partitions over and when it has lost them."""

from typing import Any
from uuid import UUID

import pytest

from veza.actors import presence_news
from veza.actors.presence_news import PresenceNews
from veza.realtime import commands as c
from veza.realtime.partition import partition_of
from veza.realtime.shard import ShardCore
from veza.realtime.takeover import SETTLE_S

ADA, BOB, CEM = (UUID(int=256 * n + 7) for n in (1, 2, 3))
ROOM = UUID(int=1)


class Database:
    """What is noted, and which epochs count."""

    def __init__(self) -> None:
        self.shown: set[UUID] = set()
        self.epochs: dict[int, int] = {7: 1}
        self.before_it_answers = lambda: None

    def is_closed(self) -> bool:
        return False

    async def save(self, _: Any, epochs: dict[int, int], statuses: dict[UUID, str], offline: str) -> set[int]:
        own = {partition for partition, epoch in epochs.items() if self.epochs[partition] == epoch}
        for user_id, status in statuses.items():
            if partition_of(user_id) in own:
                (self.shown.discard if status == offline else self.shown.add)(user_id)
        self.before_it_answers()
        return own

    async def present(self, _: Any, partitions: list[int]) -> set[UUID]:
        return {user_id for user_id in self.shown if partition_of(user_id) in partitions}

    async def rooms(self, _: Any, user_ids: dict[UUID, str], __: int) -> dict[UUID, list[UUID]]:
        return {user_id: [ROOM] for user_id in user_ids}


class Links:
    """What was told."""

    def __init__(self) -> None:
        self.told: list[tuple[UUID, str]] = []

    def broadcast(self, item: c.PresenceChanged) -> None:
        self.told.append((item.user_id, item.status))


class Shard:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.database, self.links, self.core = Database(), Links(), ShardCore()
        monkeypatch.setattr(presence_news.presence, "save", self.database.save)
        monkeypatch.setattr(presence_news.presence, "shown", self.database.present)
        monkeypatch.setattr(presence_news.partitions, "rooms_of_users", self.database.rooms)

        async def connect() -> Database:
            return self.database

        self.news = PresenceNews(self.core, self.links, connect)  # type: ignore[arg-type]

    def own(self, epochs: dict[int, int], now: float) -> None:
        self.news.owned(self.core.epochs, epochs, now)
        self.core.revoke([p for p in self.core.epochs if p not in epochs])
        self.core.grant(epochs, now)

    def attend(self, user_id: UUID, status: str = "online", *, sockets: int = 1, again: bool = False) -> None:
        self.core.presence.attend("gateway", user_id, sockets, status, 0.0, again=again)


@pytest.fixture
def shard(monkeypatch: pytest.MonkeyPatch) -> Shard:
    made = Shard(monkeypatch)
    made.own({7: 1}, 0.0)
    return made


async def test_a_takeover_welcomes_and_says_goodbye(shard: Shard) -> None:
    shard.database.shown = {BOB, CEM}
    shard.attend(ADA, "busy", again=True)
    shard.attend(BOB, again=True)
    await shard.news.tick(SETTLE_S - 0.1)
    assert shard.links.told == []
    await shard.news.tick(SETTLE_S)
    assert sorted(shard.links.told) == [(ADA, "busy"), (CEM, "offline")]
    assert shard.database.shown == {ADA, BOB}
    await shard.news.tick(2 * SETTLE_S)
    assert len(shard.links.told) == 2


async def test_who_has_lost_a_partition_tells_nothing_of_it(shard: Shard) -> None:
    await shard.news.tick(SETTLE_S)
    shard.database.epochs = {7: 2}
    shard.attend(ADA)
    await shard.news.tick(10.0)
    assert (shard.links.told, shard.database.shown) == ([], set())
    # Nor when it has it again: the gateways say anew who is there.
    shard.own({7: 3}, 11.0)
    shard.database.epochs = {7: 3}
    await shard.news.tick(11.2)
    assert shard.links.told == []


async def test_what_is_renewed_meanwhile_is_told_later(shard: Shard) -> None:
    shard.database.epochs = {7: 2}
    shard.attend(ADA)
    await shard.news.tick(1.0)
    assert shard.links.told == []
    shard.core.renewed({7: 2})
    await shard.news.tick(1.2)
    assert shard.links.told == [(ADA, "online")]


async def test_what_comes_back_while_it_is_noted_is_not_told(shard: Shard) -> None:
    shard.database.epochs = {7: 2}
    shard.database.before_it_answers = lambda: shard.own({7: 3}, 1.1)
    shard.attend(ADA)
    await shard.news.tick(1.0)
    shard.database.epochs, shard.database.before_it_answers = {7: 3}, lambda: None
    await shard.news.tick(1.2)
    assert shard.links.told == []
