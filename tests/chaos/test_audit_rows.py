"""No row of the audit log is lost with the actor that writes it."""

import asyncio
import signal

from system.people import People, Person
from system.running import Running
from system.waiting import until

ROUNDS = 3
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


async def test_the_job_runner_is_killed_while_rows_come(victim: Running, crowd: People) -> None:
    admin, *people = [await crowd.administrator(), *[await crowd.register() for _ in range(4)]]
    rooms = [await person.room() for person in people]
    done = asyncio.Event()
    changing = [asyncio.create_task(change(*pair, done)) for pair in zip(people, rooms, strict=True)]
    killed: set[int] = set()
    for _ in range(ROUNDS):

        async def another() -> bool:
            return bool({process.pid for process in victim.actors("JobRunner")} - killed)

        await until(another, "a JobRunner", WAIT_S)
        for process in victim.actors("JobRunner"):
            killed.add(process.pid)
            process.send_signal(signal.SIGKILL)
        await asyncio.sleep(0)
    done.set()
    counts = await asyncio.gather(*changing)
    for person, room, count in zip(people, rooms, counts, strict=True):
        await all_logged(admin, person, room, count)
    assert sum(counts) > 0
