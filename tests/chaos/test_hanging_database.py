"""PostgreSQL hangs: nobody waits long for it, nobody is refused who need not be, and all goes on when it does."""

import asyncio
from collections.abc import Awaitable

import httpx
import pytest
from pausing import paused
from system.people import People, Person
from system.running import Running, data_of, refused
from system.waiting import until, within

# A connection is waited for, then a statement, for two things one after the other; and the machine is busy.
ANSWERED_S = 14.0
RECOVERY_S = 30.0
PEOPLE = 20


@pytest.fixture
async def people(crowd: People) -> list[Person]:
    """In one room, and with sessions that no gateway has seen."""
    registered = [await crowd.register() for _ in range(PEOPLE)]
    return [await person.login() for person in registered]


@pytest.fixture
async def room(people: list[Person]) -> str:
    found = await people[0].room(*people[1:])
    await people[0].post(found, "Is this stored?")
    return found


def asked(people: list[Person], room: str) -> list[Awaitable[httpx.Response]]:
    """More at once than there are connections: reads and writes, with and without a shard."""
    return [
        answer
        for person in people
        for answer in (
            person.ask("GET", "users/me"),
            person.ask("GET", f"conversations/{room}/history"),
            person.ask("POST", f"conversations/{room}/messages", json={"content": "Are you there?"}),
        )
    ]


async def recovered(people: list[Person], room: str) -> None:
    async def well() -> bool:
        statuses = {answer.status_code for answer in await asyncio.gather(*asked(people, room))}
        assert statuses <= {200, 201, 503}
        return 503 not in statuses

    await until(well, "all to be answered", RECOVERY_S)


async def test_requests_are_refused_and_then_answered(victim: Running, people: list[Person], room: str) -> None:
    with paused(victim):
        # The first find out, the others need not wait for that.
        for _ in range(2):
            async with within(ANSWERED_S, "all requests to be refused"):
                answers = await asyncio.gather(*asked(people, room))
            for answer in answers:
                refused(answer, 503, "unavailable")
                assert int(answer.headers["Retry-After"]) > 0
    await recovered(people, room)


async def test_a_hang_that_is_over_soon_refuses_nobody(victim: Running, people: list[Person], room: str) -> None:
    with paused(victim):
        requests = [asyncio.ensure_future(answer) for answer in asked(people, room)]
        done, _ = await asyncio.wait(requests, timeout=1.0)
        assert not done
    async with within(ANSWERED_S, "all requests to be answered"):
        for answer in await asyncio.gather(*requests):
            data_of(answer)
