"""People, rooms and tokens, all made through the public API."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TypeVar

from veza.client import Account, Client, RateLimited

T = TypeVar("T")

PASSWORD = "Bench-mark-1"
# Registrations keep a core busy (argon2); more at once only queue.
AT_ONCE = 8
# Rooms a page of a person's list.
PAGE = 100


class Person:
    """A registered account, signed in."""

    def __init__(self, client: Client, account: Account) -> None:
        self.client = client
        self.id = account.id

    async def socket_path(self) -> str:
        """The path of the upgrade, with a token that opens any number of sockets for five minutes."""
        return f"/api/v1/ws?token={await self.client.chat_token()}"


@asynccontextmanager
async def people(url: str, count: int) -> AsyncIterator[list[Person]]:
    """So many new accounts; their connections close with the block."""
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(Client(url, timeout=60)) for _ in range(count)]
        yield await at_once(_register(client, f"bench{number}") for number, client in enumerate(clients))


async def _register(client: Client, name: str) -> Person:
    while True:
        try:
            return Person(client, await client.register(name, f"{name}@example.com", PASSWORD))
        except RateLimited as refusal:
            await asyncio.sleep(refusal.retry_after or 1)


async def at_once(work: Iterable[Awaitable[T]], limit: int = AT_ONCE) -> list[T]:
    """Results in order, `limit` at a time."""
    gate = asyncio.Semaphore(limit)

    async def one(job: Awaitable[T]) -> T:
        async with gate:
            return await job

    return await asyncio.gather(*(one(job) for job in work))


async def make_room(members: Sequence[Person], name: str = "bench") -> str:
    """A group of these people, the first its owner. Its id."""
    room = await members[0].client.conversations.create("group", name, [person.id for person in members[1:]])
    return room.id


async def stored_events(crowd: Iterable[Person]) -> dict[str, int]:
    """The last seq of every room that one of these people is in, as the server tells it from its database."""
    rooms: dict[str, int] = {}
    for person in crowd:
        offset, total = 0, 1
        while offset < total:
            page = await person.client.conversations.mine(limit=PAGE, offset=offset)
            rooms |= {room.id: room.last_seq for room in page.conversations}
            offset, total = offset + PAGE, page.total
    return rooms
