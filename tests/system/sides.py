"""The two gateways of a platform, apart: the kernel gives each connection to one of them."""

import signal
from contextlib import AsyncExitStack
from typing import Any

import httpx
import psutil

from system.people import Person
from system.running import Running
from system.sockets import Socket
from system.waiting import within


class Sides:
    """Sockets of people and lines for REST, sorted by the gateway that the kernel gave them to."""

    def __init__(self, system: Running) -> None:
        self._system = system
        self._stack = AsyncExitStack()
        self._gateways: list[psutil.Process] = []

    async def __aenter__(self) -> "Sides":
        self._gateways = await self._system.living("Gateway")
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def connect(self, person: Person, side: int) -> Socket:
        """A socket on one of the two: others are closed again."""
        async with within(30, "a socket on the gateway that is wanted"):
            while True:
                socket = await person.connect()
                if self.side_of(socket) == side:
                    return await self._stack.enter_async_context(socket)
                await socket.close()

    async def line(self, side: int) -> httpx.AsyncClient:
        """A client whose one connection is to one of the two."""
        async with within(30, "a connection to the gateway that is wanted"):
            while True:
                limits = httpx.Limits(max_connections=1, keepalive_expiry=60)
                client = httpx.AsyncClient(base_url=f"{self._system.url}/api/v1/", timeout=15.0, limits=limits)
                answer = await client.get("health")
                stream: Any = answer.extensions["network_stream"]
                if self._side_of(stream.get_extra_info("client_addr")[1]) == side:
                    self._stack.push_async_callback(client.aclose)
                    return client
                await client.aclose()

    def side_of(self, socket: Socket) -> int:
        return self._side_of(socket.connection.local_address[1])

    def _side_of(self, port: int) -> int:
        for side, gateway in enumerate(self._gateways):
            if any(found.raddr and found.raddr[1] == port for found in gateway.net_connections("tcp")):
                return side
        raise AssertionError("no gateway has this connection")

    def signal(self, side: int, number: signal.Signals) -> None:
        self._gateways[side].send_signal(number)
