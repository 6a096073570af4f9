"""No row of the audit log is lost with the actor that writes it."""

import asyncio
import signal

import psutil
import pytest
from system.people import People, Person
from system.running import Running
from system.waiting import until

WAIT_S = 60.0


async def change(person: Person, room: str, done: asyncio.Event) -> int:
    """Rename a room again and again; how often that was answered."""
    count = 0
    while not done.is_set():
        answer = await person.ask("PUT", f"conversations/{room}", json={"name": f"Room {count}"})
        assert answer.status_code == 200, answer.text
        count += 1
        await asyncio.sleep(0.01)
    return count


async def all_logged(admin: Person, person: Person, room: str, count: int) -> None:
    """Wait until each change of the room has its row."""
    wanted = {"user_id": person.id, "action": "PUT", "resource": f"/api/v1/conversations/{room}", "limit": 1}

    async def there() -> bool:
        total: int = (await admin.call("GET", "admin/audit-logs", params=wanted))["total"]
        assert total <= count, "a row is there twice"
        return total == count

    await until(there, f"{count} rows", WAIT_S)


@pytest.mark.parametrize(("damage", "rounds"), [(signal.SIGKILL, 2), (signal.SIGSTOP, 1)])
async def test_the_job_runner_fails_while_rows_come(
    victim: Running, crowd: People, damage: signal.Signals, rounds: int
) -> None:
    """Killed, or standing still."""
    admin, *people = [await crowd.administrator(), *[await crowd.register() for _ in range(4)]]
    rooms = [await person.room() for person in people]
    done = asyncio.Event()
    changing = [asyncio.create_task(change(*pair, done)) for pair in zip(people, rooms, strict=True)]
    known: set[int] = set()

    async def another() -> list[psutil.Process]:
        return [process for process in victim.actors("JobRunner") if process.pid not in known]

    for _ in range(rounds):
        for process in await until(another, "a JobRunner", WAIT_S):
            known.add(process.pid)
            process.send_signal(damage)
    await until(another, "a JobRunner that works", WAIT_S)
    done.set()
    counts = await asyncio.gather(*changing)
    for person, room, count in zip(people, rooms, counts, strict=True):
        assert count > 0
        await all_logged(admin, person, room, count)
