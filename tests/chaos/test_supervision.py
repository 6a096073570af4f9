"""What the Supervisor heals, and what it must not make worse while PostgreSQL is away."""

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable

import psutil
import pytest
from pausing import paused
from system.people import People, Person
from system.running import Running
from system.sockets import Refused
from system.waiting import until, within

USUAL = {"RoomShard": 2, "Gateway": 2, "Supervisor": 1}
# Enough for both shards to own some.
ROOMS = 12
RECOVERY_S = 60.0
# Starts that fail one after the other, and how long each may take: a connection is tried for 5 s.
STARTS = 3
START_S = 15.0
# From when another Supervisor runs until all rooms have owners.
TAKE_OVER_S = 4.0


def asked_again(victim: Running) -> Callable[[], Awaitable[bool]]:
    """Whether from now on `veza serve` said of a Supervisor that it cannot do its work yet."""
    log = victim.root / "serve.log"
    before = len(log.read_text())

    async def ask() -> bool:
        assert victim.process.poll() is None, f"`veza serve` gave up:\n{victim.last_words()}"
        return "PostgreSQL cannot be" in log.read_text()[before:]

    return ask


def replaced(victim: Running, supervisor: psutil.Process) -> Callable[[], Awaitable[bool]]:
    """Whether another Supervisor runs in its place."""

    async def ask() -> bool:
        return [found.pid for found in victim.actors("Supervisor")] not in ([], [supervisor.pid])

    return ask


def kill(process: psutil.Process) -> None:
    os.kill(process.pid, signal.SIGKILL)


@pytest.fixture
async def rooms(victim: Running, crowd: People) -> "Rooms":
    person = await crowd.register()
    return Rooms(victim, person, [await person.room(name=f"Room {number}") for number in range(ROOMS)])


class Rooms:
    def __init__(self, victim: Running, person: Person, ids: list[str]) -> None:
        self._victim = victim
        self.person = person
        self.ids = ids

    async def _post(self, room_id: str) -> int:
        path = f"conversations/{room_id}/messages"
        return (await self.person.ask("POST", path, json={"content": "Are you there?"})).status_code

    async def _write(self, room_id: str) -> None:
        async def written() -> bool:
            status = await self._post(room_id)
            assert status in (201, 503)
            return status == 201

        await until(written, f"room {room_id} to take a message", RECOVERY_S)

    async def all_work(self) -> float:
        """Write in each; the seconds until the last has taken it."""
        started = time.monotonic()
        await asyncio.gather(*map(self._write, self.ids))
        return time.monotonic() - started

    async def all_wait(self) -> float:
        """Write in each once: nobody is refused, however long it takes. The seconds until the last was answered."""
        started = time.monotonic()
        assert set(await asyncio.gather(*map(self._post, self.ids))) == {201}
        return time.monotonic() - started

    async def healed(self) -> None:
        """As many actors as there should be, and every room works."""

        async def whole() -> bool:
            counts = {kind: len(self._victim.actors(kind)) for kind in USUAL}
            return counts == USUAL and await self._victim.is_ready()

        await until(whole, "all actors and readiness", RECOVERY_S)
        await self.all_work()


async def test_shards_do_not_pile_up_while_postgresql_is_paused(victim: Running, rooms: Rooms) -> None:
    seen = {process.pid for process in await victim.living("RoomShard")}
    usual, most = len(seen), 0

    async def tried() -> bool:
        nonlocal most
        living = {process.pid for process in victim.actors("RoomShard")}
        seen.update(living)
        most = max(most, len(living))
        return len(seen) > usual + STARTS

    with paused(victim):
        kill((await victim.living("RoomShard"))[0])
        await until(tried, f"{STARTS} starts to fail", STARTS * START_S)
    # One may be on its way out while the next comes in.
    assert most <= usual + 1
    await rooms.healed()


async def test_a_supervisor_that_comes_back_finds_only_whole_shards(victim: Running, rooms: Rooms) -> None:
    before = {process.pid for process in await victim.living("RoomShard")}

    async def starting() -> bool:
        return any(process.pid not in before for process in victim.actors("RoomShard"))

    with paused(victim):
        kill((await victim.living("RoomShard"))[0])
        await until(starting, "a replacement that cannot start", START_S)
        failed = asked_again(victim)
        # The replacement is left behind, half started.
        kill((await victim.living("Supervisor", 1))[0])
        await until(failed, "a new Supervisor to fail", START_S)
    await rooms.healed()


async def test_the_supervisor_dies_while_postgresql_is_paused(victim: Running, rooms: Rooms) -> None:
    [supervisor] = await victim.living("Supervisor", 1)
    with paused(victim):
        failed = asked_again(victim)
        kill(supervisor)
        await until(failed, "a new Supervisor to fail", START_S)
        assert await victim.living("Supervisor", 1) != [supervisor]
    await rooms.healed()
    # It does its work again.
    kill((await victim.living("RoomShard"))[0])
    await rooms.all_work()
    await rooms.healed()


async def test_commits_of_unknown_outcome_leave_every_room_working(victim: Running, rooms: Rooms) -> None:
    """A shard settles them by raising its epochs, of which the Supervisor and the gateways must hear."""
    async with await rooms.person.connect() as socket:
        with paused(victim):
            asked = [await socket.command("send_message", room_id=room, content="Hello?") for room in rooms.ids]
            for command in asked:
                with pytest.raises(Refused, match="UNAVAILABLE"):
                    await socket.answer(command, RECOVERY_S)
    seconds = await rooms.all_work()
    print(f"after PostgreSQL was paused: all rooms work after {seconds:.2f} s")  # noqa: T201
    await rooms.healed()


async def test_supervisor_and_shard_die_together(victim: Running, rooms: Rooms) -> None:
    # How long another Supervisor takes on a machine as busy as this one is now.
    [supervisor] = await victim.living("Supervisor", 1)
    began = time.monotonic()
    kill(supervisor)
    await until(replaced(victim, supervisor), "another Supervisor", RECOVERY_S)
    usual = time.monotonic() - began
    await rooms.healed()

    [supervisor] = await victim.living("Supervisor", 1)
    shard = (await victim.living("RoomShard"))[0]
    kill(supervisor)
    kill(shard)
    async with within(RECOVERY_S, "all rooms to work"):
        seconds = await rooms.all_wait()
    print(f"SIGKILL of the Supervisor and a RoomShard: all rooms work after {seconds:.2f} s, usual {usual:.2f} s")  # noqa: T201
    assert seconds < usual + TAKE_OVER_S
    await rooms.healed()


async def test_a_supervisor_that_hangs_is_replaced(victim: Running, rooms: Rooms) -> None:
    [supervisor] = await victim.living("Supervisor", 1)
    supervisor.send_signal(signal.SIGSTOP)
    # Nobody needs it for this.
    await rooms.all_work()
    await until(replaced(victim, supervisor), "another Supervisor", RECOVERY_S)
    await rooms.healed()
