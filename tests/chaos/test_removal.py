"""A member is removed, and the shard that did it dies before it could tell everyone."""

import os
import signal
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

import httpx
import psutil
from system.people import People, Person
from system.running import Running, data_of
from system.sockets import Socket

# Which gateway takes a connection is chance: so many tries, and it is as good as certain to be each once.
TRIES = 40


async def gateway_of(victim: Running, port: int) -> psutil.Process:
    """The gateway at the other end of a connection from our `port`."""
    for gateway in await victim.living("Gateway"):
        if any(found.raddr and found.raddr.port == port for found in gateway.net_connections("tcp")):
            return gateway
    raise AssertionError(f"no gateway has the connection from port {port}")


async def socket_at(
    stack: AsyncExitStack, victim: Running, person: Person, wanted: Callable[[psutil.Process], bool]
) -> tuple[Socket, psutil.Process]:
    for _ in range(TRIES):
        socket = await person.connect()
        gateway = await gateway_of(victim, socket.connection.local_address[1])
        if wanted(gateway):
            return await stack.enter_async_context(socket), gateway
        await socket.close()
    raise AssertionError("no socket at the wanted gateway")


async def rest_at(
    stack: AsyncExitStack, victim: Running, person: Person, gateway: psutil.Process
) -> Callable[[str, str], Awaitable[httpx.Response]]:
    """Calls over one connection to that gateway."""
    headers = {"Authorization": f"Bearer {person.token}"}
    for _ in range(TRIES):
        client = httpx.AsyncClient(base_url=f"{victim.url}/api/v1/", headers=headers, timeout=15.0)
        answer = await client.get("users/me")
        port = answer.extensions["network_stream"].get_extra_info("client_addr")[1]
        if await gateway_of(victim, port) == gateway:
            stack.push_async_callback(client.aclose)
            return client.request
        await client.aclose()
    raise AssertionError("no connection to the wanted gateway")


async def test_the_removed_get_nothing_even_if_the_shard_dies(victim: Running, crowd: People) -> None:
    ada, bob, eve = [await crowd.register() for _ in range(3)]
    room_id = await ada.room(bob, eve)
    async with AsyncExitStack() as stack:
        of_bob, paused = await socket_at(stack, victim, bob, lambda _: True)
        of_eve, _ = await socket_at(stack, victim, eve, lambda gateway: gateway == paused)
        of_ada, other = await socket_at(stack, victim, ada, lambda gateway: gateway != paused)
        rest = await rest_at(stack, victim, ada, other)
        for socket in (of_ada, of_bob, of_eve):
            await socket.call("join_room", room_id=room_id)
        shards = await victim.living("RoomShard")
        os.kill(paused.pid, signal.SIGSTOP)
        try:
            # The first is on its way to the paused gateway; what follows waits in the shard behind it, and dies there.
            await of_ada.send(room_id, "with him")
            data_of(await rest("DELETE", f"conversations/{room_id}/members/{bob.id}"))
            for shard in shards:
                os.kill(shard.pid, signal.SIGKILL)
        finally:
            os.kill(paused.pid, signal.SIGCONT)
        last = (await of_ada.send(room_id, "without him"))["seq"]
        assert last == 3
        events = await of_eve.through(room_id, last)
        assert [event["seq"] for event in events] == [1, 2, 3]
        await of_bob.quiet()
        assert of_bob.seqs(room_id) == [1, 2], "whoever was removed sees that, and nothing after it"
