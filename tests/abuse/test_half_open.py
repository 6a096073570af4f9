"""Many connections at once that do not go on."""

from system.people import Person
from system.running import Running

from abuse.crowd import Crowd
from abuse.wire import others_are_served

# `python -m abuse` has as many as a process may have.
HALF_OPEN = 2000


async def test_many_half_open_connections(system: Running, slow_clients: Crowd, ada: Person) -> None:
    await slow_clients.gather(HALF_OPEN, ("nothing", "a request line", "the beginning of a body"))
    for _ in range(5):
        # Each call may meet either gateway.
        await others_are_served(ada)
    assert (await system.http.get(f"{system.url}/readyz")).json()["data"]["status"] == "ready"
    assert slow_clients.open >= HALF_OPEN / 3
