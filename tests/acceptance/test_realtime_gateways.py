"""What belongs to one person, whichever gateway their sockets are on: allowance, sockets, presence."""

import asyncio
import signal
from collections.abc import AsyncIterator
from typing import Any

import pytest
from system.people import People, Person
from system.running import Running, data_of
from system.sides import Sides
from system.sockets import Refused, Socket
from system.waiting import until

BURST = 10
MAX_SOCKETS = 6
AWAY_S = 2
# The lease of a gateway, the grace of a user, and the rest for a busy machine; the promise is 15 s.
GONE_S = 25.0


@pytest.fixture(scope="module")
async def system() -> AsyncIterator[Running]:
    """A platform with the default rate, few sockets a user, and people who are soon away."""
    settings = {
        # So slow that nothing comes back while a test runs.
        "CHAT_MESSAGES_PER_MINUTE": "1",
        "CHAT_MESSAGE_BURST": str(BURST),
        "VEZA_MAX_SOCKETS_PER_USER": str(MAX_SOCKETS),
        "CHAT_AWAY_SECONDS": str(AWAY_S),
    }
    async with Running(settings) as running:
        yield running


@pytest.fixture(scope="module")
def people(system: Running) -> People:
    return People(system)


async def outcomes(*commands: tuple[Socket, str]) -> list[str]:
    """What became of each command: the code of its error, or nothing."""

    async def one(socket: Socket, command_id: str) -> str:
        try:
            await socket.answer(command_id)
        except Refused as error:
            return error.code
        return ""

    return list(await asyncio.gather(*(one(*command) for command in commands)))


async def statuses(person: Person, room_id: str) -> dict[str, str]:
    members = (await person.call("GET", f"conversations/{room_id}"))["members"]
    return {member["user"]["id"]: member["presence"] for member in members}


async def test_a_burst_over_two_gateways_is_one_burst(system: Running, ada: Person) -> None:
    room_id = await ada.room()
    async with Sides(system) as sides:
        sockets = [await sides.connect(ada, side) for side in (0, 1)]
        sent = [
            (socket, await socket.command("send_message", room_id=room_id, content=f"{number}"))
            for number in range(BURST)
            for socket in sockets
        ]
        assert sorted(await outcomes(*sent)) == [""] * BURST + ["RATE_LIMITED"] * BURST
    # By REST it is the same allowance.
    answer = await ada.ask("POST", f"conversations/{room_id}/messages", json={"content": "and one"})
    assert answer.status_code == 429
    assert len(await ada.history(room_id)) == BURST


async def test_posts_take_from_both_sides(system: Running, bob: Person) -> None:
    room_id = await bob.room()
    async with Sides(system) as sides:
        one, other = await sides.connect(bob, 0), await sides.connect(bob, 1)
        for number in range(BURST):
            if number % 3 == 0:
                await bob.post(room_id, str(number))
            else:
                await (one if number % 2 else other).send(room_id, str(number))
        for socket in (one, other):
            with pytest.raises(Refused) as refused:
                await socket.send(room_id, "one too many")
            assert refused.value.code == "RATE_LIMITED"
            assert refused.value.error["retry_after"] > 0


async def test_a_socket_keeps_its_order_while_it_waits_for_the_allowance(system: Running, eve: Person) -> None:
    room_id = await eve.room()
    async with Sides(system) as sides:
        holder, socket = await sides.connect(eve, 0), await sides.connect(eve, 1)
        await holder.send(room_id, "here it is")
        ids = []
        for number in range(5):
            ids.append(await socket.command("send_message", room_id=room_id, content=f"m{number}"))
            ids.append(await socket.command("get_history", room_id=room_id, limit=100))
        answers = [await socket.answer(command_id) for command_id in ids]
        seen = [[message["content"] for message in page["messages"]][::-1] for page in answers[1::2]]
        for number, contents in enumerate(seen):
            assert contents[1 : number + 2] == [f"m{i}" for i in range(number + 1)]
        assert [answer["seq"] for answer in answers[::2]] == sorted(answer["seq"] for answer in answers[::2])


async def test_the_newest_sockets_are_one_too_many_over_both_gateways(system: Running, people: People) -> None:
    person = await people.register()
    async with Sides(system) as sides:
        kept = [await sides.connect(person, number % 2) for number in range(MAX_SOCKETS)]
        for _ in range(3):
            async with await person.connect() as socket:
                assert await socket.until_closed(5) == 4029
        for socket in kept:
            await socket.call("ping")
        await kept[0].close()
        again = await sides.connect(person, 1)
        await again.call("ping")


async def test_who_does_nothing_is_away_and_back_when_they_do_something(people: People) -> None:
    ada, bob = await people.register(), await people.register()
    room_id = await ada.room(bob)
    async with await ada.connect() as one, await bob.connect() as two:
        await one.call("join_room", room_id=room_id)
        # Idle sockets are looked at as often as they are pinged.
        await one.event("presence", user_id=bob.id, status="away", seconds=45)
        one.frames.clear()
        await two.call("join_room", room_id=room_id)
        await one.event("presence", user_id=bob.id, status="online")
        # What somebody chose is not replaced by it.
        await two.call("set_presence", status="busy")
        await one.event("presence", user_id=bob.id, status="busy")


async def shows(person: Person, room_id: str, user_id: str, status: str) -> None:
    async def ask() -> bool:
        return (await statuses(person, room_id)).get(user_id) == status

    await until(ask, f"{user_id} to be {status}", GONE_S)


async def test_a_gateway_that_is_silent_takes_its_people_along_and_brings_them_back(
    system: Running, people: People
) -> None:
    ada, bob = await people.register(), await people.register()
    room_id = await ada.room(bob)
    async with Sides(system) as sides:
        watcher = await sides.connect(ada, 0)
        await watcher.call("join_room", room_id=room_id)
        away = await sides.connect(bob, 1)
        await watcher.event("presence", user_id=bob.id, status="online")
        sides.signal(1, signal.SIGSTOP)
        try:
            gone = await watcher.event("presence", user_id=bob.id, status="offline", seconds=GONE_S)
            assert gone["room_id"] == room_id
        finally:
            sides.signal(1, signal.SIGCONT)
        watcher.frames.clear()
        assert await back(watcher, away, bob.id)


async def back(watcher: Socket, away: Socket, user_id: str) -> bool:
    """Either the paused gateway attends again, or it was replaced meanwhile and its socket is broken."""
    came = asyncio.create_task(
        watcher.wait(lambda f: f["type"] == "presence" and f["user_id"] == user_id, "their return", GONE_S)
    )
    broken = asyncio.create_task(away.until_closed(GONE_S))
    done: set[asyncio.Task[Any]]
    done, pending = await asyncio.wait((came, broken), return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    await asyncio.gather(*pending, return_exceptions=True)
    return bool(done)


async def test_a_killed_gateway_leaves_no_ghost(system: Running, people: People) -> None:
    ada, bob = await people.register(), await people.register()
    room_id = await ada.room(bob)
    async with Sides(system) as sides:
        watcher = await sides.connect(ada, 0)
        await watcher.call("join_room", room_id=room_id)
        ghost = await sides.connect(bob, 1)
        await watcher.event("presence", user_id=bob.id, status="online")
        sides.signal(1, signal.SIGKILL)
        await ghost.until_closed()
        await watcher.event("presence", user_id=bob.id, status="offline", seconds=GONE_S)
        await shows(ada, room_id, bob.id, "offline")
    await system.living("Gateway")
    # What the dead one held is lent anew.
    await bob.post(room_id, "still here")
    assert data_of(await bob.ask("GET", f"conversations/{room_id}/history"))["messages"]
