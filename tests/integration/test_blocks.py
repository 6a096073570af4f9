"""Blocks: stored once, told to the shard of the direct room, in force when a direct room is opened."""

from collections.abc import AsyncIterator, Callable
from typing import Any
from uuid import UUID, uuid4

import pytest
from gateways import SECRET, Gateway, StartGateway, serving
from people import refused, registered

from veza.errors import RoomNotFound, Unavailable, UserBlocked, VezaError
from veza.http.api import blocks as api
from veza.http.auth import Authenticator
from veza.http.services import Services
from veza.http.tokens import Tokens
from veza.realtime import commands as c
from veza.realtime.room import RoomType
from veza.storage import blocks, rooms


class Rooms:
    """The way to the shards: notes what they are asked, refuses as told."""

    def __init__(self) -> None:
        self.asked: list[c.ShardCommand] = []
        self.failures: list[VezaError] = []

    async def ask(self, make: Callable[[int], c.ShardCommand], room_id: UUID) -> Any:
        command = make(1)
        assert isinstance(command, c.BlocksChanged)
        assert command.room_id == room_id
        self.asked.append(command)
        if self.failures:
            raise self.failures.pop(0)
        return {}

    def taken(self) -> list[UUID]:
        """The rooms whose shards were told since the last look."""
        found, self.asked = [command.room_id for command in self.asked if isinstance(command, c.BlocksChanged)], []
        return found


@pytest.fixture(scope="module")
async def desk(start_gateway: StartGateway, pool: Any) -> AsyncIterator[Gateway]:
    """A gateway that serves blocks."""
    settings = (await start_gateway()).services.settings
    authenticator = Authenticator(pool, Tokens(SECRET), fresh=lambda: True)
    services = Services(settings=settings, pool=pool, authenticator=authenticator)
    stand_in: Any = Rooms()
    services.rooms = stand_in
    async with serving(services, api.resource) as gateway:
        yield gateway


@pytest.fixture
def shards(desk: Gateway) -> Rooms:
    stand_in: Any = desk.services.rooms
    stand_in.__init__()
    found: Rooms = stand_in
    return found


class Someone:
    def __init__(self, desk: Gateway, grant: dict[str, Any]) -> None:
        self._desk = desk
        self.id = UUID(grant["user"]["id"])
        self.name: str = grant["user"]["username"]
        self.token: str = grant["access_token"]

    async def ask(self, method: str, path: str, **options: Any) -> Any:
        return await self._desk.call(method, f"/users/{path}", token=self.token, **options)

    async def data(self, method: str, path: str, **options: Any) -> Any:
        response = await self.ask(method, path, **options)
        assert response.status_code == 200, response.text
        return response.json()["data"]


@pytest.fixture
async def ada(desk: Gateway) -> Someone:
    return Someone(desk, await registered(desk))


@pytest.fixture
async def bob(desk: Gateway) -> Someone:
    return Someone(desk, await registered(desk))


async def test_blocking_and_taking_it_back(ada: Someone, bob: Someone, pool: Any, shards: Rooms) -> None:
    for _ in range(2):
        assert await ada.data("POST", f"{bob.id}/block") == {"user_id": str(bob.id), "blocked": True}
    assert await blocks.has_blocked(pool, ada.id, bob.id)
    assert not await blocks.has_blocked(pool, bob.id, ada.id)
    assert await blocks.blocked_between(pool, bob.id, ada.id)
    assert await blocks.blocked_between(pool, ada.id, bob.id)
    page = await ada.data("GET", "me/blocks")
    assert [(block["user"], page["total"]) for block in page["blocks"]] == [
        ({"id": str(bob.id), "username": bob.name}, 1)
    ]
    for _ in range(2):
        assert await ada.data("DELETE", f"{bob.id}/block") == {"user_id": str(bob.id), "blocked": False}
    assert not await blocks.blocked_between(pool, ada.id, bob.id)
    assert await ada.data("GET", "me/blocks") == {"blocks": [], "total": 0}
    # Without a direct room there is nobody to tell.
    assert shards.taken() == []


async def test_the_list_is_paged(ada: Someone, desk: Gateway) -> None:
    others = [Someone(desk, await registered(desk)) for _ in range(3)]
    for other in others:
        await ada.data("POST", f"{other.id}/block")
    page = await ada.data("GET", "me/blocks", params={"limit": 2})
    rest = await ada.data("GET", "me/blocks", params={"limit": 2, "offset": 2})
    assert (page["total"], rest["total"]) == (3, 3)
    found = [block["user"]["id"] for block in page["blocks"] + rest["blocks"]]
    assert found == [str(other.id) for other in reversed(others)]


async def test_the_shard_of_the_direct_room_is_told_each_time(
    ada: Someone, bob: Someone, pool: Any, shards: Rooms
) -> None:
    room_id, _ = await rooms.create(pool, bob.id, RoomType.DIRECT, None, [ada.id])
    await ada.data("POST", f"{bob.id}/block")
    assert shards.taken() == [room_id]
    # It may have been told in vain: the retry tells it again.
    await ada.data("POST", f"{bob.id}/block")
    assert shards.taken() == [room_id]
    await ada.data("DELETE", f"{bob.id}/block")
    assert shards.taken() == [room_id]


async def test_a_shard_out_of_reach_is_told_by_the_retry(ada: Someone, bob: Someone, pool: Any, shards: Rooms) -> None:
    room_id, _ = await rooms.create(pool, ada.id, RoomType.DIRECT, None, [bob.id])
    shards.failures = [Unavailable()]
    response = await ada.ask("POST", f"{bob.id}/block")
    refused(response, 503, "unavailable")
    assert response.headers["retry-after"]
    await ada.data("POST", f"{bob.id}/block")
    assert shards.taken() == [room_id, room_id]
    # Deleted meanwhile: nothing to change there.
    shards.failures = [RoomNotFound()]
    await ada.data("DELETE", f"{bob.id}/block")


async def test_who_is_blocked_cannot_open_a_direct_room(ada: Someone, bob: Someone, pool: Any, shards: Rooms) -> None:
    await blocks.block(pool, ada.id, bob.id)
    with pytest.raises(UserBlocked):
        await rooms.create(pool, bob.id, RoomType.DIRECT, None, [ada.id])
    assert await rooms.direct_room(pool, ada.id, bob.id) is None
    await rooms.create(pool, bob.id, RoomType.GROUP, "Others may meet", [ada.id])
    await blocks.unblock(pool, ada.id, bob.id)
    room_id, new = await rooms.create(pool, bob.id, RoomType.DIRECT, None, [ada.id])
    assert new
    assert await rooms.direct_room(pool, ada.id, bob.id) == await rooms.direct_room(pool, bob.id, ada.id) == room_id
    await blocks.block(pool, ada.id, bob.id)
    with pytest.raises(UserBlocked):
        await rooms.create(pool, bob.id, RoomType.DIRECT, None, [ada.id])
    # The blocker may.
    assert await rooms.create(pool, ada.id, RoomType.DIRECT, None, [bob.id]) == (room_id, False)


async def test_oneself_and_nobody_cannot_be_blocked(ada: Someone, shards: Rooms) -> None:
    refused(await ada.ask("POST", f"{ada.id}/block"), 400, "invalid_argument")
    for method in ("POST", "DELETE"):
        refused(await ada.ask(method, f"{uuid4()}/block"), 404, "user_not_found")
        refused(await ada.ask(method, "no-id/block"), 404, "not_found")
    assert (await ada.data("GET", "me/blocks"))["total"] == 0


async def test_a_block_is_its_makers_own(ada: Someone, bob: Someone, shards: Rooms) -> None:
    await ada.data("POST", f"{bob.id}/block")
    assert (await bob.data("GET", "me/blocks"))["total"] == 0
    # Bob takes back a block of his own, which there is not; Ada's stands.
    await bob.data("DELETE", f"{ada.id}/block")
    assert (await ada.data("GET", "me/blocks"))["total"] == 1


@pytest.mark.parametrize(("method", "path"), [("POST", "{}/block"), ("DELETE", "{}/block"), ("GET", "me/blocks")])
async def test_without_a_token_there_is_nothing(desk: Gateway, bob: Someone, method: str, path: str) -> None:
    for token in (None, "not.a.token"):
        refused(await desk.call(method, f"/users/{path.format(bob.id)}", token=token), 401, "unauthenticated")
